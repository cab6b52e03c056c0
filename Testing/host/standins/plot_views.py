"""Plot views that draw a chart node's series: enough to see in a picture what Slicer's own view would show."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from PySide6 import QtCore, QtGui, QtWidgets

_MARGIN_LEFT, _MARGIN_BOTTOM, _MARGIN_TOP, _MARGIN_RIGHT = 46, 36, 22, 10
_LEGEND_WIDTH = 0.3


class qMRMLPlotView(QtWidgets.QWidget):
    """Draws the chart of a plot view node with Qt's painter; Slicer's own uses VTK."""

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._node: Any = None
        self.setMinimumSize(80, 60)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLPlotViewNode(self, node: Any) -> None:
        self._node = node
        self.update()

    def mrmlPlotViewNode(self) -> Any:
        return self._node

    def fitToContent(self) -> None:
        self.update()

    def paintEvent(self, _event: Any) -> None:
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect(), QtGui.QColor("white"))
        chart = self._node.GetPlotChartNode() if self._node is not None else None
        if chart is not None:
            _Drawing(painter, self.rect(), chart).draw()
        painter.end()


class qMRMLPlotWidget(QtWidgets.QWidget):
    """A plot view under its bar."""

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._view = qMRMLPlotView(self)
        layout.addWidget(self._view)

    def setMRMLScene(self, scene: Any) -> None:
        self._view.setMRMLScene(scene)
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._view.mrmlScene()

    def setMRMLPlotViewNode(self, node: Any) -> None:
        self._view.setMRMLPlotViewNode(node)

    def mrmlPlotViewNode(self) -> Any:
        return self._view.mrmlPlotViewNode()

    def plotView(self) -> Any:
        return self._view


class _Drawing:
    """One chart in one rectangle."""

    def __init__(self, painter: QtGui.QPainter, rect: QtCore.QRect, chart: Any) -> None:
        self.painter, self.rect, self.chart = painter, rect, chart
        count = chart.GetNumberOfPlotSeriesNodes()
        self.series = [s for s in (_Series(chart.GetNthPlotSeriesNode(n)) for n in range(count)) if len(s.x)]
        legend = chart.GetLegendVisibility() and self.series
        right = rect.width() * _LEGEND_WIDTH if legend else _MARGIN_RIGHT
        self.area = QtCore.QRectF(
            _MARGIN_LEFT,
            _MARGIN_TOP,
            max(rect.width() - _MARGIN_LEFT - right, 10),
            max(rect.height() - _MARGIN_TOP - _MARGIN_BOTTOM, 10),
        )
        self.legend = bool(legend)
        self.x_range = self._range("X", [s.x for s in self.series])
        self.y_range = self._range("Y", [s.y for s in self.series])

    def _range(self, axis: str, values: list[np.ndarray]) -> tuple[float, float]:
        if not getattr(self.chart, f"Get{axis}AxisRangeAuto")():
            low, high = getattr(self.chart, f"Get{axis}AxisRange")()
        else:
            finite = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.zeros(0)
            low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        return (low, high) if high > low else (low - 0.5, low + 0.5)

    def draw(self) -> None:
        font = self.painter.font()
        font.setPointSize(8)
        self.painter.setFont(font)
        self.painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        self._axes()
        for series in self.series:
            self._curve(series)
        if self.legend:
            self._legend()

    def _text(self, x: float, y: float, w: float, h: float, text: str, flags: Any) -> None:
        self.painter.drawText(QtCore.QRectF(x, y, w, h), flags | QtCore.Qt.TextFlag.TextDontClip, text)

    def _axes(self) -> None:
        center, right = QtCore.Qt.AlignmentFlag.AlignCenter, QtCore.Qt.AlignmentFlag.AlignRight
        self.painter.setPen(QtGui.QColor("black"))
        self._text(0, 2, self.area.right(), 16, self.chart.GetTitle() or "", center)
        self._text(
            self.area.x(), self.rect.height() - 18, self.area.width(), 16, self.chart.GetXAxisTitle() or "", center
        )
        for part in np.linspace(0, 1, 5):
            x, y = self.area.x() + part * self.area.width(), self.area.bottom() - part * self.area.height()
            self.painter.setPen(QtGui.QColor("#dddddd"))
            self.painter.drawLine(QtCore.QPointF(self.area.x(), y), QtCore.QPointF(self.area.right(), y))
            self.painter.setPen(QtGui.QColor("black"))
            value = self.y_range[0] + part * (self.y_range[1] - self.y_range[0])
            self._text(0, y - 7, _MARGIN_LEFT - 4, 14, f"{value:.3g}", right)
            value = self.x_range[0] + part * (self.x_range[1] - self.x_range[0])
            self._text(x - 30, self.area.bottom() + 2, 60, 14, f"{value:.4g}", center)
        self.painter.drawRect(self.area)
        self.painter.save()
        self.painter.translate(9, self.area.center().y())
        self.painter.rotate(-90)
        self._text(-80, -7, 160, 14, self.chart.GetYAxisTitle() or "", center)
        self.painter.restore()

    def _point(self, x: float, y: float) -> QtCore.QPointF:
        part_x = (x - self.x_range[0]) / (self.x_range[1] - self.x_range[0])
        part_y = (y - self.y_range[0]) / (self.y_range[1] - self.y_range[0])
        return QtCore.QPointF(
            self.area.x() + part_x * self.area.width(), self.area.bottom() - part_y * self.area.height()
        )

    def _curve(self, series: _Series) -> None:
        points = [
            self._point(x, y) for x, y in zip(series.x, series.y, strict=True) if np.isfinite(x) and np.isfinite(y)
        ]
        self.painter.save()
        self.painter.setClipRect(self.area.adjusted(-3, -3, 3, 3))
        if series.line is not None:
            self.painter.setPen(QtGui.QPen(series.color, max(series.width, 1.0), series.line))
            self.painter.drawPolyline(QtGui.QPolygonF(points))
        if series.marker:
            self.painter.setPen(QtGui.QPen(series.color, 1.0))
            self.painter.setBrush(series.color)
            for point in points:
                self.painter.drawEllipse(point, 2.6, 2.6)
        self.painter.restore()

    def _legend(self) -> None:
        x, y = self.area.right() + 8, self.area.y()
        for n, series in enumerate(self.series):
            middle = y + 8 + 15 * n
            self.painter.setPen(QtGui.QPen(series.color, 2.0))
            self.painter.drawLine(QtCore.QPointF(x, middle), QtCore.QPointF(x + 14, middle))
            self.painter.setPen(QtGui.QColor("black"))
            width = self.rect.width() - x - 20
            text = self.painter.fontMetrics().elidedText(series.name, QtCore.Qt.TextElideMode.ElideRight, int(width))
            self._text(x + 18, middle - 7, width, 14, text, QtCore.Qt.AlignmentFlag.AlignLeft)


class _Series:
    """The numbers and the look of a plot series node."""

    def __init__(self, node: Any) -> None:
        self.name = node.GetName()
        self.color = QtGui.QColor.fromRgbF(*node.GetColor())
        self.width = node.GetLineWidth()
        kind = slicer.vtkMRMLPlotSeriesNode
        lines = {
            kind.LineStyleSolid: QtCore.Qt.PenStyle.SolidLine,
            kind.LineStyleDash: QtCore.Qt.PenStyle.DashLine,
            kind.LineStyleDot: QtCore.Qt.PenStyle.DotLine,
            kind.LineStyleDashDot: QtCore.Qt.PenStyle.DashDotLine,
            kind.LineStyleDashDotDot: QtCore.Qt.PenStyle.DashDotDotLine,
        }
        self.line = lines.get(node.GetLineStyle())
        self.marker = node.GetMarkerStyle() != kind.MarkerStyleNone
        table = node.GetTableNode()
        y = _column(table, node.GetYColumnName())
        x = _column(table, node.GetXColumnName())
        self.y = y
        self.x = x if len(x) == len(y) else np.arange(len(y), dtype=float)


def _column(table_node: Any, name: str | None) -> np.ndarray:
    table = table_node.GetTable() if table_node is not None else None
    column = table.GetColumnByName(name) if table is not None and name else None
    if column is None:
        return np.zeros(0)
    return np.array([column.GetVariantValue(n).ToDouble() for n in range(column.GetNumberOfValues())])

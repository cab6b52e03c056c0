"""CTK's buttons, collapsible containers and message box."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .stored import stored


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A header that shows or hides its children."""

    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._collapsed = False
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self._header_height(), 0, 0)
        self.toggled.connect(lambda checked: self._set_collapsed(not checked))

    def _header_height(self) -> int:
        return self.fontMetrics().height() + 10

    def _is_collapsed(self) -> bool:
        return self._collapsed

    def _set_collapsed(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self._show_children()
        self.updateGeometry()
        self.contentsCollapsed.emit(collapsed)
        self.setChecked(not collapsed)

    def _show_child(self, child: QtWidgets.QWidget) -> None:
        if self._collapsed:
            if child.property("hiddenByHost") is not True:
                child.setProperty("hiddenByHost", not child.isHidden())
            child.setVisible(False)
        else:
            if child.property("hiddenByHost") is True:
                child.setVisible(True)
            child.setProperty("hiddenByHost", None)  # from now on the module says what is hidden

    collapsed = QtCore.Property(bool, _is_collapsed, _set_collapsed, notify=contentsCollapsed)
    collapsedHeight = stored(int, 14)
    flat = stored(bool, False)
    contentsFrameShape = stored(int, 0)
    contentsFrameShadow = stored(int, 16)
    contentsLineWidth = stored(int, 1)
    contentsMidLineWidth = stored(int, 0)
    buttonTextAlignment = stored(int, 0x0081)
    indicatorAlignment = stored(int, 0x0081)

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        # The child is still being constructed: touching event.child() here would wrap it as a plain QWidget for good.
        if event.type() == QtCore.QEvent.Type.ChildAdded and self._collapsed:
            QtCore.QTimer.singleShot(0, self, self._show_children)
        super().childEvent(event)

    def _show_children(self) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                self._show_child(child)

    def sizeHint(self) -> QtCore.QSize:
        header = QtCore.QSize(self.fontMetrics().horizontalAdvance(self.text()) + 40, self._header_height())
        if self._collapsed or self.layout() is None:
            return header
        return self.layout().totalSizeHint().expandedTo(header)

    def minimumSizeHint(self) -> QtCore.QSize:
        if self._collapsed or self.layout() is None:
            return QtCore.QSize(40, self._header_height())
        return self.layout().totalMinimumSize()

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return position.y() < self._header_height()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width(), self._header_height() - 2)
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyle.PrimitiveElement.PE_IndicatorArrowRight
        if not self._collapsed:
            arrow = QtWidgets.QStyle.PrimitiveElement.PE_IndicatorArrowDown
        text_rect = QtCore.QRect(option.rect)
        option.rect = QtCore.QRect(8, 4, 12, self._header_height() - 10)
        painter.drawPrimitive(arrow, option)
        text_rect.setLeft(26)
        painter.drawText(text_rect, int(QtCore.Qt.AlignmentFlag.AlignVCenter.value), self.text())


class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A group box that folds."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.toggled.connect(self._show_children)

    def _show_children(self, shown: bool) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(shown)

    def _is_collapsed(self) -> bool:
        return not self.isChecked()

    def _set_collapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = QtCore.Property(bool, _is_collapsed, _set_collapsed)
    collapsedHeight = stored(int, 14)


class ctkPushButton(QtWidgets.QPushButton):
    """A push button with elided text."""

    buttonTextAlignment = stored(int, 0x0084)
    iconAlignment = stored(int, 0x0081)
    elideMode = stored(int, 3)


class ctkCheckablePushButton(ctkPushButton):
    """A push button with a check box in it."""

    checkBoxToggled = QtCore.Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._box_checkable = True

    def setCheckBoxControlsButton(self, controls: bool) -> None:
        self.setCheckable(controls)

    def setCheckState(self, state: int) -> None:
        self.setChecked(int(state) == 2)

    def checkState(self) -> int:
        return 2 if self.isChecked() else 0


class ctkCheckBox(QtWidgets.QCheckBox):
    """A check box whose indicator may be an icon."""

    indicatorIcon = stored("QIcon", QtGui.QIcon())
    indicatorIconSize = stored(QtCore.QSize, QtCore.QSize())


class ctkMenuButton(ctkPushButton):
    """A push button with a menu arrow."""

    showMenu = None


class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box that can be told not to come back."""

    dontShowAgainVisible = stored(bool, False)
    dontShowAgain = stored(bool, False)
    dontShowAgainSettingsKey = stored(str, "")


class ctkExpandableWidget(QtWidgets.QFrame):
    """A frame that the user can drag larger."""

    orientations = stored(int, 3)
    sizeGripInside = stored(bool, True)


class ctkSettingsPanel(QtWidgets.QWidget):
    """A page of the application settings."""

    settingChanged = QtCore.Signal(str, "QVariant")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings: QtCore.QSettings | None = None
        self._registered: dict[str, tuple[QtCore.QObject, str, Any]] = {}

    def settings(self) -> QtCore.QSettings | None:
        return self._settings

    def setSettings(self, settings: Any) -> None:
        self._settings = settings
        for key, (target, name, default) in self._registered.items():
            if settings.contains(key):
                current = target.property(name)
                target.setProperty(name, settings.value(key, default, type=type(current)))

    def registerProperty(self, key: str, target: Any, name: str, signal: Any, *more: Any) -> None:
        self._registered[key] = (target, name, target.property(name))
        text = str(signal).removeprefix("2")
        QtCore.QObject.connect(target, QtCore.SIGNAL(text), lambda *_: self._save(key))

    def _save(self, key: str) -> None:
        target, name, _default = self._registered[key]
        if self._settings is not None:
            self._settings.setValue(key, target.property(name))
        self.settingChanged.emit(key, target.property(name))

    def applySettings(self) -> None:
        """Every change is written at once."""


class ctkSettingsDialog(QtWidgets.QDialog):
    """The application's settings: pages beside a list of their names."""

    settingChanged = QtCore.Signal(str, "QVariant")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        self._names = QtWidgets.QListWidget(self)
        self._names.setMaximumWidth(120)
        self._pages = QtWidgets.QStackedWidget(self)
        layout.addWidget(self._names)
        layout.addWidget(self._pages)
        self._names.currentRowChanged.connect(self._pages.setCurrentIndex)
        # Slicer gives its dialog the settings of the user; Python cannot (recorded).
        self._settings = QtCore.QSettings()

    def addPanel(self, label: str, panel: Any, *_parent: Any) -> None:
        self._names.addItem(label)
        area = QtWidgets.QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(panel)
        self._pages.addWidget(area)
        panel.setSettings(self._settings)
        if self._names.currentRow() < 0:
            self._names.setCurrentRow(0)

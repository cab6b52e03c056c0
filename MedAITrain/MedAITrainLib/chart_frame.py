"""A plot view inside the panel: made when there is something to show, because it needs OpenGL."""

import qt
import slicer


class ChartFrame:
    """Shows a chart node in a plot view of its own, which no layout knows about.

    `frame` is the QFrame of the .ui file that it goes into, `name` tells the panel's views apart.
    """

    def __init__(self, frame: qt.QFrame, name: str) -> None:
        self._frame = frame
        self._name = name
        self._widget = None
        self._nodeIds: list[str] = []
        frame.visible = False

    @property
    def chart(self):
        """The chart that is shown, or None."""
        node = self._widget.mrmlPlotViewNode() if self._widget is not None and self._nodeIds else None
        return node.GetPlotChartNode() if node is not None else None

    def show(self, chart) -> None:
        """Show this chart node; None shows nothing."""
        self._frame.visible = chart is not None
        if chart is None:
            return
        if self._widget is None:
            self._widget = slicer.qMRMLPlotWidget()
            self._widget.setMRMLScene(slicer.mrmlScene)
            self._frame.layout().addWidget(self._widget)
        node = self._viewNode()
        if node.GetPlotChartNodeID() != chart.GetID():
            node.SetPlotChartNodeID(chart.GetID())

    def redraw(self) -> None:
        """Fit the axes to what the curves are now."""
        if self._widget is not None and self._nodeIds:
            self._widget.plotView().fitToContent()

    def forget(self) -> None:
        """The scene goes away, and the view's nodes with it."""
        if self._widget is not None:
            self._widget.setMRMLPlotViewNode(None)
        self._nodeIds = []
        self._frame.visible = False

    def close(self) -> None:
        """The panel goes away: leave no nodes behind."""
        nodes = [slicer.mrmlScene.GetNodeByID(nodeId) for nodeId in self._nodeIds]
        self.forget()
        for node in nodes:
            if node is not None:
                slicer.mrmlScene.RemoveNode(node)

    def _viewNode(self):
        if self._nodeIds:
            return slicer.mrmlScene.GetNodeByID(self._nodeIds[0])
        # The layout manager leaves views alone that have another owner.
        owner = slicer.vtkMRMLScriptedModuleNode()
        owner.SetName(f"{self._name} view owner")
        view = slicer.vtkMRMLPlotViewNode()
        view.SetName(f"{self._name} view")
        view.SetLayoutName(self._name)
        for node in (owner, view):
            node.SetSaveWithScene(False)
            node.SetHideFromEditors(True)
        owner = slicer.mrmlScene.AddNode(owner)
        view.SetAndObserveParentLayoutNodeID(owner.GetID())
        view = slicer.mrmlScene.AddNode(view)
        # A chart that is chosen in Slicer's own plot views is not to be shown here.
        view.SetDoPropagatePlotChartSelection(False)
        self._nodeIds = [view.GetID(), owner.GetID()]
        self._widget.setMRMLPlotViewNode(view)
        return view

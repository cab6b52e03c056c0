"""A table node shown in a layout that has a table view."""

import slicer


def showTable(tableId: str) -> None:
    """Show this table; nothing happens where the scene has no such node."""
    if slicer.mrmlScene.GetNodeByID(tableId) is None:
        return
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if layout is not None:
        arrangement = slicer.modules.tables.logic().GetLayoutWithTable(layout.GetViewArrangement())
        layout.SetViewArrangement(arrangement)
    slicer.app.applicationLogic().GetSelectionNode().SetReferenceActiveTableID(tableId)
    slicer.app.applicationLogic().PropagateTableSelection()

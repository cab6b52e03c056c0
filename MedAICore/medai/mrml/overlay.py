"""One volume shown over another in the slice views."""

from __future__ import annotations

from typing import Any


def show_over(scene: Any, volume_node: Any, map_node: Any, opacity: float = 0.5) -> None:
    """Show the volume in every slice view, and the map (None: nothing) over it with this opacity."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
    for view in (scene.GetNthNodeByClass(n, "vtkMRMLSliceCompositeNode") for n in range(count)):
        if volume_node is not None:
            view.SetBackgroundVolumeID(volume_node.GetID())
        view.SetForegroundVolumeID(map_node.GetID() if map_node is not None else None)
        view.SetForegroundOpacity(opacity if map_node is not None else 0.0)

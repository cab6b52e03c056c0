"""Slicer's own slice view, drawn off-screen, with a mouse: for the tests and pictures of the Click tab."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

_numbers = count(1)


class SliceMouse:
    """A slice view of 300 x 300 pixels that shows `volume`, and a person's mouse over it."""

    def __init__(self, host: Any, volume: Any, orientation: str = "Axial", size: int = 300) -> None:
        from trame_slicer.views import SliceView
        from trame_slicer.views.render_scheduler import NoScheduleRendering

        application = host.application
        # A name that was used in a scene that is closed gives a view that neither takes the mouse nor draws segments.
        name = f"Slice{next(_numbers)}"
        self.view = SliceView(application.scene, application.application_logic, name, NoScheduleRendering())
        self.view.render_window().SetSize(size, size)
        self.view.set_orientation(orientation)
        self.view.set_background_volume_id(volume.GetID())
        self.view.fit_view_to_content()
        self.view.render()
        self.node, self.interactor = self.view.get_view_node(), self.view.interactor()

    def views(self) -> list[Any]:
        """What `ClickGestures` asks for."""
        from MedAISegLib.click_gestures import ClickView

        return [ClickView(self.node, self.interactor)]

    def jump(self, ras: Any) -> None:
        """Show the slice through a point."""
        self.node.JumpSliceByOffsetting(*ras)
        self.view.render()

    def turn(self, degrees: float) -> None:
        """Make the slice oblique."""
        import vtk

        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy(self.node.GetSliceToRAS())
        transform = vtk.vtkTransform()
        transform.SetMatrix(matrix)
        transform.RotateX(degrees)
        transform.RotateY(degrees / 2)
        self.node.GetSliceToRAS().DeepCopy(transform.GetMatrix())
        self.node.UpdateMatrices()
        self.view.render()

    def pixel(self, ras: Any) -> tuple[int, int]:
        """Where a world point lies in the view."""
        import vtk

        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), inverse)
        x, y, *_rest = inverse.MultiplyPoint((*ras, 1.0))
        return round(x), round(y)

    def ras(self, xy: Any) -> np.ndarray:
        """The world point under a pixel."""
        return np.array(self.node.GetXYToRAS().MultiplyPoint((*xy, 0.0, 1.0))[:3])

    def click(self, xy: Any, ctrl: bool = False, shift: bool = False) -> None:
        """Left click."""
        self._event("MouseMoveEvent", xy, ctrl, shift)
        self._event("LeftButtonPressEvent", xy, ctrl, shift)
        self._event("LeftButtonReleaseEvent", xy, ctrl, shift)

    def drag(self, path: list, ctrl: bool = False, button: str = "Left", release: bool = True) -> None:
        """Drag with a button held."""
        self._event("MouseMoveEvent", path[0], ctrl)
        self._event(f"{button}ButtonPressEvent", path[0], ctrl)
        for xy in path[1:]:
            self._event("MouseMoveEvent", xy, ctrl)
        if release:
            self._event(f"{button}ButtonReleaseEvent", path[-1], ctrl)

    def _event(self, name: str, xy: Any, ctrl: bool = False, shift: bool = False) -> None:
        self.interactor.SetEventInformation(round(xy[0]), round(xy[1]), int(ctrl), int(shift), chr(0), 0, None)
        self.interactor.InvokeEvent("EnterEvent")
        self.interactor.InvokeEvent(name)

    def picture(self, path: Path | None = None) -> np.ndarray:
        """The view as it is drawn now, (rows, columns, 3)."""
        from medai.render.png import pixels_of, write_png

        self.view.render()
        pixels = pixels_of(self.view.render_window())
        if path is not None:
            write_png(path, pixels)
        return pixels

    def close(self) -> None:
        """Give the window back."""
        self.view.finalize()

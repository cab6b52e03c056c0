"""Mouse in the slice views to prompts: only the left button is taken, and only while a tool is chosen.

Markups' place mode is not used for this: it takes the right button, too, with which people zoom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from MedAISegLib.click_prompts import PlacedPrompt, boxCorners, thinned

TOOLS = ("point", "box", "box3d", "scribble", "lasso")
MOST_POINTS = 1000
"""Points of a drawn line that are kept; the worker takes 2000."""
_PRIORITY = 10.0  # before the views' own widgets


@dataclass(frozen=True)
class ClickView:
    """A slice view: its node, and the interactor that its mouse comes through."""

    node: Any
    interactor: Any


def sliceViews() -> list[ClickView]:
    """The slice views of Slicer's layout; none without a main window."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return []
    widgets = [manager.sliceWidget(name) for name in manager.sliceViewNames()]
    return [ClickView(widget.mrmlSliceNode(), widget.sliceView().interactor()) for widget in widgets]


class ClickGestures:
    """Observes the views while it is attached, and tells what was placed.

    `onPlaced(placed, tool)` at the end of a gesture, `onDrawing(placed or None)` while one is drawn. A gesture begins
    with the left button alone or with Ctrl, which turns the polarity; Shift and Alt stay Slicer's, and so do the other
    buttons, the wheel, and everything while a markup is placed.
    """

    def __init__(
        self,
        onPlaced: Callable[[PlacedPrompt, str], None],
        onDrawing: Callable[[PlacedPrompt | None], None],
        views: Callable[[], Iterable[ClickView]] = sliceViews,
    ) -> None:
        self.tool = ""
        self.positive = True
        self.paused = False
        self._onPlaced, self._onDrawing, self._views = onPlaced, onDrawing, views
        self._observed: list[tuple[Any, int]] = []
        self._drawing: list[tuple[float, float, float]] = []
        self._drawnPositive = True
        self._pressed: ClickView | None = None

    @property
    def pressedView(self) -> ClickView | None:
        """The view in which the button went down and is still held."""
        return self._pressed

    @property
    def attached(self) -> bool:
        """Whether the views are observed."""
        return bool(self._observed)

    def attach(self) -> None:
        """Listen to the views that there are now."""
        self.detach()
        events = {
            "LeftButtonPressEvent": self.press,
            "MouseMoveEvent": self.move,
            "LeftButtonReleaseEvent": self.release,
        }
        for view in self._views():
            for event, handle in events.items():
                self._observe(view, event, handle)

    def _observe(self, view: ClickView, event: str, handle: Callable[[ClickView], bool]) -> None:
        def told(caller: Any, _event: str) -> None:
            if handle(view):
                caller.GetCommand(tags[0]).SetAbortFlag(1)

        tags = [view.interactor.AddObserver(event, told, _PRIORITY)]
        self._observed.append((view.interactor, tags[0]))

    def detach(self) -> None:
        """Leave the views alone."""
        self.cancel()
        for interactor, tag in self._observed:
            interactor.RemoveObserver(tag)
        self._observed = []

    def cancel(self) -> bool:
        """Forget what is being drawn; whether there was something."""
        was, self._drawing = bool(self._drawing), []
        if was:
            self._onDrawing(None)
        return was

    # The left button

    def press(self, view: ClickView) -> bool:
        """The left button went down; whether the event is ours."""
        interactor = view.interactor
        if self.paused or self.tool not in TOOLS or interactor.GetShiftKey() or interactor.GetAltKey() or _placing():
            return False
        self._pressed = view
        self._drawnPositive = self.positive != bool(interactor.GetControlKey())
        place = self._place(view)
        if self.tool == "point":
            self._onPlaced(PlacedPrompt("point", self._drawnPositive, (place,)), self.tool)
        else:
            self._drawing = [place]
        return True

    def move(self, view: ClickView) -> bool:
        """The mouse moved; whether the event is ours."""
        if self._pressed is not view:
            return False
        if self._drawing:
            self._drawing.append(self._place(view))
            self._onDrawing(self._drawn(view))
        return True

    def release(self, view: ClickView) -> bool:
        """The left button came up; whether the event is ours."""
        if self._pressed is not view:
            return False
        self._pressed = None
        if self._drawing:
            self._drawing.append(self._place(view))
            placed = self._drawn(view)
            self._drawing = []
            self._onDrawing(None)
            if placed is not None:
                self._onPlaced(placed, self.tool)
        return True

    def _place(self, view: ClickView) -> tuple[float, float, float]:
        """World coordinates of the mouse; right on oblique slices, too."""
        x, y = view.interactor.GetEventPosition()
        ras = view.node.GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))
        return float(ras[0]), float(ras[1]), float(ras[2])

    def _drawn(self, view: ClickView) -> PlacedPrompt | None:
        """What the gesture has drawn so far; None for a mere click, or a line too short to be meant."""
        step = _pixelMm(view)
        if self.tool in ("box", "box3d"):
            return self._rectangle(view, step)
        points = thinned(self._drawing, 2 * step, MOST_POINTS)
        if self.tool == "scribble":
            return PlacedPrompt("scribble", self._drawnPositive, points, radiusMm=2 * step)
        return PlacedPrompt("lasso", self._drawnPositive, points) if len(points) >= 3 else None

    def _rectangle(self, view: ClickView, step: float) -> PlacedPrompt | None:
        start, end = np.array(self._drawing[0]), np.array(self._drawing[-1])
        axes = _axesOf(view)
        sides = [abs(float((end - start) @ axis)) for axis in axes[:2]]
        if min(sides) < 3 * step:
            return None
        # A box in one slice is as thick as the slice; in space, as deep as it is wide, until somebody moves its sides.
        depth = float(np.sqrt(sides[0] * sides[1])) if self.tool == "box3d" else _thicknessMm(view)
        corners = boxCorners((start + end) / 2, [axes[0] * sides[0], axes[1] * sides[1], axes[2] * depth])
        return PlacedPrompt("box", self._drawnPositive, corners)


def _placing() -> bool:
    node = slicer.app.applicationLogic().GetInteractionNode()
    return node is not None and node.GetCurrentInteractionMode() == node.Place


def _axesOf(view: ClickView) -> list[np.ndarray]:
    """Unit vectors of the slice: right, up, out of it (world)."""
    matrix = view.node.GetSliceToRAS()
    columns = [np.array([matrix.GetElement(row, column) for row in range(3)]) for column in range(3)]
    return [column / np.linalg.norm(column) for column in columns]


def _pixelMm(view: ClickView) -> float:
    matrix = view.node.GetXYToRAS()
    return float(np.linalg.norm([matrix.GetElement(row, 0) for row in range(3)]))


def _thicknessMm(view: ClickView) -> float:
    """Distance of neighbouring slices in this view."""
    spacing = abs(float(view.node.GetFieldOfView()[2]) / max(1, view.node.GetDimensions()[2]))
    return spacing if spacing > 0 else 1.0

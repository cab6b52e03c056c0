"""Letters of the patient's directions, captions and legends on views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import vtk

from medai.label_statistics import LabelStatistics
from medai.labels import LabelScheme
from medai.render.png import Pixels, pixels_of

Color = tuple[float, float, float]
_WHITE: Color = (1.0, 1.0, 1.0)
_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))


def add_text(
    renderer: Any, text: str, position: tuple[float, float], size: int = 16, color: Color = _WHITE, anchor: str = "left"
) -> None:
    """Write text on a view; `position` in parts of its width and height from the lower left.

    `anchor` (left, center or right) is the part of the text that lies there.
    """
    actor = vtk.vtkTextActor()
    actor.SetInput(text)
    style = actor.GetTextProperty()
    style.SetFontSize(size)
    style.SetColor(*color)
    style.SetShadow(True)
    style.SetShadowOffset(1, -1)
    {"left": style.SetJustificationToLeft, "center": style.SetJustificationToCentered}.get(
        anchor, style.SetJustificationToRight
    )()
    style.SetVerticalJustificationToCentered()
    actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
    actor.GetPositionCoordinate().SetValue(*position)
    renderer.AddViewProp(actor)


def direction_letter(direction_ras: Sequence[float]) -> str:
    """The letter (R, L, A, P, S, I) of the patient's side that a direction in RAS points to most."""
    axis = int(np.argmax(np.abs(direction_ras)))
    return _LETTERS[axis][int(direction_ras[axis] > 0)]


def add_direction_letters(renderer: Any, right_ras: Sequence[float], up_ras: Sequence[float]) -> None:
    """The four letters at the edges of a view, from the directions (RAS) of its right and its upper edge."""
    add_text(renderer, direction_letter([-x for x in right_ras]), (0.02, 0.5))
    add_text(renderer, direction_letter(right_ras), (0.98, 0.5), anchor="right")
    add_text(renderer, direction_letter(up_ras), (0.5, 0.96), anchor="center")
    add_text(renderer, direction_letter([-x for x in up_ras]), (0.5, 0.04), anchor="center")


def legend_tile(
    scheme: LabelScheme, statistics: Sequence[LabelStatistics], size: int, title: str = "", longest: int = 18
) -> Pixels:
    """A tile (`size` x `size`) with colour, name and volume of each label; the largest ones where there are many."""
    present = sorted((row for row in statistics if row.voxels), key=lambda row: -row.volume_ml)
    shown = present[:longest] if len(present) > longest else list(statistics)[:longest]
    renderer, window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(size, size)
    window.AddRenderer(renderer)
    add_text(renderer, title, (0.06, 0.93), size=15)
    step = min(0.075, 0.8 / (len(shown) + 1))
    font = 15 if step > 0.06 else 13
    for n, row in enumerate(shown):
        height = 0.84 - n * step
        _add_swatch(renderer, (0.06, height), size, scheme.by_value(row.value).color)
        name = row.name if len(row.name) <= 28 else f"{row.name[:27]}…"
        add_text(renderer, name, (0.13, height), size=font)
        add_text(renderer, f"{row.volume_ml:.2f} mL", (0.95, height), size=font, anchor="right")
    hidden = len(present) - longest
    if hidden > 0:
        add_text(renderer, f"and {hidden} more", (0.13, 0.84 - longest * step), size=font)
    window.Render()
    pixels = pixels_of(window)
    window.Finalize()
    return pixels


def _add_swatch(renderer: Any, position: tuple[float, float], size: int, color: Color) -> None:
    """A filled square in a label's colour; not a text character, as fonts lack it."""
    side = max(int(0.03 * size), 6)
    square = vtk.vtkPlaneSource()
    square.SetOrigin(0, -side / 2, 0)
    square.SetPoint1(side, -side / 2, 0)
    square.SetPoint2(0, side / 2, 0)
    mapper = vtk.vtkPolyDataMapper2D()
    mapper.SetInputConnection(square.GetOutputPort())
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*color)
    actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
    actor.GetPositionCoordinate().SetValue(*position)
    renderer.AddViewProp(actor)

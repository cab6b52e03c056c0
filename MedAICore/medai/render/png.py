"""Pixels of views put side by side and written as one PNG file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import vtk
from vtk.util import numpy_support

from medai.errors import OutputError
from medai.imageio.atomic import atomic_output

Pixels = npt.NDArray[np.uint8]


def pixels_of(render_window: Any) -> Pixels:
    """The colours of a rendered window, (row, column, 3), the first row at the top."""
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(render_window)
    grabber.SetInputBufferTypeToRGB()
    grabber.ReadFrontBufferOff()
    grabber.Update()
    image = grabber.GetOutput()
    width, height, _ = image.GetDimensions()
    rows = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, 3)
    return rows[::-1].copy()


def tiled(rows: list[list[Pixels]], gap: int = 4) -> Pixels:
    """Tiles of one size in rows and columns, with a dark gap between them."""
    height, width, _ = rows[0][0].shape
    columns = max(len(row) for row in rows)
    canvas = np.full((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), 40, np.uint8)
    for r, row in enumerate(rows):
        for c, tile in enumerate(row):
            top, left = r * (height + gap), c * (width + gap)
            canvas[top : top + height, left : left + width] = tile
    return canvas


def write_png(path: str | Path, pixels: Pixels) -> Path:
    """Write the pixels (row, column, 3) as a PNG file; whole or not at all. Raises OutputError."""
    target = Path(path).absolute()
    if target.suffix.lower() != ".png":
        raise OutputError(f"A picture cannot be written as '{target.name}'.", "Give a file name that ends in .png.")
    with atomic_output(target) as temporary:
        temporary.write_bytes(_encoded(pixels))
    return target


def _encoded(pixels: Pixels) -> bytes:
    height, width, _ = pixels.shape
    image = vtk.vtkImageData()
    image.SetDimensions(width, height, 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, 3)[...] = pixels[::-1]
    writer = vtk.vtkPNGWriter()
    writer.SetInputData(image)
    writer.WriteToMemoryOn()
    writer.Write()
    return bytes(numpy_support.vtk_to_numpy(writer.GetResult()))

"""Heat maps over oblique images under a transform: the heat is drawn where the ball is."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")
pytest.importorskip("trame_slicer", reason="trame-slicer is not installed")

import vtk
from classification_phantoms import ball_image
from vtk.util.numpy_support import vtk_to_numpy

from medai.errors import GeometryError
from medai.image import crop
from medai.render import has_opengl, heat_map_picture

TILE, GAP = 240, 4
pytestmark = pytest.mark.render


@pytest.fixture(autouse=True)
def opengl():
    works, reason = has_opengl()
    if not works:
        pytest.skip(reason)


def read(path):
    reader = vtk.vtkPNGReader()
    reader.SetFileName(str(path))
    reader.Update()
    image = reader.GetOutput()
    i, j, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(j, i, -1)[::-1, :, :3].astype(int)


def test_heat_lies_over_the_ball_on_an_oblique_grid_under_a_transform(tmp_path):
    image, mask = ball_image(7, bright=True, shape=(24, 40, 36))
    heat = image.with_array(mask.astype(np.float32) * 0.9)
    turn = vtk.vtkTransform()
    turn.Translate(15, -40, 22)
    turn.RotateWXYZ(35, 1, 2, 3)
    parent = np.array([[turn.GetMatrix().GetElement(r, c) for c in range(4)] for r in range(4)])
    middle = image.ijk_to_ras @ np.array([*np.argwhere(mask).mean(axis=0)[::-1], 1.0])
    point = (parent @ middle)[:3]
    pixels = read(heat_map_picture(image, heat, tmp_path / "heat.png", parent=parent, point_ras=point, tile=TILE))
    plain = pixels[-TILE:, -TILE:]
    axial = pixels[:TILE, :TILE]
    colored = np.ptp(axial, axis=2) > 40
    bright = plain.max(axis=2) > np.percentile(plain[plain.max(axis=2) > 30], 90)
    assert colored.sum() > 50
    assert not (np.ptp(plain, axis=2) > 40).any()
    # Where there is colour, there is the bright ball of the same slice without heat.
    rows, columns = np.nonzero(colored)
    inside = bright[max(rows.min() - 3, 0) : rows.max() + 3, max(columns.min() - 3, 0) : columns.max() + 3]
    assert bright[colored].mean() > 0.8
    assert inside.sum() > 0.6 * (bright & (plain.max(axis=2) > 0)).sum()


def test_map_of_another_grid_is_refused(tmp_path):
    image, mask = ball_image(7)
    heat = image.with_array(mask.astype(np.float32))
    part = crop(heat, (slice(0, 5), slice(0, 5), slice(0, 5)))
    with pytest.raises(GeometryError, match="does not lie on the grid"):
        heat_map_picture(image, part, tmp_path / "heat.png")

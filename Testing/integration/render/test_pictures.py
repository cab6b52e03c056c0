"""Pictures by Slicer's own views: the labels are drawn where they are, on the right side of the patient."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")
pytest.importorskip("trame_slicer", reason="trame-slicer is not installed")

import vtk
from vtk.util.numpy_support import vtk_to_numpy

from medai.errors import GeometryError, InputError, OutputError
from medai.image import Image
from medai.labels import Label, LabelScheme
from medai.render import has_opengl, slice_picture, surface_picture
from medai.render.annotations import direction_letter

TILE = 200
GAP = 4
FIELD_MM = 100.0

pytestmark = pytest.mark.render


@pytest.fixture(autouse=True)
def opengl():
    works, reason = has_opengl()
    if not works:
        pytest.skip(reason)


every_grid = pytest.mark.parametrize("head", ["RAS", "LPS grid", "oblique"], indirect=True)


@pytest.fixture
def head(request) -> Image:
    """A grey cube of 100 mm around the origin; `every_grid` gives it other axis orders and directions."""
    grid = getattr(request, "param", "LPS grid")
    matrix = np.diag([1.25, 1.0, 2.0, 1.0])
    if grid == "LPS grid":
        matrix = np.array([[0, -1.0, 0, 0], [-1.25, 0, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])
    elif grid == "oblique":
        angle = np.deg2rad(25)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        matrix[:3, :3] = turn @ matrix[:3, :3]
    shape = (51, 101, 81)
    middle = (np.array(shape[::-1]) - 1) / 2
    matrix[:3, 3] = -(matrix[:3, :3] @ middle)
    voxels = np.full((1, *shape), 400, np.int16) + np.random.default_rng(0).integers(0, 100, shape, dtype=np.int16)
    return Image(voxels, matrix, "cube")


@pytest.fixture
def scheme() -> LabelScheme:
    return LabelScheme((Label(1, "left lump", (1, 0, 0)), Label(2, "right lump", (0, 1, 0))))


def lumps(image: Image) -> Image:
    """Balls of radius 8 mm: label 1 at the patient's left and front, label 2 at the right, back and bottom."""
    k, j, i = np.indices(image.shape)
    ras = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ image.ijk_to_ras.T
    labels = np.zeros(image.shape, np.uint8)
    for value, center in ((1, (-20, 15, 0)), (2, (25, -10, -12))):
        labels[np.linalg.norm(ras[..., :3] - center, axis=-1) <= 8] = value
    return image.with_array(labels)


def read_png(path) -> np.ndarray:
    """Pixels (row, column, 3), the first row at the top."""
    reader = vtk.vtkPNGReader()
    reader.SetFileName(str(path))
    reader.Update()
    width, height, _ = reader.GetOutput().GetDimensions()
    pixels = vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars()).reshape(height, width, -1)
    return pixels[::-1, :, :3].astype(int)


def tile_of(pixels: np.ndarray, row: int, column: int) -> np.ndarray:
    top, left = row * (TILE + GAP), column * (TILE + GAP)
    return pixels[top : top + TILE, left : left + TILE]


def center_of(tile: np.ndarray, channel: int) -> np.ndarray:
    """Middle (column, row) of the pixels in which one colour stands out, from the middle of the tile."""
    others = [c for c in range(3) if c != channel]
    rows, columns = np.nonzero(tile[..., channel] - tile[..., others].max(axis=-1) > 25)
    assert rows.size > 50
    middle = [(columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2]
    return np.array(middle) - (TILE - 1) / 2


@every_grid
def test_slices_show_each_label_at_its_place(head, scheme, tmp_path):
    """Axial: the patient's left is right, the front is up; coronal: up is up; sagittal: the front is left."""
    labels = lumps(head)
    for point, expected in (
        # {(row, column of the tile, colour): millimetres to the right and down from the middle of the tile}
        ((0, 0, 0), {(0, 0, 0): (20, -15)}),
        ((25, -10, -12), {(0, 0, 1): (0, 0), (0, 1, 1): (0, 0), (1, 0, 1): (0, 0)}),
        ((25, -10, 0), {(0, 1, 1): (0, 12), (1, 0, 1): (0, 12)}),
        ((-20, 0, 0), {(1, 0, 0): (-15, 0)}),
    ):
        path = slice_picture(
            head, labels, scheme, tmp_path / "a.png", point_ras=point, tile=TILE, field_of_view_mm=FIELD_MM
        )
        pixels = read_png(path)
        assert pixels.shape == (2 * TILE + GAP, 2 * TILE + GAP, 3)
        for (row, column, channel), millimetres in expected.items():
            found = center_of(tile_of(pixels, row, column), channel)
            assert found == pytest.approx(np.array(millimetres) * TILE / FIELD_MM, abs=3.5)


def test_the_image_shows_through_the_labels(head, scheme, tmp_path):
    path = slice_picture(
        head, lumps(head), scheme, tmp_path / "a.png", point_ras=(-20, 15, 0), tile=TILE, field_of_view_mm=FIELD_MM
    )
    inside = tile_of(read_png(path), 0, 0)[TILE // 2 - 5 : TILE // 2 + 5, TILE // 2 - 5 : TILE // 2 + 5]
    assert inside[..., 1].mean() > 30  # green comes from the grey image alone
    assert inside[..., 0].mean() > inside[..., 1].mean() + 20


def test_by_default_the_slices_meet_the_largest_label(head, scheme, tmp_path):
    labels = lumps(head).channel(0)
    labels[labels == 1] = 0
    path = slice_picture(head, head.with_array(labels), scheme, tmp_path / "a.png", tile=TILE)
    pixels = read_png(path)
    for row, column in ((0, 0), (0, 1), (1, 0)):
        center_of(tile_of(pixels, row, column), channel=1)


@every_grid
def test_surfaces_are_seen_from_front_left_and_below(head, scheme, tmp_path):
    pixels = read_png(surface_picture(lumps(head), scheme, tmp_path / "s.png", tile=TILE))
    front, left, below = (tile_of(pixels, r, c) for r, c in ((0, 0), (0, 1), (1, 0)))
    assert center_of(front, 0)[0] > 20 > -20 > center_of(front, 1)[0]
    assert center_of(front, 0)[1] < center_of(front, 1)[1]
    assert center_of(left, 0)[0] < -20 < 20 < center_of(left, 1)[0]
    assert center_of(below, 0)[0] > 20 > -20 > center_of(below, 1)[0]
    assert center_of(below, 0)[1] < center_of(below, 1)[1]


def test_directions_have_the_right_letters():
    letters = [direction_letter(d) for d in np.vstack([np.eye(3), -np.eye(3)])]
    assert letters == ["R", "A", "S", "L", "P", "I"]


def test_what_cannot_be_drawn_is_said_and_leaves_nothing(head, scheme, tmp_path):
    labels = lumps(head)
    with pytest.raises(InputError, match="every label is empty"):
        surface_picture(head.with_array(np.zeros(head.shape, np.uint8)), scheme, tmp_path / "s.png")
    with pytest.raises(GeometryError, match="one grid"):
        slice_picture(Image(head.array, head.ijk_to_ras @ np.diag([2, 1, 1, 1.0])), labels, scheme, tmp_path / "a.png")
    with pytest.raises(OutputError, match=r"\.png"):
        slice_picture(head, labels, scheme, tmp_path / "a.jpg")
    with pytest.raises(OutputError, match=r"folder .* does not exist"):
        slice_picture(head, labels, scheme, tmp_path / "missing" / "a.png")
    assert list(tmp_path.iterdir()) == []

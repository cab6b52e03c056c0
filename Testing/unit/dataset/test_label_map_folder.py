"""Folders of label maps: any orientation, merged and mirrored values, and errors that name value and file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medai.config.label_maps import Contrast, LabelMapsDescription, MapLabel
from medai.config.model_card import LabelSpec
from medai.dataset.label_map_folder import DESCRIPTION_NAME, read_description, read_label_maps
from medai.errors import ConfigError, DatasetError, InputError
from medai.image import Image
from medai.imageio import write_image


def head() -> np.ndarray:
    """(k, j, i) to superior, anterior, right: left 2, right 41, skull 500 around, a lesion 77 in the left."""
    array = np.zeros((20, 24, 26), np.int16)
    array[2:18, 2:22, 2:24] = 500
    array[4:16, 4:20, 4:13] = 2
    array[4:16, 4:20, 13:22] = 41
    array[6:8, 6:8, 6:8] = 77
    return array


DESCRIBED = LabelMapsDescription(
    values=(
        MapLabel(2, "Left", mirror=41, tissue="white"),
        MapLabel(41, "Right", mirror=2, tissue="white"),
        MapLabel(77, label=2),
        MapLabel(500, label=0, removable=True),
    ),
    labels=(LabelSpec(41, "Right half", (1.0, 0.0, 0.0)),),
    contrasts=(Contrast("T1", 0.3, {"2": (100.0, 10.0)}),),
    held_out=("b",),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two maps of one head: `a` to the right, anterior, superior; `b` to the left, inferior, posterior axes."""
    straight = np.diag([1.0, 1.0, 1.5, 1.0])
    write_image(tmp_path / "a.nii.gz", Image(head()[None], straight))
    turned = head()[::-1, :, ::-1].transpose(1, 0, 2)  # axes (k, j, i) to anterior, inferior, left
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[-1.0, 0, 0], [0, 0, 1.0], [0, -1.5, 0]])
    write_image(tmp_path / "b.nrrd", Image(np.ascontiguousarray(turned)[None], matrix))
    return tmp_path


def test_maps_of_any_orientation_become_equal(folder: Path) -> None:
    data = read_label_maps(folder, DESCRIBED)
    a, b = data.volumes
    assert (a.name, b.name) == ("a", "b")
    assert a.spacing_mm == b.spacing_mm == (1.5, 1.0, 1.0)
    assert np.array_equal(a.indices, b.indices)
    assert a.indices.shape == (18, 22, 24)  # the box of what is not 0, and one voxel of air around it
    assert not a.indices[0].any()
    assert not a.indices[..., -1].any()
    assert np.allclose(a.extent_mm, [11 * 1.5, 15, 17])  # of what is segmented and stays
    assert data.held_out == ("b",)


def test_values_become_classes_sides_and_tissues(folder: Path) -> None:
    data = read_label_maps(folder, DESCRIBED)
    table = data.table
    assert table.values == (0, 2, 41, 77, 500)
    assert table.classes.tolist() == [0, 1, 2, 1, 0]
    assert table.mirror.tolist() == [0, 2, 1, 3, 4]
    assert table.tissue.tolist() == [0, 1, 1, 0, 0]
    assert table.removable.tolist() == [False, False, False, False, True]
    assert table.sided
    assert [(spec.value, spec.name) for spec in data.labels] == [(2, "Left"), (41, "Right half")]
    assert data.labels[1].color == (1.0, 0.0, 0.0)


def test_without_a_description_every_value_is_a_label_with_a_plain_name(folder: Path) -> None:
    data = read_label_maps(folder, LabelMapsDescription())
    assert [(spec.value, spec.name) for spec in data.labels] == [(v, f"label {v}") for v in (2, 41, 77, 500)]
    assert len({spec.color for spec in data.labels}) == 4
    assert not data.table.sided
    assert data.held_out == ()


def test_the_folders_own_description_is_found(folder: Path, tmp_path: Path) -> None:
    assert read_description(folder, None) == LabelMapsDescription()
    (folder / DESCRIPTION_NAME).write_text(json.dumps({"values": [{"value": 2, "name": "Left"}]}), encoding="utf-8")
    assert read_description(folder, None).values == (MapLabel(2, "Left"),)
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"values": [{"value": 2, "tisue": "white"}]}), encoding="utf-8")
    with pytest.raises(ConfigError, match="tisue"):
        read_description(folder, other)


@pytest.mark.parametrize(
    ("described", "named"),
    [
        (LabelMapsDescription(values=(MapLabel(2, mirror=99), MapLabel(99, mirror=2))), "99"),
        (LabelMapsDescription(held_out=("c",)), "'c'"),
        (LabelMapsDescription(values=tuple(MapLabel(v, label=0) for v in (2, 41, 77, 500))), "segmented"),
    ],
)
def test_descriptions_that_do_not_fit_the_maps(folder: Path, described: LabelMapsDescription, named: str) -> None:
    with pytest.raises(DatasetError, match=named):
        read_label_maps(folder, described)


def test_values_that_cannot_be_described() -> None:
    with pytest.raises(ConfigError, match="-1"):
        MapLabel(-1)
    with pytest.raises(ConfigError, match="background"):
        MapLabel(0)
    with pytest.raises(ConfigError, match="twice"):
        LabelMapsDescription(values=(MapLabel(2), MapLabel(2)))
    with pytest.raises(ConfigError, match="mirror"):
        LabelMapsDescription(values=(MapLabel(2, mirror=41), MapLabel(41)))


def test_folders_without_usable_maps(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere"):
        read_label_maps(tmp_path / "nowhere", LabelMapsDescription())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty"):
        read_label_maps(tmp_path / "empty", LabelMapsDescription())
    write_image(folder / "c.nii.gz", Image(np.zeros((1, 4, 4, 4), np.int16), np.eye(4)))
    with pytest.raises(DatasetError, match=r"c\.nii\.gz"):
        read_label_maps(folder, LabelMapsDescription())
    write_image(folder / "c.nii.gz", Image(np.full((1, 4, 4, 4), 1.5, np.float32), np.eye(4)))
    with pytest.raises(InputError, match=r"c\.nii\.gz"):
        read_label_maps(folder, LabelMapsDescription())
    write_image(folder / "c.nii.gz", Image(np.arange(400, dtype=np.int16).reshape(1, 4, 10, 10), np.eye(4)))
    with pytest.raises(DatasetError, match="255"):
        read_label_maps(folder, LabelMapsDescription())

"""What is written is read back: voxels, types and geometry, on oblique and left-handed grids."""

from dataclasses import replace

import numpy as np
import pytest

from medai.errors import GeometryError, InputError, OutputError
from medai.image import Image
from medai.imageio import describe, read_image, read_label_map, write_image, write_label_map
from medai.labels import Label, LabelScheme

SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha"]


def flipped(image: Image) -> Image:
    """The image on a left-handed grid."""
    matrix = image.ijk_to_ras.copy()
    matrix[:3, 0] *= -1
    return replace(image, ijk_to_ras=matrix)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("left_handed", [False, True])
def test_images_come_back_as_they_were(tmp_path, oblique_image, suffix, dtype, left_handed):
    image = replace(oblique_image, array=oblique_image.array.astype(dtype))
    image = flipped(image) if left_handed else image
    write_image(tmp_path / f"image{suffix}", image)
    found = read_image(tmp_path / f"image{suffix}")
    assert found.array.dtype == image.array.dtype
    assert np.array_equal(found.array, image.array)
    assert found.same_grid(image, tolerance_voxels=1e-5)
    assert found.name == "image"
    assert [p.name for p in tmp_path.iterdir()] == [f"image{suffix}"]


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".seg.nrrd"])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_label_maps_carry_the_values_of_the_scheme(tmp_path, sphere_label_map, suffix, dtype):
    scheme = LabelScheme((Label(300, "groß", (0.1, 0.2, 0.3)), Label(7, "unused", (1, 0, 0.123456789))))
    values = np.where(sphere_label_map.array == 1, 300, 0)
    if dtype == "uint8":
        scheme, values = LabelScheme((Label(200, "groß", (0.1, 0.2, 0.3)), scheme.labels[1])), values // 300 * 200
    label_map = replace(sphere_label_map, array=values.astype(dtype))
    write_label_map(tmp_path / f"labels{suffix}", label_map, scheme)
    found, found_scheme = read_label_map(tmp_path / f"labels{suffix}")
    assert np.array_equal(found.array, values)
    assert found.array.dtype == (np.uint8 if dtype == "uint8" else np.uint16)
    assert found.same_grid(label_map, tolerance_voxels=1e-5)
    assert found_scheme == (scheme if suffix == ".seg.nrrd" else None)


def test_a_segmentation_with_a_value_that_no_label_names_is_refused(tmp_path, sphere_label_map, two_labels):
    with pytest.raises(InputError, match=r"values \[2\]"):
        write_label_map(tmp_path / "x.seg.nrrd", sphere_label_map, two_labels.subset(["liver"]))
    assert not list(tmp_path.iterdir())


def test_an_image_is_no_label_map(tmp_path, oblique_image):
    write_image(tmp_path / "x.nrrd", replace(oblique_image, array=oblique_image.array + np.float32(0.5)))
    with pytest.raises(InputError, match="not whole"):
        read_label_map(tmp_path / "x.nrrd")
    write_image(tmp_path / "y.nrrd", replace(oblique_image, array=oblique_image.array - np.int16(1000)))
    with pytest.raises(InputError, match="values go from -"):
        read_label_map(tmp_path / "y.nrrd")


def test_a_sheared_grid_is_refused_but_by_nrrd(tmp_path, oblique_image):
    matrix = oblique_image.ijk_to_ras.copy()
    matrix[:3, 2] += 0.2 * matrix[:3, 0]
    sheared = replace(oblique_image, ijk_to_ras=matrix)
    with pytest.raises(GeometryError, match="sheared"):
        write_image(tmp_path / "x.nii.gz", sheared)
    write_image(tmp_path / "x.nrrd", sheared)
    with pytest.raises(GeometryError, match="sheared"):
        read_image(tmp_path / "x.nrrd")


@pytest.mark.parametrize("name", ["x.png", "x", ".nrrd", "x.seg.nrrd", "x.mhd"])
def test_unknown_suffixes_are_refused(tmp_path, oblique_image, name):
    with pytest.raises(OutputError, match="suffix"):
        write_image(tmp_path / name, oblique_image)


def test_several_channels_are_not_written(tmp_path, oblique_image):
    two = Image(np.repeat(oblique_image.array, 2, axis=0), oblique_image.ijk_to_ras)
    for suffix in SUFFIXES:
        with pytest.raises(InputError, match="2 channels"):
            write_image(tmp_path / f"x{suffix}", two)


def test_describe_an_image(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    array[0, 0, 0, 0] = np.nan
    matrix = np.diag([-0.5, -1.0, 2.0, 1.0])
    write_image(tmp_path / "x.nrrd", Image(array, matrix))
    found = describe(tmp_path / "x.nrrd")
    assert found["size_ijk"] == [4, 3, 2]
    assert found["spacing_mm_ijk"] == [0.5, 1.0, 2.0]
    assert found["axes"] == "LPS"
    assert (found["minimum"], found["maximum"], found["not_finite_voxels"]) == (1.0, 23.0, 1)


def test_describe_a_segmentation(tmp_path, sphere_label_map, two_labels):
    write_label_map(tmp_path / "x.seg.nrrd", sphere_label_map, two_labels)
    liver = describe(tmp_path / "x.seg.nrrd")["segments"][0]
    assert liver["name"] == "liver"
    assert liver["terminology"] == "Liver"
    assert liver["volume_ml"] == pytest.approx(4 / 3 * np.pi * 9.0**3 / 1000, rel=0.03)

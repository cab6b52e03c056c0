"""What a classifier sees of a volume, a region and a structure: the right part, at the right place, unaliased."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import oblique_matrix

from medai.config.model_card import FramingSpec, InputSpec, Normalization
from medai.errors import InputError
from medai.image import Image, Roi
from medai.preprocessing.axis_sampling import AxisSampling, sample
from medai.preprocessing.framing import Framing

PLAIN = InputSpec("image", "", Normalization("none"))
MASK = InputSpec("structure", "SEG", Normalization("none"))
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def framing(
    patch: tuple[int, int, int],
    method: str = "spacing",
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    inputs: tuple[InputSpec, ...] = (PLAIN,),
    margin: float = 0.0,
) -> Framing:
    return Framing(inputs, spacing, patch, FramingSpec(method, margin))  # type: ignore[arg-type]


def ramp(shape: tuple[int, int, int], matrix: np.ndarray) -> Image:
    """An image whose value is 3 R - 2 A + S + 500 at every place."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    ras = np.einsum("ab,b...->a...", matrix, np.stack([i, j, k, np.ones_like(k)]))
    return Image((3 * ras[0] - 2 * ras[1] + ras[2] + 500)[None].astype(np.float32), matrix, "ramp")


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("method", ["spacing", "resize", "proportional"])
def test_values_stay_at_their_place(method: str, left_handed: bool) -> None:
    matrix = oblique_matrix((1.4, 0.8, 2.1), left_handed=left_handed)
    image = ramp((23, 31, 27), matrix)
    box = (slice(6, 17), slice(8, 24), slice(7, 20))
    framed, warnings = framing((6, 7, 5), method, (2.3, 1.5, 1.9)).apply(image, box)
    assert framed.array.shape == (1, 6, 7, 5)
    assert not warnings
    expected = ramp((6, 7, 5), framed.ijk_to_ras)
    # A widened filter is not quite exact for a ramp; a shift of a voxel would be 2 to 6.
    np.testing.assert_allclose(framed.array, expected.array, atol=0.15)
    # Axes as near to superior, anterior, right as they can be.
    assert (np.diag(framed.ijk_to_ras[:3, :3]) > 0).all()


def test_spacing_centres_the_box_and_fills_beyond_the_border() -> None:
    image = Image(np.full((1, 5, 6, 7), 3.0, np.float32), np.eye(4), "small")
    framed, _ = framing((9, 8, 9)).apply(image)
    assert framed.array.shape == (1, 9, 8, 9)
    assert (framed.array == 3.0).all()  # what lies beyond has the smallest value of the image
    np.testing.assert_allclose(framed.ijk_to_ras[:3, 3], [-1, -1, -2])


def test_a_volume_of_the_right_voxels_is_not_interpolated() -> None:
    array = np.random.default_rng(0).normal(size=(1, 9, 8, 7)).astype(np.float32)
    framed, _ = framing((9, 8, 7)).apply(Image(array, LPS, "x"))
    np.testing.assert_array_equal(framed.array, array[:, :, ::-1, ::-1])


def test_making_smaller_averages_instead_of_aliasing() -> None:
    board = np.indices((32, 32)).sum(axis=0) % 2
    framed, _ = framing((1, 8, 8), "resize").apply(Image(board[None, None].astype(np.float32), LPS, "board"))
    assert np.abs(framed.array[..., 1:-1, 1:-1] - 0.5).max() < 0.02


def test_proportional_keeps_the_shape_of_things() -> None:
    image = ramp((1, 20, 40), LPS)
    framed, _ = framing((1, 10, 10), "proportional").apply(image)
    steps = np.linalg.norm(framed.ijk_to_ras[:3, :2], axis=0)
    np.testing.assert_allclose(steps, [2.0, 2.0])
    np.testing.assert_allclose((framed.ijk_to_ras @ [4.5, 4.5, 0, 1])[:3], (LPS @ [19.5, 9.5, 0, 1])[:3])


def test_a_slice_of_a_volume_is_warned_about() -> None:
    image = ramp((9, 12, 12), np.diag([1.0, 1.0, 3.0, 1.0]))
    framed, warnings = framing((1, 12, 12)).apply(image)
    assert "only the slice in the middle" in warnings[0]
    assert (framed.ijk_to_ras @ [0, 0, 0, 1])[2] == pytest.approx(12.0)  # slice 4 of 0..8, 3 mm each
    roi = Roi.from_bounds((2, 9, 2, 9, 17, 25))
    framed, _ = framing((1, 7, 7)).apply(image, roi.index_box(image))
    assert (framed.ijk_to_ras @ [0, 0, 0, 1])[2] == pytest.approx(21.0)


def test_a_picture_for_a_model_of_volumes_is_refused() -> None:
    with pytest.raises(InputError, match="single slice"):
        framing((8, 8, 8)).apply(ramp((1, 20, 20), LPS))


def test_a_mask_is_centred_by_what_it_shows() -> None:
    array = np.zeros((1, 20, 30, 30), np.uint8)
    array[0, 2:8, 20:26, 3:9] = 255
    framed, _ = framing((10, 10, 10), inputs=(MASK,)).apply(Image(array, np.eye(4), "mask"))
    assert framed.array.sum() == 6**3
    np.testing.assert_array_equal(np.argwhere(framed.array[0]).min(axis=0), [2, 2, 2])


def test_a_structure_with_its_surroundings_and_margin() -> None:
    image = ramp((20, 20, 20), np.eye(4))
    mask = np.zeros((20, 20, 20), bool)
    mask[5:15, 6:16, 4:14] = True
    box = (slice(5, 15), slice(6, 16), slice(4, 14))
    made = framing((7, 7, 7), "resize", inputs=(PLAIN, MASK), margin=0.2)
    framed, _ = made.apply(image, box, mask, structure=True)
    np.testing.assert_allclose(np.diag(framed.ijk_to_ras)[:3], 2.0)  # 10 voxels and 2 on each side, over 7
    assert framed.array[1, 1:-1, 1:-1, 1:-1].all()
    assert not framed.array[1, 0].any()
    np.testing.assert_allclose(framed.array[0], ramp((7, 7, 7), framed.ijk_to_ras).array[0], atol=0.7)


def test_the_border_is_made_of_the_image_alone() -> None:
    bright = Image(np.full((1, 1, 60, 60), 9.0, np.float32), LPS, "bright")
    bright.array[0, 0, 30, 30] = 0.0
    framed, _ = framing((1, 6, 6), "resize").apply(bright)
    np.testing.assert_allclose(framed.array[0, 0, [0, 0, 5, 5], [0, 5, 0, 5]], 9.0, rtol=1e-5)


def test_samples_by_hand() -> None:
    line = np.arange(8, dtype=np.float32).reshape(1, 1, 8)
    axes = (AxisSampling(0, 1, 1), AxisSampling(0, 1, 1), AxisSampling(0, 2, 4))
    # Samples of two voxels each, triangle of width 2: 1/16 of ... by symmetry the mean of a ramp inside.
    np.testing.assert_allclose(sample(line, axes, "linear", 0.0)[0, 0, 1:3], [2.5, 4.5], rtol=1e-6)
    shifted = sample(line, (*axes[:2], AxisSampling(0.5, 1, 7)), "cubic", 0.0)
    np.testing.assert_allclose(shifted[0, 0, 1:6], np.arange(1, 6) + 0.5, rtol=1e-5)

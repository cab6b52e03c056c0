"""Volumes, totals, quality and plausibility in the result of a run, and the tidying up before them."""

from __future__ import annotations

import numpy as np
import pytest

from medai.config.label_rules import PlausibilitySpec, PostprocessingStep, QualitySpec, TotalSpec
from medai.config.segment import SegmentConfig
from medai.image import Image, Roi
from medai.segment import run

SPACING_KJI = (3.0, 0.8, 1.25)
TIDY = (PostprocessingStep("largest_component"), PostprocessingStep("fill_holes", together=True))


@pytest.fixture
def image():
    """Two nested blocks (0.5 in 1.0), a stray voxel of each and a hole; 15 x 33 x 26 anisotropic voxels."""
    array = np.zeros((1, 15, 33, 26), np.float32)
    array[0, 2:12, 4:28, 3:22] = 1.0
    array[0, 4:9, 9:20, 8:15] = 0.5
    array[0, 6, 15, 11] = 1.0  # within the inner block
    array[0, 13, 31, 24] = 0.5  # in the air
    array[0, 10, 24, 18] = 0.0  # a hole in the outer block
    matrix = np.diag([-SPACING_KJI[2], SPACING_KJI[1], SPACING_KJI[0], 1.0])
    return Image(array, matrix, "blocks", "MR")


def nested(image: Image) -> np.ndarray:
    labels = np.zeros(image.shape, np.uint8)
    labels[2:12, 4:28, 3:22] = 2
    labels[4:9, 9:20, 8:15] = 1
    return labels


def test_the_card_says_how_the_labels_are_tidied_up(make_model, image):
    model = make_model(SPACING_KJI, postprocessing=TIDY)
    found = run(SegmentConfig(), [image], model)
    assert np.array_equal(found.label_map.channel(0), nested(image))
    left = run(SegmentConfig(postprocessing=False), [image], model).label_map.channel(0)
    assert (left[6, 15, 11], left[13, 31, 24], left[10, 24, 18]) == (2, 1, 0)


def test_a_hole_stays_where_only_some_labels_were_asked_for(make_model, image):
    model = make_model(SPACING_KJI, postprocessing=TIDY)
    labels = run(SegmentConfig(labels=("organ 2",)), [image], model).label_map.channel(0)
    assert (labels[10, 24, 18], labels[5, 11, 10], labels[6, 15, 11]) == (0, 0, 0)


def test_rows_have_sizes_and_totals(make_model, image):
    totals = (TotalSpec("all"), TotalSpec("outer only", ("organ 2",)))
    rows = run(SegmentConfig(), [image], make_model(SPACING_KJI, postprocessing=TIDY, totals=totals)).volumes
    inner, outer = 5 * 11 * 7, 10 * 24 * 19 - 5 * 11 * 7
    voxel_ml = 3.0 * 0.8 * 1.25 / 1000
    assert [(r.name, r.value, r.voxels) for r in rows] == [
        ("organ 1", 1, inner), ("organ 2", 2, outer), ("all", None, inner + outer), ("outer only", None, outer),
    ]  # fmt: skip
    assert [r.volume_ml for r in rows] == pytest.approx([n * voxel_ml for n in (inner, outer, inner + outer, outer)])
    assert all(r.quality is None and r.usual_ml is None and not r.unusual for r in rows)


def test_a_total_needs_all_of_its_labels(make_model, image):
    model = make_model(SPACING_KJI, totals=(TotalSpec("all"), TotalSpec("outer", ("organ 2",))))
    rows = run(SegmentConfig(labels=("organ 2",)), [image], model).volumes
    assert [r.name for r in rows] == ["organ 2", "outer"]


def test_quality_falls_with_doubt_and_low_ones_are_told(make_model, image):
    """The logits of the model are 2 m x - m^2: with intensities spread out they are surer."""
    qualities = []
    for contrast in (1.0, 30.0):
        model = make_model(
            SPACING_KJI, means=(0.0, 0.5 * contrast, contrast), quality=QualitySpec((0.3, 0.9), (0.2, 1.0), low=0.6)
        )
        found = run(SegmentConfig(), [image.with_array(image.array * np.float32(contrast))], model)
        qualities.append([row.quality for row in found.volumes])
        told = [w for w in found.warnings if "not sure" in w]
        low = [row.name for row in found.volumes if row.quality < 0.6]
        assert all(name in told[0] for name in low) if low else not told
    assert all(a < b for a, b in zip(*qualities, strict=True))
    assert qualities[1] == pytest.approx([1.0, 1.0], abs=0.02)
    assert min(qualities[0]) < 0.6


def test_a_structure_of_unusual_size_is_told(make_model, image):
    usual = PlausibilitySpec({"organ 1": (0.5, 2.0), "organ 2": (20.0, 30.0)}, share=0.9)
    found = run(SegmentConfig(), [image], make_model(SPACING_KJI, postprocessing=TIDY, plausibility=usual))
    assert [row.unusual for row in found.volumes] == [False, True]
    assert not found.unlike
    assert [w for w in found.warnings if "organ 2 12.5 mL, usual 20.0 to 30.0" in w]


@pytest.mark.parametrize(
    "usual",
    [
        PlausibilitySpec({"organ 1": (5.0, 9.0), "organ 2": (20.0, 30.0)}, share=0.5),
        PlausibilitySpec({"all": (20.0, 30.0)}),
    ],
)
def test_too_many_of_them_or_a_total_make_the_image_unlike(make_model, image, usual):
    model = make_model(SPACING_KJI, totals=(TotalSpec("all"),), plausibility=usual)
    found = run(SegmentConfig(), [image], model)
    assert found.unlike
    assert [w for w in found.warnings if "does not seem to show all that model 'nearest' was made for" in w]


def test_of_a_region_volumes_are_not_judged(make_model, image):
    usual = PlausibilitySpec({"organ 1": (5.0, 9.0), "organ 2": (20.0, 30.0)})
    model = make_model(SPACING_KJI, plausibility=usual)
    center = (image.ijk_to_ras @ np.array([12, 16, 7, 1.0]))[:3]
    found = run(SegmentConfig(roi=Roi(tuple(center), (16.0, 16.0, 16.0))), [image], model)
    assert not found.unlike
    assert all(row.usual_ml is None for row in found.volumes)

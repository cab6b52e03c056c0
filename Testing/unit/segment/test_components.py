"""Stray pieces and holes of label maps, on odd and anisotropic grids."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from medai.config.label_rules import PostprocessingStep
from medai.errors import Cancelled
from medai.labels import Label, LabelScheme
from medai.progress import Stage, no_progress
from medai.segment import components
from medai.segment.components import boxes_of, fill_holes, keep_large_components

SPACING_MM = (4.0, 0.9, 1.1)
GREY, WHITE, FLUID = 3, 7, 200
SCHEME = LabelScheme(
    tuple(Label(value, name, (1, 0, 0)) for value, name in ((GREY, "grey"), (WHITE, "white"), (FLUID, "fluid")))
)


def postprocess(labels, steps, kept=SCHEME, stage=None, cancelled=lambda: False):
    return components.postprocess(
        labels, steps, SCHEME, kept, SPACING_MM, stage or Stage(no_progress, "Finishing"), cancelled
    )


@pytest.fixture
def labels():
    """A block of white matter in grey matter in fluid, on 13 x 31 x 27 voxels."""
    array = np.zeros((13, 31, 27), np.uint8)
    array[1:12, 3:28, 2:25] = FLUID
    array[2:11, 5:26, 4:23] = GREY
    array[4:9, 9:22, 8:19] = WHITE
    return array


def test_a_stray_piece_becomes_what_surrounds_it(labels):
    clean = labels.copy()
    labels[6, 15, 12] = GREY  # within white matter
    labels[5:7, 0, 0] = WHITE  # in the air, at the border of the volume
    labels[2, 5, 4] = WHITE  # at the corner of grey matter: more fluid around it
    changed = postprocess(labels, [PostprocessingStep("largest_component")])
    clean[2, 5, 4] = FLUID
    assert np.array_equal(labels, clean)
    assert changed == [GREY, WHITE, FLUID]


def test_only_named_labels_are_looked_at(labels):
    labels[6, 15, 12] = GREY
    before = labels.copy()
    assert postprocess(labels, [PostprocessingStep("largest_component", ("fluid",))]) == []
    assert np.array_equal(labels, before)


@pytest.mark.parametrize(("share", "left"), [(1.0, 1), (0.5, 2), (0.1, 3)])
def test_pieces_of_a_share_of_the_largest_stay(share, left):
    labels = np.zeros((5, 9, 40), np.uint8)
    labels[1:4, 2:6, 1:11] = GREY  # 120 voxels
    labels[1:4, 2:6, 20:26] = GREY  # 72
    labels[1:4, 2:6, 30:32] = GREY  # 24
    keep_large_components(labels, [GREY], boxes_of(labels), share)
    assert scipy.ndimage.label(labels == GREY)[1] == left


def test_of_equal_pieces_one_stays():
    labels = np.zeros((3, 5, 12), np.uint8)
    labels[1, 1:3, 1:3] = GREY
    labels[1, 1:3, 7:9] = GREY
    assert keep_large_components(labels, [GREY], boxes_of(labels)) == {GREY}
    assert np.argwhere(labels).tolist() == [[1, 1, 1], [1, 1, 2], [1, 2, 1], [1, 2, 2]]


def test_pieces_that_touch_by_a_corner_are_one():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 1, 1] = labels[2, 2, 2] = GREY
    before = labels.copy()
    assert keep_large_components(labels, [GREY], boxes_of(labels)) == set()
    assert np.array_equal(labels, before)


def test_together_labels_are_one_structure(labels):
    """Apart, two halves lose the smaller one's pieces; together only what lies outside of both goes."""
    labels[labels == FLUID] = 0
    labels[2:4, 5:26, 4:23] = 0  # the grey matter is cut open
    labels[0, 29, 25] = GREY
    labels[0, 30, 26] = WHITE
    clean = labels.copy()
    clean[0, 29:, 25:] = 0
    step = PostprocessingStep("largest_component", ("grey", "white"), together=True)
    assert postprocess(labels, [step]) == [GREY, WHITE]
    assert np.array_equal(labels, clean)


def test_touching_strays_of_two_labels_end_in_the_background():
    labels = np.zeros((7, 9, 30), np.uint8)
    labels[2:5, 2:7, 2:9] = GREY
    labels[2:5, 2:7, 9:14] = WHITE
    labels[3, 4, 20:23] = GREY
    labels[3, 4, 23:26] = WHITE
    postprocess(labels, [PostprocessingStep("largest_component")])
    assert not labels[:, :, 15:].any()
    assert scipy.ndimage.label(labels == GREY)[1] == scipy.ndimage.label(labels == WHITE)[1] == 1


def test_a_voxel_that_changes_hands_goes_with_its_new_owner():
    """Stray grey beside stray white: it becomes white, and must not be left over when that goes, too."""
    labels = np.zeros((5, 5, 30), np.uint8)
    labels[1:4, 1:4, 1:8] = GREY
    labels[1:4, 1:4, 10:16] = WHITE
    labels[1:4, 1:4, 20:23] = WHITE
    labels[2, 2, 22] = GREY  # inside of the stray white but for one face
    postprocess(labels, [PostprocessingStep("largest_component")])
    assert not labels[:, :, 17:].any()


def test_a_hole_gets_the_nearest_label(labels):
    """In mm: a plane away is 4 mm, three columns away 2.7 mm."""
    labels[labels == FLUID] = 0
    clean = labels.copy()
    labels[3:6, 14:17, 12:15] = 0  # through the wall between white (k 4..8) and grey (k 2..3)
    step = PostprocessingStep("fill_holes", together=True)
    assert postprocess(labels, [step]) == [GREY, WHITE]
    assert (labels != 0).sum() == (clean != 0).sum()
    assert (labels[3, 14:17, 12:15] == GREY).all()
    assert (labels[5, 14:17, 12:15] == WHITE).all()


def test_a_label_that_encloses_another_keeps_it(labels):
    clean = labels.copy()
    labels[6, 12, 10:12] = 0  # inside of the white matter
    labels[3, 7, 6] = 0  # inside of the grey matter
    postprocess(labels, [PostprocessingStep("fill_holes", ("grey", "white"))])
    assert np.array_equal(labels, clean)


def test_background_between_two_structures_is_no_hole_of_one(labels):
    before = labels.copy()
    labels[4, 12, 12] = 0  # white on five sides, grey on the sixth
    holed = labels.copy()
    assert fill_holes(labels, [WHITE], boxes_of(labels), SPACING_MM) == set()
    assert np.array_equal(labels, holed)
    assert fill_holes(labels, [WHITE, GREY], boxes_of(labels), SPACING_MM) == {WHITE}
    assert np.array_equal(labels, before)


def test_background_that_is_open_to_a_side_is_no_hole(labels):
    labels[:, 15, 12] = 0
    before = labels.copy()
    assert fill_holes(labels, [GREY, WHITE, FLUID], boxes_of(labels), SPACING_MM) == set()
    assert np.array_equal(labels, before)


def test_holes_stay_where_a_structure_was_not_asked_for(labels):
    """The white matter was left out: its place in the grey matter is no hole."""
    labels[labels == WHITE] = 0
    kept = SCHEME.subset(["grey", "fluid"])
    before = labels.copy()
    assert postprocess(labels, [PostprocessingStep("fill_holes", together=True)], kept) == []
    assert np.array_equal(labels, before)


def test_a_full_volume_and_an_empty_one_are_left_as_they_are():
    steps = [PostprocessingStep("largest_component"), PostprocessingStep("fill_holes", together=True)]
    for value in (0, FLUID):
        labels = np.full((3, 4, 5), value, np.uint16)
        assert postprocess(labels, steps) == []
        assert (labels == value).all()


def test_noise_keeps_every_voxel_labelled_and_one_piece_each():
    """Thousands of pieces and holes."""
    rng = np.random.default_rng(3)
    labels = np.full((9, 40, 37), GREY, np.uint8)
    labels[:, :, 20:] = WHITE
    noise = rng.random(labels.shape)
    labels[noise < 0.05] = FLUID
    labels[noise > 0.97] = 0
    steps = [PostprocessingStep("largest_component"), PostprocessingStep("fill_holes", together=True)]
    postprocess(labels, steps)
    for value in (GREY, WHITE, FLUID):
        assert scipy.ndimage.label(labels == value, np.ones((3, 3, 3)))[1] <= 1
    closed = scipy.ndimage.binary_fill_holes(labels != 0) & (labels == 0)
    assert not closed.any()


def test_progress_and_cancel(labels):
    seen = []
    steps = [PostprocessingStep("largest_component"), PostprocessingStep("fill_holes")]
    postprocess(labels, steps, stage=Stage(seen.append, "Finishing", 0.5, 1.0))
    fractions = [p.fraction for p in seen]
    assert fractions == sorted(fractions)
    assert len(set(fractions)) == 6  # three labels, two steps
    with pytest.raises(Cancelled):
        postprocess(labels, steps, cancelled=lambda: True)

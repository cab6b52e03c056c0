"""Scans painted from label maps: sides, repeatability, what is stripped or cut, and the normalisation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medai.config.label_maps import Contrast
from medai.synthesis.contrasts import draw_intensities
from medai.synthesis.label_volumes import LabelTable, LabelVolume
from medai.synthesis.scans import ScanFrame, ScanSettings, paint_scan

FRAME = ScanFrame((32, 48, 32), (2.0, 2.0, 2.0))
STILL = ScanSettings(
    rotation_degrees=0.0,
    largest_rotation_degrees=0.0,
    scaling=0.0,
    stretch=0.0,
    bend_mm=0.0,
    slack_mm=1000.0,
    beyond=0.0,
    strip=0.0,
    cut=0.0,
)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sided_table(contrasts: tuple[Contrast, ...] = ()) -> LabelTable:
    """Air, left (class 1), right (class 2), and a shell that is only painted and may be stripped."""
    return LabelTable(
        (0, 10, 20, 500),
        torch.tensor([0, 1, 2, 0]),
        torch.tensor([0, 2, 1, 3]),
        torch.tensor([0, 2, 2, 0]),
        torch.tensor([False, False, False, True]),
        contrasts,
    )


def sided_volume(smaller_left: bool = True) -> LabelVolume:
    """A head of 70 x 90 x 62 mm: on the left (low i) a smaller structure than on the right, in a shell."""
    indices = torch.zeros((70, 90, 62), dtype=torch.uint8)
    indices[5:65, 5:85, 3:59] = 3
    indices[12:58, 12:78, 6:31] = 1
    if smaller_left:
        indices[12:30, 12:78, 6:31] = 3
    indices[12:58, 12:78, 31:56] = 2
    center = np.array([35.0, 45.0, 31.0])
    return LabelVolume("head", indices, (1.0, 1.0, 1.0), center, np.array([46.0, 66.0, 50.0]))


def test_a_scan_is_normalised_and_has_the_classes_of_the_map() -> None:
    for seed in range(8):
        image, labels = paint_scan(sided_volume(), sided_table(), FRAME, ScanSettings(), seeded(seed))
        assert image.shape == labels.shape == FRAME.patch
        assert image.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert torch.isfinite(image).all()
        assert float(image.min()) >= 0
        assert float(image.max()) <= 1
        assert set(torch.unique(labels).tolist()) <= {0, 1, 2}


def test_equal_seeds_give_equal_scans() -> None:
    first = paint_scan(sided_volume(), sided_table(), FRAME, ScanSettings(), seeded(3))
    again = paint_scan(sided_volume(), sided_table(), FRAME, ScanSettings(), seeded(3))
    other = paint_scan(sided_volume(), sided_table(), FRAME, ScanSettings(), seeded(4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_mirrored_scans_swap_the_sides() -> None:
    """Left stays on the left (low i) in every sample; whose shape it has tells whether it was mirrored."""
    smaller = {1: 0, 2: 0}
    margin = 3  # the patch's centre lies up to 5 mm beside the middle of the map
    for seed in range(24):
        _, labels = paint_scan(sided_volume(), sided_table(), FRAME, STILL, seeded(seed))
        middle = FRAME.patch[2] // 2
        assert not (labels[..., : middle - margin] == 2).any()
        assert not (labels[..., middle + margin :] == 1).any()
        counts = {value: int((labels == value).sum()) for value in (1, 2)}
        smaller[min(counts, key=lambda value: counts[value])] += 1
    assert min(smaller.values()) >= 5  # both kinds are frequent


def test_maps_without_sides_are_not_mirrored() -> None:
    table = sided_table()
    plain = replace(table, mirror=torch.arange(4))
    assert table.sided
    assert not plain.sided
    for seed in range(12):
        _, labels = paint_scan(sided_volume(), plain, FRAME, STILL, seeded(seed))
        assert int((labels == 1).sum()) < int((labels == 2).sum())


def test_labels_lie_where_the_structures_are_seen() -> None:
    """With a contrast that sets them off, no noise and no blur, segmented voxels differ in brightness from others."""
    known = Contrast(
        "known",
        1.0,
        {"10": (1.0, 0.0), "20": (1.0, 0.0), "500": (0.3, 0.0)},
        {"10": (0.0, 0.0), "20": (0.0, 0.0), "500": (0.0, 0.0)},
    )
    settings = replace(ScanSettings(), strip=0.0, cut=0.0, bias=0.0, noise=0.0, gamma=0.0, thickest_mm=2.0001)
    settings = replace(settings, coarsest_mm=2.0)
    ratios = []
    for seed in range(16):
        image, labels = paint_scan(sided_volume(), sided_table((known,)), FRAME, settings, seeded(seed))
        segmented = image[labels > 0]
        around = image[:, :, 2:-2][labels[:, :, 2:-2] == 0]
        if len(segmented) > 500 and len(around) > 500:
            ratios.append(abs(float(segmented.mean() - around.mean())) / float(segmented.std() + around.std()))
    assert len(ratios) >= 8
    assert np.median(ratios) > 0.8


def test_what_is_stripped_looks_like_air_and_is_not_segmented() -> None:
    table = replace(sided_table(), classes=torch.tensor([0, 1, 2, 3]))
    settings = replace(STILL, strip=1.0)
    kept = [
        bool((paint_scan(sided_volume(), table, FRAME, settings, seeded(seed))[1] == 3).any()) for seed in range(16)
    ]
    # What is segmented stays in half of the stripped images.
    assert 2 <= sum(kept) <= 14


def test_a_cut_field_of_view_is_empty_and_has_no_labels() -> None:
    settings = replace(STILL, cut=1.0)
    for seed in range(6):
        image, labels = paint_scan(sided_volume(), sided_table(), FRAME, settings, seeded(seed))
        empty = image == 0
        whole = [bool(empty.movedim(axis, 0)[end].all()) for axis in range(3) for end in (0, -1)]
        assert any(whole)
        faces = [labels.movedim(axis, 0)[end] for axis in range(3) for end in (0, -1)]
        assert all(not face.any() for face, gone in zip(faces, whole, strict=True) if gone)


def test_known_contrasts_are_drawn_by_their_weight() -> None:
    known = Contrast("T1", 1.0, {"10": (100.0, 0.0), "20": (50.0, 0.0)})
    bright = 0
    for seed in range(30):
        means, spreads = draw_intensities(sided_table((known,)), seeded(seed))
        assert means.shape == spreads.shape == (4,)
        assert (spreads >= 0).all()
        bright += float(means[1]) > float(means[2]) + 0.2
    assert bright >= 3  # both sides share a brightness in most, and some are inverted
    ours = draw_intensities(sided_table(), seeded(1))[0]
    assert not torch.equal(ours, draw_intensities(sided_table(), seeded(2))[0])


@pytest.mark.parametrize("seed", range(4))
def test_both_sides_mostly_look_alike(seed: int) -> None:
    alike = sum(
        abs(float(m[1] - m[2])) < 0.1
        for m in (draw_intensities(sided_table(), seeded(100 * seed + n))[0] for n in range(20))
    )
    assert alike >= 12

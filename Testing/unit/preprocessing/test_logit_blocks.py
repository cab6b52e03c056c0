"""Logits block by block are torch's trilinear interpolation, and classes that are left out cannot win."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch

from medai.errors import Cancelled
from medai.preprocessing import LabelWriter, Record, running_argmax
from medai.preprocessing import logit_blocks as blocks_module
from medai.preprocessing.logit_blocks import Taps, candidates, interpolator
from medai.preprocessing.orientation import closest_to_ras

SIZES = [
    ((13, 21, 18), (31, 50, 33)),  # up
    ((31, 50, 33), (13, 21, 18)),  # down
    ((17, 9, 30), (17, 9, 30)),  # the same
    ((17, 9, 30), (40, 9, 30)),  # along the stream only
    ((17, 9, 30), (17, 11, 29)),  # in the planes only
    ((1, 9, 7), (3, 20, 20)),
    ((5, 1, 7), (5, 4, 1)),
]


def smooth_logits(classes: int, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    noise = np.random.default_rng(seed).normal(size=(classes, *shape))
    return torch.from_numpy(scipy.ndimage.gaussian_filter(noise, (0, 2, 2, 2)).astype(np.float32))


def record_between(shape: tuple[int, ...], target: tuple[int, ...]) -> Record:
    box = (slice(0, target[0]), slice(0, target[1]), slice(0, target[2]))
    return Record(target, np.eye(4), closest_to_ras(np.eye(4)), box, shape, (3, 3, 3))


def interpolated(logits: torch.Tensor, target: tuple[int, ...]) -> torch.Tensor:
    return torch.nn.functional.interpolate(logits[None], target, mode="trilinear", align_corners=False)[0]


@pytest.mark.parametrize("device_way", [False, True])
@pytest.mark.parametrize(("shape", "target"), SIZES)
def test_blocks_are_torchs_trilinear_interpolation(shape, target, device_way, monkeypatch):
    monkeypatch.setattr(blocks_module, "_TILE", 16)
    monkeypatch.setattr(blocks_module, "_DEVICE_VOXELS", 2000)
    logits = smooth_logits(3, shape)
    expected = interpolated(logits, target).numpy()
    found = np.full((3, *target), np.nan, np.float32)
    device = torch.device("meta" if device_way else "cpu")  # which only chooses the way
    a, b = (Taps.between(n, m) for n, m in zip(shape[1:], target[1:], strict=True))
    cut = interpolator(a, b, device)
    for block in cut.blocks(logits, Taps.between(shape[0], target[0]), 0):
        assert block.source().dtype == torch.float32
        for n in range(3):
            assert np.isnan(found[(n, *block.index)]).all()
            found[(n, *block.index)] = block.arranged(block.logits(n))
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("shape", "target"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("values", [(0, 1, 2, 3), (0, 0, 5, 0), (0, 300, 7, 2)])
def test_labels_are_those_of_the_whole_interpolation(shape, target, dtype, values):
    logits = smooth_logits(4, shape).to(dtype)
    writer = LabelWriter(record_between(shape, target), values)
    writer.add(logits)
    expected = np.array(values)[interpolated(logits.float(), target).argmax(0).numpy()]
    assert (writer.labels != expected).mean() < 1e-4
    assert writer.labels.dtype == (np.uint16 if 300 in values else np.uint8)


def organs(shape: tuple[int, int, int], classes: int) -> torch.Tensor:
    """Logits as a trained network gives them: background nearly everywhere, each class high inside of its own ball."""
    generator = np.random.default_rng(5)
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    logits = np.empty((classes, *shape), np.float32)
    logits[0] = 6
    for n in range(1, classes):
        center = generator.uniform(0, 1, 3) * shape
        radius = generator.uniform(4, 9)
        distance = np.sqrt((k - center[0]) ** 2 + (j - center[1]) ** 2 + (i - center[2]) ** 2)
        logits[n] = np.clip(2 * (radius - distance), -9, 9)
        logits[0] -= np.clip(2 * (radius - distance) + 6, 0, 15)
    return torch.from_numpy(logits + generator.normal(0, 0.3, logits.shape).astype(np.float32))


def test_leaving_out_what_cannot_win_changes_no_voxel(monkeypatch):
    monkeypatch.setattr(blocks_module, "_TILE", 32)
    shape, target = (30, 60, 60), (45, 120, 120)
    logits = organs(shape, 12)
    asked: list[int] = []
    taken = blocks_module._TiledBlock.logits
    monkeypatch.setattr(blocks_module._TiledBlock, "logits", lambda block, n: (asked.append(n), taken(block, n))[1])
    sparse = LabelWriter(record_between(shape, target), range(12))
    sparse.add(logits)
    few = len(asked)
    monkeypatch.setattr("medai.preprocessing.inversion.candidates", lambda source: range(len(source)))
    full = LabelWriter(record_between(shape, target), range(12))
    full.add(logits)
    assert few < 0.6 * (len(asked) - few)
    assert np.array_equal(sparse.labels, full.labels)
    assert len(np.unique(full.labels)) > 6


@pytest.mark.parametrize("seed", range(5))
def test_candidates_hold_every_class_that_wins_in_between(seed):
    logits = smooth_logits(8, (9, 13, 11), seed) * 5 + torch.linspace(-0.6, 0.6, 8)[:, None, None, None]
    winners = set(interpolated(logits, (27, 39, 33)).argmax(0).unique().tolist())
    assert winners <= set(candidates(logits))
    assert list(candidates(logits)) == sorted(candidates(logits))


def test_a_class_that_is_far_below_is_no_candidate_and_equals_are():
    source = torch.zeros((3, 4, 4, 4))
    source[2] = -5
    assert list(candidates(source)) == [0, 1]
    source[1] = -1
    assert list(candidates(source)) == [0]


def test_where_all_classes_compete_most_blocks_are_not_looked_at(monkeypatch):
    looked: list[int] = []
    monkeypatch.setattr(blocks_module, "_TILE", 8)
    monkeypatch.setattr(
        "medai.preprocessing.inversion.candidates", lambda source: (looked.append(1), range(len(source)))[1]
    )
    writer = LabelWriter(record_between((20, 20, 20), (32, 40, 40)), (0, 1))
    writer.add(smooth_logits(2, (20, 20, 20)))
    assert writer.complete
    assert 2 * 25 / 8 - 1 <= len(looked) <= 2 * 25 / 8 + 1


@pytest.mark.parametrize("classes", [1, 2, 3, 300])
def test_running_argmax_is_argmax_and_the_first_of_equals_wins(classes):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(0, 5, (classes, 7, 11), generator=generator).float()
    values = [3 * n + 2 for n in range(classes)]
    winner, best = running_argmax([part.clone() for part in logits], values)
    # torch does not promise the first of equals; numpy does.
    assert np.array_equal(winner.numpy(), np.array(values)[logits.numpy().argmax(0)])
    assert torch.equal(best, logits.amax(0))


def test_writing_can_be_cancelled():
    writer = LabelWriter(record_between((8, 8, 8), (16, 16, 16)), (0, 1), cancelled=lambda: True)
    with pytest.raises(Cancelled):
        writer.add(smooth_logits(2, (8, 8, 8)))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("shape", "target"), SIZES[:4])
def test_a_part_of_the_grid_gives_the_voxels_of_the_whole(shape, target, axis):
    logits = smooth_logits(4, shape)
    order = (0, axis + 1, *(a + 1 for a in range(3) if a != axis))
    record = record_between(shape, target)
    whole = LabelWriter(record, (0, 1, 2, 3), axis)
    whole.add(logits.permute(order))
    part = (slice(3, 11), slice(0, 7), slice(5, shape[2]))
    writer = LabelWriter(record, (0, 1, 2, 3), axis, part=part)
    cropped = logits[(slice(None), *part)].permute(order)
    for start in range(0, cropped.shape[1], 3):
        writer.add(cropped[:, start : start + 3])
    assert writer.complete
    inside = np.zeros(target, bool)
    rows = [
        (Taps.between(n, m).lower >= p.start) & (Taps.between(n, m).upper < p.stop)
        for n, m, p in zip(shape, target, part, strict=True)
    ]
    inside[np.ix_(*rows)] = True
    assert inside.any()
    # Another cut into tiles adds the same numbers in another order.
    assert (writer.labels != np.where(inside, whole.labels, 0)).mean() < 1e-4

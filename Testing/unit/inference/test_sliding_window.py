"""The streaming window against MONAI's, on odd shapes, along every axis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from medai.errors import Cancelled
from medai.inference import MirroredPredictor, SlidingWindow, TorchPredictor
from medai.inference.blending import Blending
from medai.inference.tiles import importance, tile_starts

CPU = torch.device("cpu")


def network(channels: int = 2, classes: int = 4, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv3d(channels, 8, 3, padding=1), nn.InstanceNorm3d(8), nn.LeakyReLU(), nn.Conv3d(8, classes, 3, padding=1)
    )


def volume(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def by_monai(net: nn.Module, array: np.ndarray, patch: tuple[int, ...], overlap: float) -> torch.Tensor:
    with torch.inference_mode():
        return sliding_window_inference(
            torch.from_numpy(array)[None], patch, 1, net.eval(), overlap=overlap, mode="gaussian"
        )[0]


@pytest.mark.parametrize(
    ("shape", "patch", "overlap"),
    [
        ((20, 33, 27), (8, 16, 12), 0.5),
        ((20, 33, 27), (8, 16, 12), 0.25),
        ((31, 9, 40), (8, 16, 16), 0.7),  # smaller than a tile along j
        ((5, 6, 7), (8, 8, 8), 0.5),  # smaller everywhere
        ((16, 16, 16), (16, 8, 16), 0.0),
        ((17, 16, 16), (16, 16, 16), 0.5),  # the last tile is moved back by 15 voxels
    ],
)
def test_equals_monai(shape, patch, overlap):
    net = network()
    array = volume(2, *shape)
    expected = by_monai(net, array, patch, overlap)
    window = SlidingWindow(TorchPredictor([net], CPU), patch, overlap)
    result = window.logits(array)
    assert result.shape == expected.shape
    assert torch.allclose(result, expected, atol=1e-5)
    assert (result.argmax(0) != expected.argmax(0)).float().mean() < 1e-4

    for axis in range(3):
        parts: list[torch.Tensor] = []
        window.stream(array, lambda planes, parts=parts: parts.append(planes.clone()), axis)
        streamed = torch.cat(parts, dim=1)
        order = (0, axis + 1, *(a + 1 for a in range(3) if a != axis))
        assert torch.allclose(streamed, expected.permute(order), atol=1e-5)

        relative = SlidingWindow(TorchPredictor([net], CPU), patch, overlap, relative=True)
        whole = torch.full(expected.permute(order).shape, torch.nan)
        places: list[tuple[int, int]] = []

        def put(block: torch.Tensor, plane: int, row: int, whole=whole, places=places) -> None:
            part = whole[:, plane : plane + block.shape[1], row : row + block.shape[2]]
            assert part.isnan().all()  # every voxel comes once
            part.copy_(block)
            places.append((row, plane))

        relative.stream_blocks(array, put, axis)
        assert torch.allclose(whole, (expected - expected[:1]).permute(order), atol=1e-5)
        for row in {row for row, _ in places}:
            planes = [plane for r, plane in places if r == row]
            assert planes == sorted(planes)


def test_less_is_held_for_blocks_than_for_planes(monkeypatch):
    """Counted, not measured: voxels of sums that exist at the same time, of 3 x 3 x 3 tiles at half overlap."""
    held: list[int] = []
    add = Blending.add

    def counting_add(self, *arguments):
        add(self, *arguments)
        held.append(sum(cell[0].numel() for cell in self._cells.values()))

    monkeypatch.setattr(Blending, "add", counting_add)
    window = SlidingWindow(TorchPredictor([network()], CPU), (16, 16, 16))
    window.stream_blocks(volume(2, 32, 32, 32), lambda *_: None, 0)
    # Half a tile of finished planes and half a tile of unfinished ones, together all rows and one row of tiles.
    assert max(held) == 32 * 8 * (32 + 16)


def test_the_streaming_axis_is_the_one_with_the_smallest_slab():
    window = SlidingWindow(TorchPredictor([network()], CPU), (16, 16, 16))
    assert window.axis((20, 90, 40)) == 1
    assert window.axis((20, 20, 20)) == 0
    assert window.axis((5, 16, 17)) == 2


def test_tiles_cover_and_stay_inside():
    for size in range(8, 60):
        for overlap in (0.0, 0.25, 0.5, 0.9):
            starts = tile_starts(size, 8, overlap)
            covered = {v for s in starts for v in range(s, s + 8)}
            assert covered == set(range(size))
            assert starts == sorted(set(starts))


def test_importance_is_largest_in_the_middle_and_never_zero():
    weights = importance((9, 5, 7))
    assert weights.argmax() == weights.numel() // 2
    assert weights.min() >= 1e-3
    assert torch.equal(weights, weights.flip(0, 1, 2))


def test_equal_input_gives_equal_output():
    net, array = network(), volume(2, 19, 21, 23)
    window = SlidingWindow(TorchPredictor([net], CPU), (8, 8, 8))
    assert torch.equal(window.logits(array), window.logits(array))


def test_folds_and_mirrorings_are_averaged():
    nets = [network(seed=1), network(seed=2)]
    array = volume(2, 8, 8, 8)
    tile = torch.from_numpy(array)
    single = [TorchPredictor([net], CPU) for net in nets]
    both = TorchPredictor(nets, CPU)(tile)
    assert torch.allclose(both, (single[0](tile) + single[1](tile)) / 2, atol=1e-6)

    mirrored = MirroredPredictor(single[0], (0, 1, 2))(tile)
    expected = torch.zeros_like(mirrored)
    for flips in [(), (1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)]:
        expected += single[0](tile.flip(flips)).flip(flips) / 8
    assert torch.allclose(mirrored, expected, atol=1e-6)


def test_mirrored_left_and_right_change_their_classes():
    single = TorchPredictor([network(seed=1)], CPU)
    tile = torch.from_numpy(volume(2, 8, 8, 8))
    logits = single(tile)
    other_side = [0, *range(len(logits) - 1, 0, -1)]
    found = MirroredPredictor(single, (2,), other_side)(tile)
    expected = (logits + single(tile.flip(3)).flip(3)[other_side]) / 2
    assert torch.allclose(found, expected, atol=1e-6)
    # Along the other axes they stay what they are.
    found = MirroredPredictor(single, (0,), other_side)(tile)
    assert torch.allclose(found, (logits + single(tile.flip(1)).flip(1)) / 2, atol=1e-6)


def test_a_planar_network_gets_slices():
    torch.manual_seed(0)
    net = nn.Conv2d(1, 3, 3, padding=1)
    array = volume(1, 5, 20, 24)
    window = SlidingWindow(TorchPredictor([net], CPU, planar=True), (1, 16, 16))
    expected = torch.stack(
        [sliding_window_inference(torch.from_numpy(array[:, k])[None], (16, 16), 1, net, 0.5, "gaussian")[0]
         for k in range(5)], dim=1,
    )  # fmt: skip
    assert torch.allclose(window.logits(array), expected, atol=1e-5)


def test_progress_ends_at_one_and_never_goes_back():
    seen: list[float] = []
    SlidingWindow(TorchPredictor([network()], CPU), (8, 8, 8)).logits(volume(2, 20, 12, 9), seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) == 4 * 2 * 2


def test_cancel_stops_inside_of_a_tile():
    layers: list[int] = []
    net = nn.Sequential(*(nn.Conv3d(1, 1, 1) for _ in range(10)))
    for layer in net:
        layer.register_forward_hook(lambda *_: layers.append(1))
    window = SlidingWindow(TorchPredictor([net], CPU), (8, 8, 8))
    with pytest.raises(Cancelled):
        window.logits(volume(1, 8, 8, 8), cancelled=lambda: len(layers) >= 3)
    assert len(layers) == 3
    assert all(len(layer._forward_pre_hooks) == 0 for layer in net)

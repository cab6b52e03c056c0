"""Steps down when memory does not suffice: announced, in order, and with the same labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medai.config.segment import SegmentConfig
from medai.errors import OutOfMemoryError, is_out_of_memory
from medai.image import Image
from medai.inference.degradation import Attempt, attempts
from medai.memory import estimate_mb
from medai.segment import run

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


def image_of(label_map: Image) -> Image:
    return Image(np.array([0.0, 0.5, 1.0], np.float32)[label_map.array], label_map.ijk_to_ras, "balls")


def limit_tiles(model, voxels: int, error: Exception) -> list[tuple[int, ...]]:
    """Let the network fail for tiles above `voxels`; returns the list of the tiles' shapes that will come."""
    tiles: list[tuple[int, ...]] = []

    def refuse(_module, inputs) -> None:
        tiles.append(tuple(inputs[0].shape[2:]))
        if inputs[0][0, 0].numel() > voxels:
            raise error

    model.networks[0].layer.register_forward_pre_hook(refuse)
    return tiles


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: 9 bytes"
        ),
    ],
)
def test_smaller_tiles_give_the_same_labels_and_are_announced(make_model, sphere_label_map, error):
    model = make_model(sphere_label_map.spacing_mm, patch=(16, 32, 32))
    tiles = limit_tiles(model, 16 * 16 * 16, error)
    result = run(SegmentConfig(), [image_of(sphere_label_map)], model)
    assert np.array_equal(result.label_map.array, sphere_label_map.array)
    assert result.warnings == ("Not enough memory: went on with smaller tiles of 16 x 16 x 8 voxels.",)
    assert tiles[0] == (16, 32, 32)
    assert set(tiles[1:]) == {(8, 16, 16)}


def test_a_run_that_would_not_fit_starts_with_smaller_tiles(make_model, sphere_label_map, monkeypatch):
    """Systems that overcommit kill a process in place of telling it; so the tiles are chosen before."""
    model = make_model(sphere_label_map.spacing_mm, patch=(64, 64, 64))
    needed = [
        estimate_mb(replace(model.card, patch=(n, n, n)), (21, 33, 47), sphere_label_map.spacing_mm) for n in (64, 32)
    ]
    assert needed[1] < needed[0]
    monkeypatch.setattr("medai.segment.attempts.system_memory_mb", lambda: (999.0, sum(needed) / 2))
    tiles = limit_tiles(model, 10**9, MemoryError())
    result = run(SegmentConfig(), [image_of(sphere_label_map)], model)
    assert np.array_equal(result.label_map.array, sphere_label_map.array)
    assert result.warnings == ("Not enough memory: went on with smaller tiles of 32 x 32 x 32 voxels.",)
    assert set(tiles) == {(32, 32, 32)}


def test_when_nothing_helps_the_error_says_what_to_do(make_model, sphere_label_map):
    model = make_model(sphere_label_map.spacing_mm, patch=(16, 32, 32))
    limit_tiles(model, 0, MemoryError())
    with pytest.raises(OutOfMemoryError, match=r"47 x|\(47, 33, 21\).*does not fit into memory.*region of interest"):
        run(SegmentConfig(), [image_of(sphere_label_map)], model)


def test_other_errors_are_not_taken_for_memory(make_model, sphere_label_map):
    model = make_model(sphere_label_map.spacing_mm)
    limit_tiles(model, 0, RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        run(SegmentConfig(), [image_of(sphere_label_map)], model)
    assert not is_out_of_memory(ValueError("out of memory"))


def test_the_order_on_a_gpu_is_tiles_then_half_then_cpu(monkeypatch):
    monkeypatch.setattr("medai.inference.degradation.half_precision", lambda device: torch.float16)
    steps = list(attempts(Attempt((96, 96, 64), None, CUDA), (16, 16, 8)))
    assert [step.patch for step in steps] == [(96, 96, 64), (48, 48, 32), (32, 32, 16), (32, 32, 16), (96, 96, 64)]
    assert [step.dtype for step in steps] == [None, None, None, torch.float16, None]
    assert [step.device for step in steps] == [CUDA, CUDA, CUDA, CUDA, CPU]
    assert [step.change for step in steps] == [
        "",
        "smaller tiles of 32 x 48 x 48 voxels",
        "smaller tiles of 16 x 32 x 32 voxels",
        "float16 arithmetic",
        "the CPU",
    ]


def test_tiles_stay_multiples_of_what_the_network_divides_by():
    for patch, divisor in (((1, 224, 224), (1, 32, 32)), ((40, 56, 40), (8, 8, 8)), ((16, 16, 16), (16, 16, 16))):
        for step in attempts(Attempt(patch, None, CPU), divisor):
            assert all(n % d == 0 for n, d in zip(step.patch, divisor, strict=True))
            assert all(n <= m for n, m in zip(step.patch, patch, strict=True))

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medai.config.model_card import InputSpec
from medai.config.training import Plan
from medai.dataset.fingerprint import ChannelStatistics, Fingerprint, case_facts, default_normalization, fingerprint
from medai.dataset.plan import CPU_BUDGET, GPU_BUDGET, Budget, make_plan, target_spacing
from medai.errors import ConfigError
from medai.networks import available, build_network, size_divisor


def facts(shape: tuple[float, float, float], spacing: tuple[float, float, float]) -> Fingerprint:
    size = tuple(n * s for n, s in zip(shape, spacing, strict=True))
    statistics = (ChannelStatistics(0.0, 1.0, -1.0, 1.0),)
    return Fingerprint(20, shape, spacing, spacing, (size[0], size[1], size[2]), (100, 50), statistics, 0.0)


def plan(shape: tuple[float, float, float], spacing: tuple[float, float, float], budget: Budget, **options) -> Plan:
    found = facts(shape, spacing)
    return make_plan(found, [InputSpec("T1", "MR")], target_spacing(found), budget, **options)


CASES = {
    "hippocampus": ((35, 50.5, 35), (1.0, 1.0, 1.0)),
    "head": ((256, 256, 180), (1.0, 1.0, 1.0)),
    "abdomen CT": ((120, 512, 512), (3.0, 0.8, 0.8)),
    "prostate": ((20, 320, 320), (3.6, 0.6, 0.6)),
    "slices": ((1, 512, 400), (1.0, 0.5, 0.5)),
    "tiny": ((5, 9, 11), (1.0, 1.0, 1.0)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("budget", [CPU_BUDGET, GPU_BUDGET], ids=["cpu", "gpu"])
@pytest.mark.parametrize("network", available("segment"))
def test_every_plan_can_be_built_and_fits_the_budget(name: str, budget: Budget, network: str) -> None:
    planned = plan(*CASES[name], budget, network=network, planar=name == "slices")
    assert np.prod(planned.patch) <= budget.patch_voxels
    assert planned.expected_memory_mb <= budget.memory_mb
    arguments = planned.network.arguments
    if name != "tiny":  # two stages at most: too few for DynUNet, an odd number of voxels for SegResNet
        with torch.device("meta"):  # shapes without memory
            build_network(network, arguments)
        patch = planned.patch[1:] if name == "slices" else planned.patch
        divisor = size_divisor(network, arguments)
        assert all(n % step == 0 for n, step in zip(patch, divisor, strict=True))


def test_the_patch_is_the_median_image_where_that_fits() -> None:
    planned = plan(*CASES["hippocampus"], CPU_BUDGET)
    assert planned.patch == (32, 48, 32)
    assert planned.network.arguments["strides"] == [[1, 1, 1]] + [[2, 2, 2]] * 3


def test_a_large_image_is_cut_in_proportion() -> None:
    patch = np.array(plan(*CASES["head"], GPU_BUDGET).patch)
    assert np.prod(patch) > 0.5 * GPU_BUDGET.patch_voxels
    share = patch / np.array(CASES["head"][0])
    assert share.max() / share.min() < 1.5


def test_coarse_slices_wait_for_the_others() -> None:
    arguments = plan(*CASES["prostate"], GPU_BUDGET).network.arguments
    assert arguments["strides"][1] == [1, 2, 2]
    assert arguments["strides"][2] == [1, 2, 2]
    assert arguments["kernel_sizes"][0] == [1, 3, 3]
    assert arguments["kernel_sizes"][-1] == [3, 3, 3]


def test_two_dimensional_images_get_a_two_dimensional_network() -> None:
    planned = plan(*CASES["slices"], CPU_BUDGET, planar=True)
    assert planned.patch[0] == 1
    assert planned.network.arguments["spatial_dims"] == 2
    assert all(len(stride) == 2 for stride in planned.network.arguments["strides"])


def test_memory_bounds_the_batch() -> None:
    large = plan(*CASES["head"], GPU_BUDGET)
    small = plan(*CASES["hippocampus"], GPU_BUDGET)
    assert large.batch_size == 2
    assert small.batch_size > 8
    assert small.expected_memory_mb <= GPU_BUDGET.memory_mb
    assert plan(*CASES["hippocampus"], replace(GPU_BUDGET, memory_mb=900)).batch_size < small.batch_size
    tight = plan(*CASES["head"], replace(GPU_BUDGET, memory_mb=3000))
    assert np.prod(tight.patch) < np.prod(large.patch)


def test_a_patch_of_the_users_own() -> None:
    assert plan(*CASES["head"], CPU_BUDGET, patch=(64, 96, 48)).patch == (64, 96, 48)
    with pytest.raises(ConfigError, match=r"multiples|example"):
        plan(*CASES["head"], CPU_BUDGET, patch=(65, 96, 48))


def test_median_spacing_and_few_thick_slices() -> None:
    assert target_spacing(facts((200, 200, 200), (2.0, 1.0, 1.0))) == (2.0, 1.0, 1.0)
    thick = replace(facts((20, 300, 300), (6.0, 0.5, 0.5)), fine_spacing_mm=(4.0, 0.5, 0.5))
    assert target_spacing(thick) == (4.0, 0.5, 0.5)


def test_the_fingerprint_counts_and_takes_medians() -> None:
    rng = np.random.default_rng(0)
    parts = []
    for shape in ((10, 20, 30), (12, 22, 30), (14, 24, 60)):
        labels = np.zeros(shape, np.uint8)
        labels[2:4, 3:5, 4:9] = 1
        parts.append(case_facts("x", rng.normal(50, 5, (1, *shape)) + 100 * labels, (2.0, 1.0, 1.0), labels, (1, 2)))
    whole = fingerprint(parts)
    assert whole.median_shape == (12, 22, 30)
    assert whole.median_size_mm == (24, 22, 30)
    assert whole.label_voxels == (60, 0)
    assert abs(whole.channels[0].mean - 150) < 3
    assert 130 < whole.channels[0].low < 150 < whole.channels[0].high < 170


def test_ct_gets_the_window_of_its_structures_and_mr_a_z_score() -> None:
    statistics = ChannelStatistics(60.0, 20.0, -10.0, 130.0)
    window = default_normalization("CT", statistics)
    assert (window.name, window.low, window.high, window.mean, window.std) == ("ct_window", -10.0, 130.0, 60.0, 20.0)
    assert default_normalization("MR", statistics).name == "zscore"

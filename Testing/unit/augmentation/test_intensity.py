from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch

from medai.augmentation import AugmentationSettings
from medai.augmentation import intensity as change
from medai.errors import ConfigError

ALWAYS = AugmentationSettings(
    noise=1, blur=1, brightness=1, contrast=1, low_resolution=1, gamma=1, gamma_inverted=1, bias_field=1
)
NEVER = AugmentationSettings(
    noise=0, blur=0, brightness=0, contrast=0, low_resolution=0, gamma=0, gamma_inverted=0, bias_field=0
)
FUNCTIONS: dict[str, Callable] = {
    "noise": change.add_noise,
    "blur": change.blur,
    "brightness": change.scale_brightness,
    "contrast": change.scale_contrast,
    "low_resolution": change.lower_resolution,
    "bias_field": change.add_bias_field,
    "gamma": partial(change.change_gamma, inverted=False),
    "gamma_inverted": partial(change.change_gamma, inverted=True),
}


def patches() -> torch.Tensor:
    return torch.randn((3, 2, 5, 9, 11), generator=torch.Generator().manual_seed(0))


def apply(name: str, x: torch.Tensor, settings: AugmentationSettings, seed: int = 0) -> torch.Tensor:
    return FUNCTIONS[name](x, settings, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_changes_what_it_draws_and_nothing_else(name: str) -> None:
    x = patches()
    before = x.clone()
    assert torch.equal(apply(name, x, NEVER), before)
    y = apply(name, x, ALWAYS)
    assert y.shape == x.shape
    assert torch.isfinite(y).all()
    assert torch.equal(x, before), "the input was written to"
    assert all(not torch.equal(y[n], x[n]) for n in range(3))
    half = replace(NEVER, **{name: 0.5})
    touched = [torch.equal(apply(name, x, half, seed)[n], x[n]) for seed in range(6) for n in range(3)]
    assert any(touched)
    assert not all(touched)


def test_noise_has_the_width_that_was_asked_for() -> None:
    settings = replace(NEVER, noise=1.0, noise_std=(0.5, 0.5))
    x = torch.zeros(2, 1, 20, 20, 20)
    assert abs(float(apply("noise", x, settings).std()) - 0.5) < 0.01


def test_blur_smooths_and_keeps_the_mean() -> None:
    x = torch.zeros(1, 1, 9, 21, 21)
    x[..., 4, 10, 10] = 1.0
    y = apply("blur", x, replace(NEVER, blur=1.0, blur_sigma=(1.0, 1.0)))
    assert torch.isclose(y.sum(), x.sum(), atol=1e-3)
    # The centre of a sampled, normalised Gaussian of width 1: 0.3989 along each axis.
    assert torch.isclose(y.max(), torch.tensor(0.3991**3), atol=2e-3)


def test_blur_leaves_the_axis_of_a_single_slice_alone() -> None:
    x = torch.zeros(1, 1, 1, 21, 21)
    x[..., 10, 10] = 1.0
    y = apply("blur", x, replace(NEVER, blur=1.0, blur_sigma=(1.0, 1.0)))
    assert torch.isclose(y.max(), torch.tensor(0.3991**2), atol=2e-3)


def test_contrast_stays_in_the_range_of_the_patch() -> None:
    x = patches()
    y = apply("contrast", x, replace(NEVER, contrast=1.0, contrast_range=(2.0, 3.0)))
    assert (y.amax(dim=(2, 3, 4)) <= x.amax(dim=(2, 3, 4)) + 1e-5).all()
    assert (y.amin(dim=(2, 3, 4)) >= x.amin(dim=(2, 3, 4)) - 1e-5).all()


@pytest.mark.parametrize("name", ["gamma", "gamma_inverted"])
def test_gamma_keeps_order_mean_and_width(name: str) -> None:
    x = patches()
    y = apply(name, x, ALWAYS)
    axes = (2, 3, 4)
    assert torch.allclose(y.mean(dim=axes), x.mean(dim=axes), atol=1e-4)
    assert torch.allclose(y.std(dim=axes), x.std(dim=axes), atol=1e-3)
    assert torch.equal(y[0, 0].flatten().argsort(), x[0, 0].flatten().argsort())


def test_low_resolution_removes_detail() -> None:
    x = patches()
    y = apply("low_resolution", x, replace(NEVER, low_resolution=1.0, low_resolution_zoom=(0.5, 0.5)))
    assert y.diff(dim=-1).abs().mean() < 0.7 * x.diff(dim=-1).abs().mean()


def test_the_bias_field_is_smooth_and_positive() -> None:
    x = torch.ones(1, 1, 9, 9, 9)
    x[0, 0, 0, 0, 0] = 0.0  # the minimum that the field multiplies from
    y = apply("bias_field", x, replace(NEVER, bias_field=1.0, bias_field_strength=0.5))
    inner = y[..., 1:, 1:, 1:]
    assert inner.min() > 0.6
    assert inner.max() < 1.66
    assert inner.diff(dim=-1).abs().max() < 0.35


@pytest.mark.parametrize(
    "wrong", [{"noise": 1.5}, {"scale_range": (1.2, 0.8)}, {"gamma_range": (0.0, 1.0)}, {"elastic_control_points": 2}]
)
def test_settings_that_make_no_sense(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AugmentationSettings(**wrong)

"""Heat maps: the formulas on networks that can be computed by hand, a planted cause, random weights, empty maps."""

from __future__ import annotations

import logging
import warnings

import pytest
import torch
from monai.visualize import GradCAM, OcclusionSensitivity
from torch import nn
from torch.nn.functional import cross_entropy

from medai.errors import Cancelled, ConfigError, InputError, ModelError
from medai.explain import METHODS, heat_map
from medai.explain.feature_maps import feature_maps, last_feature_layer
from medai.progress import never_cancelled

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
POOL = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


class Linear(nn.Module):
    """Two maps (the channels themselves, times `gains`), their means, and a linear layer: every gradient is known."""

    def __init__(self, axes, gains, weights, bias=0.0):
        super().__init__()
        self.maps = CONV[axes](2, 2, 1, bias=False)
        self.pool = POOL[axes](1)
        self.out = nn.Linear(2, 2)
        with torch.no_grad():
            self.maps.weight.copy_(torch.diag(torch.tensor(gains)).reshape(2, 2, *[1] * axes))
            self.out.weight.copy_(torch.tensor(weights))
            self.out.bias.fill_(bias)

    def forward(self, x):
        return self.out(self.pool(self.maps(x)).flatten(1))


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("axes", [2, 3])
def test_gradcam_of_a_linear_network_is_the_weighted_sum_of_its_maps(axes):
    network = Linear(axes, [2.0, 3.0], [[0.5, -1.0], [1.5, 0.25]])
    x = noise(1, 2, *(5, 7, 6)[:axes])
    for class_index, (a, b) in enumerate([(0.5, -1.0), (1.5, 0.25)]):
        expected = torch.relu(a * 2 * x[0, 0] + b * 3 * x[0, 1])
        found = heat_map(network, x, class_index, "gradcam")
        torch.testing.assert_close(found, expected / expected.max())


def test_gradcampp_follows_equation_19():
    network = Linear(2, [1.0, 1.0], [[0.8, 0.3], [0.0, 0.0]])
    x = noise(1, 2, 6, 5)
    gradients = torch.tensor([0.8, 0.3]) / 30  # of the mean over 30 voxels
    sums = x[0].flatten(1).sum(1)
    second, third = gradients**2, gradients**3  # of exp(logit), less that factor
    alpha = second / (2 * second + sums * third)
    weights = 30 * alpha * gradients
    expected = weights[0] * x[0, 0] + weights[1] * x[0, 1]
    torch.testing.assert_close(heat_map(network, x, 0, "gradcampp"), expected / expected.max())


def test_gradcampp_does_not_depend_on_a_constant_of_the_logits():
    """exp(logit) overflows at 89; the map must not."""
    x = noise(1, 2, 6, 5)
    plain = heat_map(Linear(2, [1.0, 1.0], [[0.8, 0.3], [0.0, 0.0]]), x, 0, "gradcampp")
    shifted = heat_map(Linear(2, [1.0, 1.0], [[0.8, 0.3], [0.0, 0.0]], bias=500.0), x, 0, "gradcampp")
    torch.testing.assert_close(plain, shifted)


@pytest.mark.parametrize("axes", [2, 3])
def test_occlusion_finds_the_only_voxels_that_count(axes):
    network = Linear(axes, [1.0, 1.0], [[200.0, 0.0], [0.0, 0.0]])
    x = torch.zeros(1, 2, *[16] * axes)
    x[(0, 0, *[slice(4, 8)] * axes)] = 1.0
    x[(0, 1, *[slice(10, 14)] * axes)] = 1.0  # a channel without weight
    found = heat_map(network, x, 0, "occlusion")
    assert found.shape == x.shape[2:]
    at = [int(n) for n in torch.nonzero(found == found.max())[0]]
    assert all(3 <= n <= 8 for n in at)
    assert found[(slice(11, 16),) * axes].max() < 0.05


class Small(nn.Module):
    """A small classifier with everything that makes trouble: normalisation, in-place and shared activation, sum."""

    def __init__(self, axes=2, channels=1):
        super().__init__()
        norm = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[axes]
        self.first = CONV[axes](channels, 8, 3, padding=1)
        self.norm = norm(8)
        self.second = CONV[axes](8, 8, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.pool = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[axes](1)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        x = self.act(self.norm(self.first(x)))
        x = self.act(self.second(x) + x)
        return self.out(self.drop(self.pool(x).flatten(1)))


SIZE = {2: 24, 3: 16}


def planted(count, axes, seed):
    """Noise with a bright box in every image, and in each second one a box of stripes, the cause of class 1.

    The bright box is what a network with random weights sees; the stripes are as dark as the noise around them. Gives
    images, classes and masks of the cause.
    """
    generator = torch.Generator().manual_seed(seed)
    size, side = SIZE[axes], 6
    x = torch.randn((count, 1, *[size] * axes), generator=generator) * 0.3
    mask = torch.zeros((count, *[size] * axes), dtype=torch.bool)
    stripes = (torch.arange(side) % 2 * 2.0 - 1.0).expand(*[side] * axes)
    for n in range(count):
        cause, other = torch.randint(0, size // 2 - side, (2, axes), generator=generator) + 1
        other = other + size // 2 - 1  # never where the cause is
        x[(n, 0, *[slice(int(c), int(c) + side) for c in other])] += 1.5
        if n % 2:
            box = [slice(int(c), int(c) + side) for c in cause]
            x[(n, 0, *box)] += stripes
            mask[(n, *box)] = True
    return x, torch.arange(count) % 2, mask


@pytest.fixture(scope="module", params=[2, 3])
def trained(request):
    """(axes, network that finds the cause, accuracy on new images)."""
    axes = request.param
    torch.manual_seed(0)
    network = Small(axes)
    x, y, _ = planted(64, axes, seed=1)
    optimiser = torch.optim.Adam(network.parameters(), 0.01, weight_decay=1e-3)
    for step in range(80):
        part = slice(16 * (step % 4), 16 * (step % 4) + 16)
        optimiser.zero_grad()
        cross_entropy(network(x[part]), y[part]).backward()
        optimiser.step()
    network.eval()
    x, y, _ = planted(32, axes, seed=2)
    with torch.no_grad():
        accuracy = float((network(x).argmax(1) == y).float().mean())
    return axes, network, accuracy


def mass_inside(found, mask):
    return float(found[mask].sum() / found.sum())


@pytest.mark.parametrize("method", METHODS)
def test_mass_of_the_map_lies_inside_the_planted_cause(trained, method):
    """The share of the map's whole sum that is inside the cause, nothing thresholded; of a map of ones it is 0.06."""
    axes, network, accuracy = trained
    assert accuracy >= 0.95
    x, _, masks = planted(10, axes, seed=3)
    shares = [mass_inside(heat_map(network, x[n : n + 1], 1, method), masks[n]) for n in range(1, 10, 2)]

    assert sum(shares) / len(shares) >= 0.6


@pytest.mark.parametrize("method", METHODS)
def test_other_weights_give_another_map(trained, method):
    """The sanity check of Adebayo et al. (2018): a map that ignores the weights explains nothing."""
    axes, network, _ = trained
    x, _, masks = planted(4, axes, seed=4)
    torch.manual_seed(7)
    random = Small(axes).eval()
    original = heat_map(network, x[1:2], 1, method)
    other = heat_map(random, x[1:2], 1, method)
    again = heat_map(network, x[1:2], 1, method)
    correlation = torch.corrcoef(torch.stack([original.flatten(), other.flatten()]))[0, 1]
    assert torch.equal(original, again)
    assert not float(correlation) > 0.5  # a random map may be constant: its correlation is NaN
    assert mass_inside(original, masks[1]) > mass_inside(other + 1e-9, masks[1]) + 0.2


@pytest.mark.parametrize("method", METHODS)
def test_map_without_anything_that_speaks_for_the_class_is_zero_with_a_warning(method, caplog):
    network = Linear(2, [1.0, 1.0], [[0.0, 0.0], [0.0, 0.0]])
    with caplog.at_level(logging.WARNING):
        found = heat_map(network, noise(1, 2, 6, 5), 0, method)
    assert float(found.abs().max()) == 0.0
    assert "empty" in caplog.text


@pytest.mark.parametrize("method", METHODS)
def test_network_is_left_as_it_was(method):
    network = Small().train()
    network.norm.eval()  # a frozen normalisation, as in fine-tuning
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = noise(1, 1, 12, 9)
    kept = x.clone()
    found = heat_map(network, x, 1, method)
    assert found.dtype == torch.float32
    assert 0.0 <= float(found.min()) <= float(found.max()) <= 1.0
    assert torch.equal(x, kept)
    assert network.training
    assert network.drop.training
    assert not network.norm.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
    assert torch.is_grad_enabled()


class Plain(nn.Module):
    """A network that MONAI's classes can work with: nothing in place."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.out = nn.Linear(6, 2)

    def forward(self, x):
        return self.out(self.conv(x).mean((2, 3)))


def test_gradcam_is_that_of_monai():
    torch.manual_seed(3)
    network, x = Plain().eval(), noise(1, 1, 12, 9)
    found = heat_map(network, x, 1, "gradcam")
    expected = GradCAM(network, "conv").compute_map(x, class_idx=1)[0, 0].detach()
    torch.testing.assert_close(found, expected / expected.max())


def test_occlusion_is_that_of_monai():
    torch.manual_seed(3)
    network, x = Plain().eval(), noise(1, 1, 17, 9)
    monai = OcclusionSensitivity(
        network, mask_size=(2, 1), overlap=0.5, verbose=False, mode=float(x.median()), activate=lambda y: y.softmax(1)
    )
    with torch.no_grad():
        probability = network(x).softmax(1)[0, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.relu(probability - torch.as_tensor(monai(x)[0])[0, 1]).as_subclass(torch.Tensor)
    torch.testing.assert_close(heat_map(network, x, 1, "occlusion"), expected / expected.max(), rtol=1e-3, atol=1e-4)


def test_last_layer_is_the_activation_after_the_sum():
    network = Small().eval()
    x = noise(1, 1, 12, 9)
    assert last_feature_layer(network, x, never_cancelled) == ("act", 2)
    maps = feature_maps(network, x, 1, "", never_cancelled)
    assert maps.activations.shape == maps.gradients.shape == (8, 12, 9)
    assert float(maps.activations.min()) >= 0.0
    assert feature_maps(network, x, 1, "second", never_cancelled).layer == "second"


def test_gradient_is_that_of_the_whole_network():
    """Only the part behind the layer is differentiated: the gradient must be that of an ordinary backward pass."""
    network = Small().eval()
    x = noise(1, 1, 12, 9)
    held = []
    network.second.register_forward_hook(lambda module, args, output: held.append(output) or output.clone())
    (expected,) = torch.autograd.grad(network(x)[0, 1], held[0])
    network.second._forward_hooks.clear()
    maps = feature_maps(network, x, 1, "second", never_cancelled)
    torch.testing.assert_close(maps.gradients, expected[0])


@pytest.mark.parametrize("method", METHODS)
def test_cancelling_ends_within_one_layer_or_batch(method):
    asked = []

    def cancelled():
        asked.append(None)
        return len(asked) > 2

    network = Small().train()
    with pytest.raises(Cancelled):
        heat_map(network, noise(1, 1, 12, 9), 1, method, cancelled=cancelled)
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


def test_progress_of_occlusion_rises_to_its_end():
    seen = []
    heat_map(Small().eval(), noise(1, 1, 40, 40), 1, "occlusion", progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) >= 2
    assert seen[-1] == 1.0


def test_wrong_arguments_are_named():
    network, x = Small().eval(), noise(1, 1, 12, 9)
    with pytest.raises(ConfigError, match="lime"):
        heat_map(network, x, 0, "lime")
    with pytest.raises(InputError, match=r"\(2, 1, 12, 9\)"):
        heat_map(network, noise(2, 1, 12, 9), 0, "gradcam")
    with pytest.raises(ModelError, match="'third'"):
        heat_map(network, x, 0, "gradcam", layer="third")
    with pytest.raises(ModelError, match="'out'"):
        heat_map(network, x, 0, "gradcam", layer="out")
    for method in METHODS:
        with pytest.raises(ModelError, match="Class 2"):
            heat_map(network, x, 2, method)
    with pytest.raises(ModelError, match="no convolution"):
        heat_map(nn.Sequential(nn.Flatten(), nn.Linear(108, 2)), x, 0, "gradcam")
    with torch.no_grad():
        network.out.weight[0, 0] = float("nan")
    for method in METHODS:
        with pytest.raises(ModelError, match="not finite"):
            heat_map(network, x, 0, method)

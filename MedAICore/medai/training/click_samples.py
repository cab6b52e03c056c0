"""One training sample of a click model: a cube of an image, and the one structure in it that is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medai.networks.click_channels import LIMITS, PERCENTILES
from medai.synthesis import PaintSettings, RandomFrame, paint, random_labels, sample_linear, sample_nearest
from medai.synthesis.draws import blur, chance, choose, log_uniform, uniform, whole
from medai.synthesis.painting import add_noise, thick_slices
from medai.training.click_cases import ClickCase, ClickObject
from medai.training.click_masks import dilate, flood

_FEWEST_VOXELS = 40
_LEAST_CONTRAST = 0.06  # of a painted object against what is around it, in the normalised image
_LEAST_CLEARNESS = 0.7  # of that contrast, in standard deviations within the object: a person must see it
_TRIES = 8


@dataclass(frozen=True, eq=False)
class ClickSample:
    """`image` (n, n, n), float32, normalised as for inference; `target` (n, n, n), bool; `group` names its source."""

    image: torch.Tensor
    target: torch.Tensor
    group: str


class SampleStream:
    """Samples without end. `synthetic` is the part that is painted from random label maps, `brains` that from real
    ones; the rest is real images of `cases`. The sample of a number is always the same.
    """

    def __init__(self, cases: Sequence[ClickCase], size: int, seed: int, synthetic: float, brains: float) -> None:
        self._size, self._seed = size, seed
        self._real = _by_group([case for case in cases if case.card.image])
        self._maps = [case for case in cases if not case.card.image]
        weights = (synthetic, brains if self._maps else 0.0, max(1 - synthetic - brains, 0.0) if self._real else 0.0)
        self._weights = weights if sum(weights) > 0 else (1.0, 0.0, 0.0)

    def sample(self, number: int) -> ClickSample:
        """The sample of this number."""
        generator = torch.Generator().manual_seed((self._seed * 1_000_003 + number) % 2**63)
        while True:
            found = self._draw(choose(self._weights, generator), generator)
            if found is not None:
                return found

    def _draw(self, kind: int, generator: torch.Generator) -> ClickSample | None:
        if kind == 0:
            return painted(random_labels(self._size, generator), "synthetic", generator)
        if kind == 1:
            case = self._maps[whole(0, len(self._maps) - 1, generator)]
            return painted(brain_crop(case, self._size, generator), case.card.group, generator)
        groups = list(self._real)
        weights = [self._real[group][0].card.weight for group in groups]
        cases = self._real[groups[choose(weights, generator)]]
        case = cases[whole(0, len(cases) - 1, generator)]
        return real_sample(case, self._size, generator)


def normalise(image: torch.Tensor, inside: torch.Tensor | None = None) -> torch.Tensor:
    """The image with its percentiles at 0 and 1, as inference does; `inside` marks the voxels that count."""
    values = (image if inside is None else image[inside]).flatten()
    low, high = np.percentile(values[:: 1 + len(values) // 30_000].numpy(), PERCENTILES)
    return ((image - float(low)) / max(float(high - low), 1e-6)).clamp(*LIMITS)


def painted(labels: torch.Tensor, group: str, generator: torch.Generator) -> ClickSample | None:
    """A painted image of a label map (n, n, n) and one visible structure of it; None where nothing suits."""
    image = normalise(paint(labels, PaintSettings(), generator))
    size = len(labels)
    for _ in range(_TRIES):
        # Sessions look at cubes with the structure near the middle.
        place = (size / 2 + size * 0.22 * torch.randn(3, generator=generator)).round().clamp(0, size - 1).long()
        value = labels[tuple(place.tolist())]
        if value == 0 and not chance(0.1, generator):
            continue
        target = flood(labels == value, place.tolist())
        count = int(target.sum())
        if not _FEWEST_VOXELS <= count <= 0.45 * target.numel():
            continue
        around = dilate(dilate(target)) & ~target
        contrast = abs(float(image[target].mean() - image[around].mean()))
        if contrast >= max(_LEAST_CONTRAST, _LEAST_CLEARNESS * float(image[target].std())):
            return ClickSample(image, target, group)
    return None


def brain_crop(case: ClickCase, size: int, generator: torch.Generator) -> torch.Tensor:
    """A cube of a real label map, at any zoom; neighbouring labels are sometimes taken as one."""
    labels = case.labels
    chosen = case.card.objects[whole(0, len(case.card.objects) - 1, generator)]
    frame = _frame(case, chosen, size, generator)
    found = torch.from_numpy(sample_nearest(labels, frame.positions(case.spacing)).astype(np.int64))
    merged = torch.arange(256)
    for _ in range(whole(0, 20, generator)):
        merged[whole(0, 255, generator)] = whole(0, 255, generator)
    merged[chosen.value] = chosen.value
    return torch.unique(merged[found], return_inverse=True)[1].reshape(found.shape)


def real_sample(case: ClickCase, size: int, generator: torch.Generator, augmented: bool = True) -> ClickSample | None:
    """A cube of a real image around one of its objects; None where the cube holds too little of it."""
    chosen = case.card.objects[whole(0, len(case.card.objects) - 1, generator)]
    frame = _frame(case, chosen, size, generator, 0.3 if augmented else 0.0)
    positions, steps = frame.positions(case.spacing), frame.steps(case.spacing)
    target = sample_linear(case.labels, positions, steps, chosen.value) > 0.5
    if int(target.sum()) < _FEWEST_VOXELS or float(target.float().mean()) > 0.7:
        return None
    inside = torch.from_numpy(frame.inside(case.labels.shape, positions))
    image = normalise(sample_linear(case.image, positions, steps), inside)
    if augmented:
        image = normalise(_vary(image, generator), inside)
    return ClickSample(image, target, case.card.group)


def _frame(
    case: ClickCase, chosen: ClickObject, size: int, generator: torch.Generator, tilt: float = 0.3
) -> RandomFrame:
    """A cube that the object fills by 8 to 90 % of its width; sometimes it is larger than the cube."""
    spacing = case.spacing
    box = np.array(chosen.box, float).reshape(3, 2)
    extent_mm = float(((box[:, 1] - box[:, 0]) * spacing).max())
    fill = log_uniform(0.9, 3.0, generator) if chance(0.25, generator) else log_uniform(0.1, 0.9, generator)
    voxel_mm = max(extent_mm / fill / size, 0.6 * float(spacing.min()))
    if fill > 0.9 or chance(0.5, generator):
        center = _place_in(case, chosen, generator)
    else:
        center = box.mean(axis=1) - 0.5
    jitter_mm = np.array([uniform(-1, 1, generator) for _ in range(3)]) * 0.1 * size * voxel_mm
    return RandomFrame(center + jitter_mm / spacing, voxel_mm, size, RandomFrame.random_axes(tilt, generator))


def _place_in(case: ClickCase, chosen: ClickObject, generator: torch.Generator) -> np.ndarray:
    """A random voxel of the object."""
    k0, k1, j0, j1, i0, i1 = chosen.box
    found = np.argwhere(case.labels[k0:k1, j0:j1, i0:i1] == chosen.value)
    return found[whole(0, len(found) - 1, generator)] + np.array([k0, j0, i0], float)


def _vary(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Polarity, gamma, blur, thick slices and noise, each at random."""
    if chance(0.25, generator):
        image = 1 - image
    if chance(0.4, generator):
        image = image.clamp(0, 1) ** log_uniform(0.5, 2.0, generator)
    if chance(0.2, generator):
        image = blur(image, (uniform(0.3, 1.0, generator),) * 3)
    if chance(0.15, generator):
        image = thick_slices(image, whole(0, 2, generator), uniform(1.5, 4.0, generator))
    if chance(0.3, generator):
        image = add_noise(image, 0.1, generator)
    return image


def _by_group(cases: Sequence[ClickCase]) -> dict[str, list[ClickCase]]:
    groups: dict[str, list[ClickCase]] = {}
    for case in cases:
        groups.setdefault(case.card.group, []).append(case)
    return groups

"""Random label maps: fields, blobs, nested organs, tubes that branch, sheets; all int64 (n, n, n), 0 is background."""

from __future__ import annotations

from collections.abc import Callable

import torch

from medai.synthesis.draws import chance, choose, log_uniform, smooth_field, uniform, whole


def random_labels(size: int, generator: torch.Generator) -> torch.Tensor:
    """A label map of a random kind; two kinds are laid over one another half of the time."""
    names = list(SHAPES)
    weights = [_WEIGHTS[name] for name in names]
    labels = SHAPES[names[choose(weights, generator)]](size, generator)
    if chance(0.5, generator):
        over = SHAPES[names[choose(weights, generator)]](size, generator)
        labels = torch.where(over > 0, over + labels.max(), labels)
    return labels


def fields(size: int, generator: torch.Generator) -> torch.Tensor:
    """Regions in which one of several smooth fields is the largest: neighbours without gaps, as in the brain."""
    cells = whole(2, 8, generator)
    return smooth_field(size, cells, generator, whole(4, 9, generator)).argmax(dim=0)


def blobs(size: int, generator: torch.Generator) -> torch.Tensor:
    """Ellipsoids with bumps, later ones over earlier ones; some hold a core of another label (wall and lumen)."""
    positions = _bent(size, generator, uniform(0.0, 0.12, generator))
    labels = torch.zeros((size,) * 3, dtype=torch.int64)
    for _ in range(whole(1, 14, generator)):
        distance = _ellipsoid(positions, log_uniform(0.06, 0.45, generator), generator)
        value = int(labels.max()) + 1
        labels[distance < 1] = value
        if chance(0.35, generator):
            labels[distance < uniform(0.4, 0.9, generator)] = value + 1
    return labels


def tubes(size: int, generator: torch.Generator) -> torch.Tensor:
    """Vessels: curved tubes that become thinner and branch; each tree is one label."""
    labels = torch.zeros((size,) * 3, dtype=torch.int64)
    for value in range(1, whole(1, 4, generator) + 1):
        start = torch.rand(3, generator=generator) * size
        direction = _direction(generator)
        radius = log_uniform(0.025, 0.12, generator) * size
        _grow(labels, value, start, direction, radius, whole(0, 3, generator), generator)
    return labels


def sheets(size: int, generator: torch.Generator) -> torch.Tensor:
    """Thin walls around the zero level of a smooth field: cortex, membranes, skin."""
    field = smooth_field(size, whole(2, 4, generator), generator)[0]
    slope = torch.stack(torch.gradient(field)).square().sum(dim=0).sqrt().clamp_min(1e-3)
    distance = (field - uniform(-0.5, 0.5, generator)) / slope
    thickness = uniform(1.2, 4.5, generator)
    labels = (distance > thickness).to(torch.int64) * 2
    labels[distance.abs() <= thickness] = 1
    return labels


def stack(size: int, generator: torch.Generator) -> torch.Tensor:
    """Blocks in a bent row with gaps between them: vertebrae and discs, teeth."""
    positions = _bent(size, generator, uniform(0.05, 0.15, generator))
    along = positions @ _direction(generator)
    across = _ellipsoid(positions, uniform(0.15, 0.35, generator), generator, flat=False)
    period = uniform(0.18, 0.4, generator)
    phase = (along / period + uniform(0, 1, generator)).remainder(1.0)
    number = torch.floor(along / period + 10).to(torch.int64)
    labels = torch.where((across < 1) & (phase < uniform(0.6, 0.9, generator)), number, 0)
    labels[(across < 1) & (labels == 0)] = 40
    return torch.unique(labels, return_inverse=True)[1].reshape(labels.shape)


SHAPES: dict[str, Callable[[int, torch.Generator], torch.Tensor]] = {
    "fields": fields,
    "blobs": blobs,
    "tubes": tubes,
    "sheets": sheets,
    "stack": stack,
}
"""Kind -> function of (size, generator)."""
_WEIGHTS = {"fields": 3.0, "blobs": 4.0, "tubes": 1.5, "sheets": 0.7, "stack": 1.0}


def _bent(size: int, generator: torch.Generator, strength: float) -> torch.Tensor:
    """Positions (n, n, n, 3) in 0..1, displaced smoothly."""
    axis = (torch.arange(size, dtype=torch.float32) + 0.5) / size
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    if strength <= 0.01:
        return grid
    bend = smooth_field(size, whole(2, 6, generator), generator, 3)
    return grid + strength * 0.5 * bend.permute(1, 2, 3, 0)


def _ellipsoid(positions: torch.Tensor, radius: float, generator: torch.Generator, flat: bool = True) -> torch.Tensor:
    """Distance from a random centre in units of a random ellipsoid's surface."""
    center = 0.15 + 0.7 * torch.rand(3, generator=generator)
    axes, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    longest = 2.2 if flat else 1.2
    radii = radius * torch.exp((torch.rand(3, generator=generator) - 0.5) * 2 * torch.log(torch.tensor(longest)))
    own = (positions - center) @ axes / radii
    return own.square().sum(dim=-1).sqrt()


def _direction(generator: torch.Generator) -> torch.Tensor:
    direction = torch.randn(3, generator=generator)
    return direction / direction.norm().clamp_min(1e-6)


def _grow(
    labels: torch.Tensor,
    value: int,
    start: torch.Tensor,
    direction: torch.Tensor,
    radius: float,
    branchings: int,
    generator: torch.Generator,
) -> None:
    """Draw one tube from `start` until it leaves the map, and its branches; in place."""
    size = len(labels)
    position = start.clone()
    curl = 0.15 * torch.randn(3, generator=generator)
    for step in range(2 * size):
        _ball(labels, value, position, radius)
        direction = direction + 0.12 * torch.randn(3, generator=generator) + 0.3 * curl / max(radius, 1.0)
        direction = direction / direction.norm().clamp_min(1e-6)
        position = position + direction * max(0.7, 0.6 * radius)
        radius = max(radius * 0.997, 0.9)
        if bool((position < -radius).any() or (position > size + radius).any()):
            break
        if branchings > 0 and step > 3 and chance(0.08, generator):
            branchings -= 1
            aside = direction + 0.9 * _direction(generator)
            thinner = max(radius * uniform(0.55, 0.85, generator), 0.9)
            _grow(labels, value, position, aside / aside.norm().clamp_min(1e-6), thinner, branchings, generator)


def _ball(labels: torch.Tensor, value: int, center: torch.Tensor, radius: float) -> None:
    size = len(labels)
    low = [max(int(c - radius), 0) for c in center.tolist()]
    high = [min(int(c + radius) + 2, size) for c in center.tolist()]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return
    k, j, i = (torch.arange(a, b) - c for a, b, c in zip(low, high, center.tolist(), strict=True))
    square = k[:, None, None] ** 2 + j[None, :, None] ** 2 + i[None, None, :] ** 2
    window = labels[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    window[square <= radius * radius] = value

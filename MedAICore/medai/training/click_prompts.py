"""A simulated person: where the first prompt goes, and where the next one goes when the result is not yet right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from medai.networks.click_channels import stamp_ball
from medai.synthesis.draws import blur, chance, choose, smooth_field, uniform, whole
from medai.training.click_masks import depth
from medai.training.click_samples import ClickSample

_CAREFUL = 0.75  # so often the person clicks into the deepest point
_STARTS = (0.82, 0.08, 0.05, 0.05)  # point, box, scribble, lasso
_ROUNDS = (0.12, 0.12, 0.14, 0.13, 0.12, 0.1, 0.09, 0.07, 0.06, 0.05)  # part of the sessions with 1, 2, ... prompts


@dataclass(eq=False)
class ClickState:
    """One session in training: the sample, its prompts drawn on the cube, the mask so far, the rounds that are left.

    All maps are (n, n, n), float32.
    """

    sample: ClickSample
    positive: torch.Tensor
    negative: torch.Tensor
    region: torch.Tensor
    previous: torch.Tensor
    rounds: int

    def maps(self) -> tuple[torch.Tensor, ...]:
        """What `click_channels` takes, in its order."""
        return self.sample.image, self.previous, self.positive, self.negative, self.region


def start(sample: ClickSample, generator: torch.Generator) -> ClickState:
    """A new session with its first prompt; some start from a mask that is nearly right, or from a coarse one."""
    zeros = torch.zeros_like(sample.image)
    state = ClickState(sample, zeros.clone(), zeros.clone(), zeros.clone(), zeros, 1 + choose(_ROUNDS, generator))
    kind = choose(_STARTS, generator)
    if kind == 1:
        _box(state, generator)
    elif kind == 3:
        _lasso(state)
    else:
        click(state, sample.target, True, generator, scribble=kind == 2)
    if chance(0.2, generator):
        state.previous = _imperfect(sample.target, generator)
        if chance(0.6, generator):
            correct(state, generator)
    return state


def start_plainly(sample: ClickSample) -> ClickState:
    """A session that begins with a click into the deepest point, for validation."""
    zeros = torch.zeros_like(sample.image)
    state = ClickState(sample, zeros.clone(), zeros.clone(), zeros.clone(), zeros, 1)
    click(state, sample.target, True, torch.Generator().manual_seed(0), careful=1.0)
    return state


def correct(state: ClickState, generator: torch.Generator, careful: float = _CAREFUL) -> None:
    """A click into an error of the mask so far: positive where it is missing, negative where it is too much."""
    wrong = (state.previous > 0.5) ^ state.sample.target
    if not bool(wrong.any()):
        return
    click(state, wrong, None, generator, scribble=chance(0.08, generator) and careful < 1, careful=careful)


def click(
    state: ClickState,
    where: torch.Tensor,
    positive: bool | None,
    generator: torch.Generator,
    scribble: bool = False,
    careful: float = _CAREFUL,
) -> None:
    """A point, or a short line of points, in the mask `where`; None: its sign is that of the place."""
    depths = depth(where)
    deepest = int(depths.max())
    limit = deepest if chance(careful, generator) else max(1, round(deepest * uniform(0.2, 0.8, generator)))
    candidates = torch.nonzero(depths >= limit)
    place = candidates[whole(0, len(candidates) - 1, generator)]
    sign = bool(state.sample.target[tuple(place.tolist())]) if positive is None else positive
    target = state.positive if sign else state.negative
    stamp_ball(target, place.tolist())
    if scribble:
        same = torch.nonzero(where & (state.sample.target == sign))
        near = same[((same - place).abs().amax(dim=1) <= len(where) // 6) & (same[:, 0] == place[0])]
        for _ in range(min(len(near), 6)):
            stamp_ball(target, near[whole(0, len(near) - 1, generator)].tolist())


def _box(state: ClickState, generator: torch.Generator) -> None:
    """A box around the object, drawn loosely."""
    found = torch.nonzero(state.sample.target)
    low, high = found.amin(dim=0), found.amax(dim=0) + 1
    slack = (0.12 * (high - low)).clamp_min(1.0)
    low = (low - slack * torch.rand(3, generator=generator)).round().long().clamp_min(0)
    high = (high + slack * torch.rand(3, generator=generator)).round().long()
    state.region[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = 1.0


def _lasso(state: ClickState) -> None:
    """The object's outline in the slice where it is deepest, smoothed as a hand does."""
    depths = depth(state.sample.target)
    index = int(depths.flatten().argmax())
    k = index // depths[0].numel()
    state.region[k] = (blur(state.sample.target.float(), (0.0, 1.0, 1.0))[k] > 0.45).float()


def _imperfect(target: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A mask that is wrong at its border, or as coarse as from a wider look."""
    if chance(0.5, generator):
        factor = whole(2, 4, generator)
        small = functional.avg_pool3d(target.float()[None, None], factor, factor, ceil_mode=True)
        grown = functional.interpolate(small, scale_factor=factor, mode="trilinear")[0, 0]
        n = len(target)
        return (grown[:n, :n, :n] > uniform(0.35, 0.65, generator)).float()
    soft = blur(target.float(), (uniform(0.8, 2.5, generator),) * 3)
    field = smooth_field(len(target), whole(3, 8, generator), generator)[0]
    return (soft + uniform(0.1, 0.35, generator) * field > 0.5).float()

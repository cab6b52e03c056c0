"""How certain the network is of each structure, summed up while its logits become labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from medai.preprocessing.inversion import running_argmax

# So many voxels say enough: of larger grids every second, third, ... row and column is looked at.
_ENOUGH_VOXELS = 4_000_000


class Certainty:
    """The soft Dice of each label with the network's own probabilities (Borges et al. 2024, arXiv:2402.10665).

    2 sum(p y) / (sum(p) + sum(y)), with the probability p of the label at each voxel and y = 1 where it wins: the Dice
    coefficient to expect where the probabilities are right. It falls both with doubt inside of the structure and with
    probability that was left outside of it. Two numbers per class are all that is kept.
    """

    def __init__(self, values: Sequence[int], shape: Sequence[int], temperature: float = 1.0) -> None:
        """``values[n]``: label value of class n, 0 for none. `shape` (k, j, i) is the grid that will come in parts."""
        self._values = tuple(values)
        self._step = max(1, math.ceil(math.sqrt(math.prod(shape) / _ENOUGH_VOXELS)))
        self._temperature = temperature
        self._won = torch.zeros((3, len(self._values)), dtype=torch.float64)  # probability where it wins, all, voxels

    @torch.inference_mode()
    def add(self, logits: torch.Tensor) -> None:
        """Some planes of logits, (n, m, a, b), any float type and device; each part of the grid once."""
        for plane in logits.unbind(1):
            part = plane[:, :: self._step, :: self._step].float().flatten(1).div(self._temperature)  # (n, voxels)
            winner, best = running_argmax(part.unbind(0), range(len(self._values)))
            powers = part.sub_(best).exp_()
            share = powers.sum(0).reciprocal_()  # of the class that wins, whose power is 1
            winner, classes = winner.long(), len(self._values)
            sums = torch.stack(
                [
                    torch.bincount(winner, share, minlength=classes),
                    powers @ share,
                    torch.bincount(winner, minlength=classes).float(),
                ]
            )
            self._won += sums.double().cpu()

    def by_value(self) -> dict[int, float]:
        """The soft Dice, 0 to 1, of each label value that won a voxel."""
        found = {}
        for value, (inside, everywhere, voxels) in zip(self._values, self._won.t().tolist(), strict=True):
            if value and voxels:
                found[value] = min(1.0, 2 * inside / (everywhere + voxels))
        return found

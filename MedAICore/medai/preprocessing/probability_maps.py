"""Probabilities and their entropy on the input grid, slab by slab, beside the labels that `LabelWriter` writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from medai.image import Array

PutBlock = Callable[[Array, torch.Tensor], None]


@dataclass(frozen=True, eq=False)
class ProbabilityMaps:
    """Where maps are written: float32 arrays (k, j, i) of the input grid, zero at first; memory-mapped files as a rule.

    ``probabilities[n]`` is for class n of the network (None: not wanted), `entropy` for the entropy of all classes over
    the logarithm of their number. `temperature` divides the logits before the softmax; it changes no label.

    Logits are interpolated first and the softmax is taken of what was interpolated: so the probabilities of a voxel
    come from the very numbers that its label comes from, and the largest of them is always the label's. Interpolated
    probabilities would not have that property. `after` is called when planes were written (to let pages of a file go).
    """

    probabilities: Sequence[Array | None] = ()
    entropy: Array | None = None
    temperature: float = 1.0
    after: Callable[[], None] | None = None

    def write(self, logits: Sequence[torch.Tensor], best: torch.Tensor, put: PutBlock) -> None:
        """Write one block: float32 `logits` of each class, which are overwritten, and their maximum, all of one shape.

        ``put(map, values)`` writes values of that shape to their place in a map. Maximum first, as a softmax that
        cannot overflow is computed; the entropy follows from the same sums: H = log s - sum(x exp x) / s with
        s = sum(exp x).
        """
        total = torch.zeros_like(best)
        weighted = torch.zeros_like(best) if self.entropy is not None else None
        for values in logits:
            values.sub_(best).mul_(1.0 / self.temperature)
            powers = values.exp()
            total.add_(powers)
            if weighted is not None:
                weighted.addcmul_(values, powers)
            values.copy_(powers)
        for target, values in zip(self.probabilities, logits, strict=True) if self.probabilities else ():
            if target is not None:
                put(target, values.div_(total))
        if self.entropy is not None and weighted is not None:
            nats = total.log().sub_(weighted.div_(total))
            put(self.entropy, nats.div_(math.log(max(2, len(logits)))).clamp_(0.0, 1.0))

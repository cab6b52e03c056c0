"""Labels that nobody drew in a case: their probability is added to the background's before any loss sees it."""

from __future__ import annotations

from typing import overload

import torch

_NEVER = -1e4  # a logit whose softmax is exactly 0 in float32, and whose logarithm is still finite


@overload
def merge_unknown(outputs: torch.Tensor, unknown: torch.Tensor) -> torch.Tensor: ...
@overload
def merge_unknown(outputs: list[torch.Tensor], unknown: torch.Tensor) -> list[torch.Tensor]: ...


def merge_unknown(
    outputs: torch.Tensor | list[torch.Tensor], unknown: torch.Tensor
) -> torch.Tensor | list[torch.Tensor]:
    """Logits (b, n, *size) of the classes as they were annotated: the marginal loss of Shi et al. 2021.

    `unknown` (b, n) bool names the classes of each sample that nobody drew; a voxel of theirs is labelled background.
    The merged background has the probability of all of them together, log sum exp of their logits; they themselves have
    none. A loss on the result then punishes neither the unknown class nor its absence. A list (deep supervision) is
    merged output by output.
    """
    if isinstance(outputs, list):
        return [merge_unknown(output, unknown) for output in outputs]
    logits = outputs.float()
    hidden = unknown.clone()
    hidden[:, 0] = False
    merged = hidden.clone()
    merged[:, 0] = True
    shape = (*unknown.shape, *(1,) * (logits.ndim - 2))
    background = torch.where(merged.view(shape), logits, -torch.inf).logsumexp(dim=1, keepdim=True)
    others = torch.where(hidden.view(shape), _NEVER, logits)[:, 1:]
    return torch.cat([background, others], dim=1)

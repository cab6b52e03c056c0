"""The processes that train one network together: who is the first of them, and what all must agree on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed
from torch import nn


@dataclass(frozen=True)
class Ranks:
    """This process among `count` that train together; the first (rank 0) alone writes files and watches the clock."""

    rank: int = 0
    count: int = 1

    @classmethod
    def current(cls) -> Ranks:
        """This process's place in the group that torch.distributed has set up, or alone."""
        if not torch.distributed.is_available() or not torch.distributed.is_initialized():
            return cls()
        return cls(torch.distributed.get_rank(), torch.distributed.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process writes checkpoints and the record, and validates."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """`network` with gradients averaged over the processes."""
        return network if self.count == 1 else nn.parallel.DistributedDataParallel(network)

    def agree(self, values: list[float], device: torch.device) -> list[float]:
        """The first process's values, in all of them: a clock or a request that only one sees must not part them."""
        if self.count == 1:
            return values
        shared = torch.tensor(values, dtype=torch.float64, device=device)
        torch.distributed.broadcast(shared, src=0)
        agreed: list[float] = shared.tolist()
        return agreed

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Mean of a tensor over the processes."""
        if self.count == 1:
            return value
        total = value.clone()
        torch.distributed.all_reduce(total)
        return total / self.count

"""Half precision must prove itself on the first foreground tiles."""

from __future__ import annotations

import torch

from medai.inference.gated import GatedPredictor
from medai.progress import never_cancelled


class Fixed:
    """Gives each voxel the label that its value names, with some voxels wrong."""

    def __init__(self, name: str, wrong: int = 0) -> None:
        self.engine, self.device, self.calls, self._wrong = name, torch.device("cpu"), 0, wrong

    def __call__(self, tile: torch.Tensor, cancelled=never_cancelled) -> torch.Tensor:
        self.calls += 1
        labels = tile[0].long().clone()
        labels.view(-1)[: self._wrong] = 0
        return torch.nn.functional.one_hot(labels, 3).movedim(-1, 0).float()


FOREGROUND = torch.ones(1, 10, 10, 10)
EMPTY = torch.zeros(1, 10, 10, 10)


def run(wrong: int) -> tuple[GatedPredictor, Fixed, Fixed]:
    fast, exact = Fixed("bf16", wrong), Fixed("f32")
    gate = GatedPredictor(fast, exact)
    for tile in (EMPTY, FOREGROUND, FOREGROUND, EMPTY, FOREGROUND):
        assert torch.equal(gate(tile), Fixed("")(tile))  # exact while it is on trial
    assert (fast.calls, exact.calls) == (3, 5)
    gate(FOREGROUND)
    return gate, fast, exact


def test_it_takes_over_where_it_agrees():
    gate, fast, exact = run(wrong=5)  # 0.5 % of each tile
    assert gate.passed
    assert gate.engine == "bf16"
    assert (fast.calls, exact.calls) == (4, 5)


def test_it_is_dropped_where_it_does_not():
    gate, fast, exact = run(wrong=6)
    assert not gate.passed
    assert gate.engine == "f32"
    assert (fast.calls, exact.calls) == (3, 6)

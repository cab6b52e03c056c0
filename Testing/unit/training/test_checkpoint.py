from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from medai.errors import ModelError, OutputError
from medai.training.checkpoint import load_checkpoint, random_states, restore_random_states, save_checkpoint

CPU = torch.device("cpu")


def draw() -> tuple:
    return random.random(), float(np.random.rand()), torch.rand(3).tolist()  # noqa: NPY002 - the global generator


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    torch.rand(5)
    save_checkpoint(tmp_path / "c.pt", {"random": random_states()})
    expected = [draw(), draw()]
    draw()
    restore_random_states(load_checkpoint(tmp_path / "c.pt", CPU)["random"])
    assert [draw(), draw()] == expected


def test_tensors_and_numbers_come_back_exactly(tmp_path: Path) -> None:
    state = {"step": 7, "seconds": 1.25, "network": {"a": torch.randn(3, 4)}, "dice": {"liver": 0.5}}
    save_checkpoint(tmp_path / "sub" / "c.pt", state)
    found = load_checkpoint(tmp_path / "sub" / "c.pt", CPU)
    assert torch.equal(found["network"]["a"], state["network"]["a"])
    assert {key: found[key] for key in ("step", "seconds", "dice")} == {
        "step": 7,
        "seconds": 1.25,
        "dice": {"liver": 0.5},
    }
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["c.pt"]


def test_a_truncated_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"a": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ModelError, match=r"c\.pt"):
        load_checkpoint(path, CPU)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "run",)

    torch.save({"a": Evil()}, tmp_path / "c.pt")
    with pytest.raises(ModelError):
        load_checkpoint(tmp_path / "c.pt", CPU)
    assert not (tmp_path / "run").exists()


def test_a_failed_write_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"step": 1})

    def full_disk(state: object, stream: object) -> None:
        stream.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        save_checkpoint(path, {"step": 2})
    monkeypatch.undo()
    assert load_checkpoint(path, CPU)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]

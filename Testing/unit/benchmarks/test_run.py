"""One command measures everything; what fails is told and stops nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks import __main__ as command
from benchmarks import child, end_to_end, growth, machine, peers, sliding_window, volumes
from benchmarks.machine import Conditions
from benchmarks.report import Section, markdown
from benchmarks.settings import Settings


def test_a_failing_comparison_stops_none_of_the_others(monkeypatch, tmp_path):
    order: list[str] = []

    def module(name: str):
        key = name.split(".")[1]

        def run(_settings):
            order.append(key)
            if key == "end_to_end":
                raise child.BenchmarkError("out of memory")
            return Section(key, key, "Text.", (), Conditions("today", 0.0))

        return SimpleNamespace(run=run)

    monkeypatch.setattr(command.importlib, "import_module", module)
    sections = command._measured(command.SECTIONS, Settings(full=False), tmp_path)
    assert order == ["sliding_window", "end_to_end", "growth", "export", "scene"]
    assert [section.key for section in sections if section.missing] == ["end_to_end"]
    kept = {key: Section.load(tmp_path / f"{key}.json") for key in command.SECTIONS}
    assert kept["end_to_end"].missing
    assert kept["growth"].text == "Text."


def test_a_failing_piece_leaves_its_cells_empty(monkeypatch):
    figures = {"seconds": 2.0, "cpu_s": 3.0, "extra_mb": 100.0, "estimate_mb": 110.0}
    row = growth._row("64^3", {"monai": None, "medai": figures}, "seconds")
    assert row == ("64^3", "failed", "2.00", "failed", "3.00", "-", "failed", "100", "-", "110")
    pairs = {"a": {"monai": None, "medai": figures}, "b": {"monai": None, "medai": None}}
    assert "1 of 1: a +10% (reached)" in growth._estimates(pairs)

    def fail(*_arguments):
        raise child.BenchmarkError("killed")

    monkeypatch.setattr(child, "run_piece", fail)
    assert child.try_piece("window_pieces:by_monai", {}) is None


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Pieces that are not run: each gives the same figures, and labels where it is asked for them."""
    asked: list[str] = []

    def piece(task, arguments, python=None, timeout_s=0.0):
        asked.append(task)
        if arguments.get("labels"):
            np.save(arguments["labels"], np.arange(24 * 40 * 36).reshape(24, 40, 36) % 5)
        keys = ("seconds", "cpu_s", "extra_mb", "warm_mb", "first_s", "estimate_mb", "other_cores")
        return {**dict.fromkeys(keys, 2.0), "engine": "none"}

    for module in (sliding_window, end_to_end, growth):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
        for name in ("run_piece", "try_piece"):
            monkeypatch.setattr(module, name, piece, raising=False)
    monkeypatch.setattr(peers, "make", lambda: Path("python"))
    monkeypatch.setattr(volumes, "saved_head", lambda folder, shape, seed: folder / "head.npy")
    monkeypatch.setattr(volumes, "head", lambda shape, seed: (np.zeros(shape), np.zeros(shape, np.uint8)))
    return asked


@pytest.mark.parametrize("module", [sliding_window, end_to_end, growth])
def test_sections_are_whole_pages(module, measured):
    section = module.run(Settings(full=False, rounds=2))
    page = markdown([], [section], "")
    assert section.title in page
    assert all(len(row) == len(table.columns) for table in section.tables for row in table.rows)
    assert any("reached" in note for note in section.notes)
    assert measured


def test_every_way_is_measured_in_turn_and_converting_once(measured):
    sliding_window.run(Settings(full=False, rounds=2))
    assert measured.count("window_pieces:by_monai") == measured.count("window_pieces:by_nnunet") == 2
    assert measured.count("window_pieces:by_medai") == (4 if machine.has_half_precision() else 3)
    assert measured.count("window_pieces:convert") == 1

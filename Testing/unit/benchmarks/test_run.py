"""One command measures everything; what fails is told and stops nothing."""

from __future__ import annotations

from types import SimpleNamespace

from benchmarks import __main__ as command
from benchmarks import child, growth
from benchmarks.machine import Conditions
from benchmarks.report import Section
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

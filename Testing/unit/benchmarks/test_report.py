"""Sections survive being kept as JSON, and their Markdown is whole."""

from __future__ import annotations

import pytest
from benchmarks.machine import Conditions
from benchmarks.report import Section, Table, markdown, not_measured, seconds, times


@pytest.fixture
def section() -> Section:
    table = Table(("way", "s"), (("a | b", "1.0"), ("c", "2.0")), "five")
    data = {"runs": [{"other_cores": 0.25}, {"deep": {"other_cores": 1.5}}]}
    return Section("key", "Title", "Text.", (table,), Conditions("today", 0.5), ("A note.",), data)


def test_a_kept_section_is_the_same_when_loaded(section, tmp_path):
    section.save(tmp_path)
    assert Section.load(tmp_path / "key.json") == section


def test_markdown_has_every_cell_and_the_conditions(section):
    page = markdown(["Processor: x"], [section], "Preface.")
    assert "| way | s |\n| --- | ---: |\n| a \\| b | 1.0 |\n| c | 2.0 |" in page
    assert "- A note." in page
    assert "at most 1.5 cores" in page


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="1 cells in a table of 2 columns"):
        Table(("a", "b"), (("1",),))


@pytest.mark.parametrize(("value", "text"), [(123.4, "123"), (12.34, "12.3"), (1.234, "1.23")])
def test_times_have_three_figures(value, text):
    assert seconds(value) == text


def test_ratio_is_of_the_peer_to_ours():
    assert times(2.0, 50.0) == "25x"
    assert times(4.0, 6.0) == "1.5x"


def test_a_comparison_that_failed_says_so_and_the_others_stay(section):
    failed = not_measured("growth", "BenchmarkError: no memory\nlong tail", Conditions("today", 0.5))
    assert failed.missing
    assert not section.missing
    page = markdown([], [section, failed], "Preface.")
    assert "NOT measured in this run: BenchmarkError: no memory" in page
    assert "long tail" not in page
    assert "A note." in page

"""The benchmark's clock and memory gauge tell what work of known size takes."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from benchmarks.child import BenchmarkError, run_piece
from benchmarks.measurement import measure

_MB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can start the peak of the memory anew")
@pytest.mark.parametrize("size_mb", [64, 192])
def test_extra_memory_is_what_the_work_held_at_once(size_mb):
    def hold() -> int:
        return int(np.ones(size_mb * _MB, np.uint8).sum())  # freed again before the measurement ends

    total, figures = measure(hold)
    assert total == size_mb * _MB
    assert figures["extra_mb"] == pytest.approx(size_mb, abs=16)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can start the peak of the memory anew")
def test_memory_of_the_first_call_counts_and_its_time_does_not():
    calls = []
    _, figures = measure(lambda: calls.append("work"), lambda: calls.append(int(np.ones(96 * _MB, np.uint8).sum())))
    assert calls == [96 * _MB, "work"]
    assert figures["extra_mb"] == pytest.approx(96, abs=16)
    assert figures["first_s"] > figures["seconds"]


def test_a_piece_runs_in_another_process_and_gives_plain_data():
    found = run_piece("nnunet:properties", {"shape": [3, 4, 5], "spacing_mm": [1.0, 2.0, 3.0]})
    assert found["shape_before_cropping"] == [3, 4, 5]


def test_a_piece_that_fails_says_what_it_printed_last():
    with pytest.raises(BenchmarkError, match="shape_that_is_not_there"):
        run_piece("nnunet:properties", {"shape_that_is_not_there": 1})

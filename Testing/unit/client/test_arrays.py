"""Slab-wise copies: the same voxels in the end, little at a time, and nothing left behind."""

from __future__ import annotations

import numpy as np
import pytest

from medai.client import ArrayReader, ArrayWriter
from medai.errors import FileFormatError, InputError, OutputError
from medai.session import SessionFolder

MATRIX = np.diag([0.7, 1.1, 2.3, 1.0])


@pytest.fixture
def session(tmp_path):
    return SessionFolder.create(tmp_path)


@pytest.fixture
def volume():
    return np.random.default_rng(3).integers(-1000, 3000, (2, 11, 37, 53)).astype(np.int16)


def run(copy, budget):
    steps = 1
    while not copy.step(budget):
        assert 0.0 < copy.fraction < 1.0
        assert not copy.done
        steps += 1
    assert copy.done
    assert copy.fraction == 1.0
    return steps


@pytest.mark.parametrize("budget", [1, 10_000, 1 << 30])
def test_there_and_back(session, volume, budget):
    writer = ArrayWriter(session, volume, MATRIX, "CT", "CT")
    steps = run(writer, budget)
    plane = 37 * 53 * 2
    assert steps == -(-22 // max(1, -(-budget // plane)))  # whole planes until the budget is met
    assert writer.ref.shape == (2, 11, 37, 53)
    reader = ArrayReader(session, writer.ref)
    assert run(reader, budget) == steps
    np.testing.assert_array_equal(reader.array, volume)
    assert list(session.path.iterdir()) == []


def test_strided_source_and_given_destination(session, volume):
    source = volume[0, ::-1, :, ::2]  # as vtk's arrays of flipped volumes: a view without a contiguous copy
    writer = ArrayWriter(session, source, MATRIX)
    run(writer, 5000)
    out = np.zeros(source.shape, np.float32)
    reader = ArrayReader(session, writer.ref, out)
    run(reader, 5000)
    np.testing.assert_array_equal(out, source)


def test_planes_larger_than_the_budget_are_cut(session):
    wide = np.arange(3000 * 1500, dtype=np.float32).reshape(1, 3000, 1500)  # one plane of 17 MiB
    writer = ArrayWriter(session, wide, MATRIX)
    writer.step(1 << 20)
    assert writer.fraction < 0.2
    run(writer, 1 << 22)
    reader = ArrayReader(session, writer.ref)
    run(reader, 1 << 22)
    np.testing.assert_array_equal(reader.array[0], wide)


def test_abort_deletes_the_file(session, volume):
    writer = ArrayWriter(session, volume, MATRIX)
    writer.step(1)
    writer.abort()
    complete = ArrayWriter(session, volume, MATRIX)
    run(complete, 1 << 30)
    reader = ArrayReader(session, complete.ref)
    reader.step(1)
    reader.abort()
    assert list(session.path.iterdir()) == []


def test_files_have_names_of_their_own(session, volume):
    refs = {ArrayWriter(session, volume, MATRIX).ref.file for _ in range(3)}
    assert len(refs) == 3


def test_wrong_files_and_grids_are_refused_and_deleted(session, volume):
    writer = ArrayWriter(session, volume, MATRIX)
    with pytest.raises(FileFormatError, match="needs"):  # not complete yet
        ArrayReader(session, writer.ref)
    writer.abort()
    complete = ArrayWriter(session, volume, MATRIX)
    run(complete, 1 << 30)
    with pytest.raises(InputError, match="do not fit"):
        ArrayReader(session, complete.ref, np.zeros((2, 11, 37, 54), np.int16))
    assert list(session.path.iterdir()) == []
    with pytest.raises(InputError, match="bool"):
        ArrayWriter(session, volume > 0, MATRIX)


def test_folder_that_is_gone(session, volume):
    session.remove()
    with pytest.raises(OutputError):
        ArrayWriter(session, volume, MATRIX)

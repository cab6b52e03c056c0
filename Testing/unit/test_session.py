"""The session folder: voxels there and back, whoever may see them, and that nothing stays."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medai.errors import FileFormatError, InputError, OutputError
from medai.image import Image
from medai.process_identity import ProcessIdentity
from medai.session import PREFIX, SessionFolder, array_ref, cannot_write, sweep


@pytest.fixture
def session(tmp_path):
    return SessionFolder.create(tmp_path)


def test_folder_is_private_and_says_whose_it_is(session):
    assert stat.S_IMODE(session.path.stat().st_mode) == 0o700 or sys.platform == "win32"
    assert session.path.name.startswith(f"{PREFIX}{os.getpid()}-")
    session.remove()
    assert not session.path.exists()
    session.remove()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float16", "float32", "float64", "int64"])
def test_image_survives_the_way_and_its_file_is_gone(session, oblique_image, dtype):
    image = replace(oblique_image, array=np.concatenate([oblique_image.array] * 2).astype(dtype))
    ref = session.put_image("r1-1.raw", image)
    assert (session.path / "r1-1.raw").stat().st_size == ref.nbytes == image.array.nbytes
    back = session.take_image(ref)
    assert list(session.path.iterdir()) == []
    assert back.array.dtype == image.array.dtype
    np.testing.assert_array_equal(back.array, image.array)
    np.testing.assert_array_equal(back.ijk_to_ras, image.ijk_to_ras)
    assert (back.name, back.modality) == ("oblique", "MR")
    back.array[0, 0, 0, 0] = 1  # private memory, not read-only


def test_strided_and_big_endian_voxels(session, oblique_image):
    array = oblique_image.array[:, ::-1, :, 1::2].astype(">i2")
    ref = session.put_image("a.raw", replace(oblique_image, array=array))
    np.testing.assert_array_equal(session.take_image(ref).array, array.astype("<i2"))


@pytest.mark.parametrize("size", [0, 2 * 13 * 17 * 23 - 1, 2 * 13 * 17 * 23 + 1])
def test_file_of_another_size_is_refused(session, oblique_image, size):
    ref = session.put_image("a1.raw", oblique_image)
    os.truncate(session.path / "a1.raw", size)
    with pytest.raises(FileFormatError, match=f"has {size} bytes"):
        session.take_image(ref)


def test_missing_file_and_types_that_cannot_be_sent(session, oblique_image):
    ref = array_ref("gone.raw", oblique_image.array, oblique_image.ijk_to_ras)
    with pytest.raises(FileFormatError, match=r"gone\.raw"):
        session.take_image(ref)
    with pytest.raises(InputError, match="complex64"):
        array_ref("a.raw", oblique_image.array.astype(np.complex64), np.eye(4))
    with pytest.raises(InputError, match="no image"):
        array_ref("a.raw", np.zeros((2, 3)), np.eye(4))


def test_full_disk_leaves_no_file(session, oblique_image, monkeypatch):
    real_open = Path.open

    def full(self, *args, **kwargs):
        stream = real_open(self, *args, **kwargs)
        if self.name != "a1.raw":
            return stream

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                stream.close()

            def write(self, data):
                raise OSError(errno.ENOSPC, "No space left on device")

        return Full()

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match="No space"):
        session.put_image("a1.raw", oblique_image)
    assert list(session.path.iterdir()) == []
    assert "Permission denied" in cannot_write(Path("x"), 1, PermissionError(13, "Permission denied")).message


def test_no_folder_where_none_can_be_made(tmp_path):
    with pytest.raises(OutputError, match="nowhere"):
        SessionFolder.create(tmp_path / "nowhere")


def test_sweep_removes_the_folders_of_dead_processes_only(tmp_path, session):
    ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = ProcessIdentity.of(ended.pid)
    ended.communicate(b"\n")
    dead = tmp_path / f"{PREFIX}{identity}-abc"
    dead.mkdir()
    (dead / "a1.raw").write_bytes(b"x")
    # This pid runs, but was started at another time: its number was given to somebody else.
    reused = tmp_path / f"{PREFIX}{os.getpid()}-1-abc"
    reused.mkdir()
    unrelated = tmp_path / f"{PREFIX}of-somebody"
    unrelated.mkdir()
    target = tmp_path / "precious"
    target.mkdir()
    (target / "file").write_text("x", encoding="utf-8")
    link = tmp_path / f"{PREFIX}1-1-link"
    link.symlink_to(target)
    assert sweep(tmp_path) == 2
    assert not dead.exists()
    assert not reused.exists()
    assert session.path.exists()
    assert unrelated.exists()
    assert (target / "file").exists()


def test_results_of_one_request_are_discarded(session):
    for name in ("r1-1.raw", "r1-2.raw", "r11-1.raw", "a1.raw"):
        (session.path / name).write_bytes(b"x")
    session.discard_results_of(1)
    assert sorted(p.name for p in session.path.iterdir()) == ["a1.raw", "r11-1.raw"]


def test_identity_of_processes():
    me = ProcessIdentity.current()
    assert me.pid == os.getpid()
    assert me.started > 0
    assert me.alive()
    assert ProcessIdentity.parse(str(me)) == me
    assert ProcessIdentity.parse("12") is None
    assert not ProcessIdentity(me.pid, me.started + 1).alive()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no zombies")
def test_a_zombie_is_not_alive():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = ProcessIdentity.of(child.pid)
    assert identity is not None
    assert identity.alive()
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet reaped
    assert not identity.alive()
    child.wait()


def test_image_is_written_once(session, oblique_image):
    session.put_image("a1.raw", oblique_image)
    with pytest.raises(OutputError):
        session.put_image("a1.raw", Image(oblique_image.array, np.eye(4)))

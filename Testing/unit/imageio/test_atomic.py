"""Results are written whole or not at all."""

import os
import subprocess
import sys

import numpy as np
import pytest

from medai.errors import OutputError
from medai.image import Image
from medai.imageio import atomic_output, write_image, write_label_map
from medai.labels import Label, LabelScheme

NAMES = ["x.nii", "x.nii.gz", "x.nrrd", "x.mha"]


def test_success_renames_and_leaves_nothing_else(tmp_path):
    with atomic_output(tmp_path / "result.seg.nrrd") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".seg.nrrd")
        temporary.write_text("new")
        assert not (tmp_path / "result.seg.nrrd").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["result.seg.nrrd"]


def test_failure_keeps_the_old_file(tmp_path):
    (tmp_path / "x.txt").write_text("old")

    def fail():
        with atomic_output(tmp_path / "x.txt") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (tmp_path / "x.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="Nothing was written"), atomic_output(tmp_path / "x.txt"):
        pass


def test_long_names_fit(tmp_path):
    name = "n" * 245 + ".nrrd"
    with atomic_output(tmp_path / name) as temporary:
        temporary.write_text("x")
    assert (tmp_path / name).exists()


def test_folders_can_be_written(tmp_path):
    with atomic_output(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("a")
    assert (tmp_path / "folder" / "a").read_text() == "a"


@pytest.mark.parametrize("name", NAMES)
def test_unwritable_targets(tmp_path, oblique_image, name):
    with pytest.raises(OutputError, match="does not exist"):
        write_image(tmp_path / "none" / name, oblique_image)
    (tmp_path / name).mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write_image(tmp_path / name, oblique_image)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_without_permission(tmp_path, oblique_image, name):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(OutputError):
        write_image(folder / name, oblique_image)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB; the test is skipped where it cannot be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux":
        pytest.skip("a small file system is mounted on Linux only")
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False, timeout=20)
    except OSError as error:
        pytest.skip(f"mount cannot be run: {error}")
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=20)


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_leaves_no_file(small_disk, name, capfd):
    noise = np.random.default_rng(0).integers(0, 2**15, (1, 40, 60, 80)).astype(np.int16)
    with pytest.raises(OutputError, match=name):
        write_image(small_disk / name, Image(noise, np.eye(4)))
    assert list(small_disk.iterdir()) == []
    assert capfd.readouterr().out == ""


def test_a_full_disk_leaves_no_segmentation(small_disk):
    noise = np.random.default_rng(0).integers(0, 2, (1, 100, 100, 100)).astype(np.uint8)
    with pytest.raises(OutputError, match="disk is full"):
        write_label_map(small_disk / "x.seg.nrrd", Image(noise, np.eye(4)), LabelScheme((Label(1, "a", (1, 0, 0)),)))
    assert list(small_disk.iterdir()) == []

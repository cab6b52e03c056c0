"""Bad input ends with a clear error and exit code 1, without a traceback, and with no file left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.cli.phantoms import make_card, phantom

from medai.image import Image
from medai.imageio import write_image
from medai.models import write_package


def assert_refused(run: Any, code: str, *words: str) -> None:
    """Exit code 1, one JSON error of this code whose text has all words, something to do, and no traceback."""
    assert run.code == 1, run.stderr
    assert set(run.data) == {"error"}
    assert set(run.data["error"]) == {"code", "message", "remedy"}
    assert run.data["error"]["code"] == code, run.data
    text = f"{run.data['error']['message']} {run.data['error']['remedy']}"
    for word in words:
        assert word.lower() in text.lower(), f"'{word}' is not in: {text}"
    assert run.data["error"]["remedy"]
    assert "Traceback" not in run.stderr
    assert run.data["error"]["message"] in run.stderr


def test_missing_file(medai: Any, model_path: Path, out: Path) -> None:
    run = medai("segment", out / "none.nii.gz", "--model", model_path, "--output", out / "o.nii.gz", "--json")
    assert_refused(run, "file", "none.nii.gz")
    assert not list(out.iterdir())


def test_text_renamed(medai: Any, model_path: Path, out: Path, tmp_path: Path) -> None:
    path = tmp_path / "notes.nii.gz"
    path.write_text("Patient was moved to ward 7.\n" * 40)
    run = medai("segment", path, "--model", model_path, "--output", out / "o.seg.nrrd", "--json")
    assert_refused(run, "file", "notes.nii.gz")
    assert not list(out.iterdir())


def test_truncated_nrrd(medai: Any, model_path: Path, out: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.nrrd"
    write_image(path, phantom()[0])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    run = medai("segment", path, "--model", model_path, "--output", out / "o.seg.nrrd", "--json")
    assert_refused(run, "file", "cut.nrrd")
    assert not list(out.iterdir())


def test_2d_image_to_a_3d_model(medai: Any, model_path: Path, out: Path, tmp_path: Path) -> None:
    import SimpleITK as sitk

    path = tmp_path / "slice.mha"
    sitk.WriteImage(
        sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)), str(path)
    )
    run = medai("segment", path, "--model", model_path, "--output", out / "o.seg.nrrd", "--json")
    assert_refused(run, "input", "slice", "3D")
    assert not list(out.iterdir())


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
def test_mostly_nan(medai: Any, model_path: Path, out: Path, tmp_path: Path, suffix: str) -> None:
    image = phantom()[0]
    array = image.array.copy()
    array[:, :20] = np.nan
    path = tmp_path / f"holes{suffix}"
    write_image(path, image.with_array(array))
    run = medai("segment", path, "--model", model_path, "--output", out / "o.seg.nrrd", "--json")
    assert_refused(run, "input", "holes", "%")
    assert not list(out.iterdir())


def test_one_voxel(medai: Any, model_path: Path, out: Path, tmp_path: Path) -> None:
    path = tmp_path / "dot.nii.gz"
    write_image(path, Image(np.ones((1, 1, 1, 1), np.float32), np.eye(4)))
    run = medai("segment", path, "--model", model_path, "--output", out / "o.seg.nrrd", "--json")
    assert_refused(run, "input", "dot")
    assert not list(out.iterdir())


def test_rgb(medai: Any, model_path: Path, out: Path, tmp_path: Path) -> None:
    import SimpleITK as sitk

    path = tmp_path / "photo.nrrd"
    voxels = np.random.default_rng(0).integers(0, 255, (10, 20, 30, 3)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=True), str(path))
    run = medai("segment", path, "--model", model_path, "--output", out / "o.seg.nrrd", "--json")
    assert_refused(run, "input", "photo.nrrd", "RGB")
    assert not list(out.iterdir())


def test_wrong_number_of_channels(medai: Any, model_path: Path, image_path: Path, out: Path) -> None:
    run = medai("segment", image_path, image_path, "--model", model_path, "--output", out / "o.nrrd", "--json")
    assert_refused(run, "input", "1 input", "got 2", "T1")
    assert not list(out.iterdir())


def test_unknown_label(medai: Any, model_path: Path, image_path: Path, out: Path) -> None:
    run = medai(
        "segment",
        image_path,
        "--model",
        model_path,
        "--output",
        out / "o.nrrd",
        "--labels",
        "bright ball,moon",
        "--json",
    )
    assert_refused(run, "input", "moon", "dim ball")
    assert not list(out.iterdir())


def test_roi_outside(medai: Any, model_path: Path, image_path: Path, out: Path) -> None:
    arguments = ("--output", out / "o.nrrd", "--roi", "900,950,900,950,900,950", "--json")
    run = medai("segment", image_path, "--model", model_path, *arguments)
    assert_refused(run, "input", "ROI", "outside")
    assert not list(out.iterdir())


def test_unknown_model(medai: Any, image_path: Path, out: Path) -> None:
    run = medai("segment", image_path, "--model", "no-such-model", "--output", out / "o.nrrd", "--json")
    assert_refused(run, "model", "no-such-model")
    assert not list(out.iterdir())


def test_corrupt_model(medai: Any, model_path: Path, image_path: Path, out: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.medai"
    whole = model_path.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    run = medai("segment", image_path, "--model", broken, "--output", out / "o.nrrd", "--json")
    assert_refused(run, "model", "broken.medai")
    assert not list(out.iterdir())


def test_hash_mismatch(medai: Any, model_path: Path, image_path: Path, out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    with zipfile.ZipFile(model_path) as archive:
        archive.extractall(folder)
    weights = folder / json.loads((folder / "model.json").read_text())["weights"][0]["file"]
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    run = medai("segment", image_path, "--model", folder, "--output", out / "o.nrrd", "--json")
    assert_refused(run, "model", weights.name)
    assert not list(out.iterdir())
    assert_refused(medai("models", "verify", folder, "--json"), "model", weights.name)


def test_classification_model_is_not_segmented_with(
    medai: Any, image_path: Path, out: Path, tmp_path: Path, fitted_weights: dict[str, Any]
) -> None:
    from medai.config.model_card import ClassSpec

    path = tmp_path / "classes.medai"
    card = make_card(id="classes", task="classify", labels=(), classes=(ClassSpec("a"), ClassSpec("b")))
    write_package(path, card, [fitted_weights])
    run = medai("segment", image_path, "--model", path, "--output", out / "o.nrrd", "--json")
    assert_refused(run, "model", "classify")
    assert not list(out.iterdir())


def test_output_under_a_file(medai: Any, model_path: Path, image_path: Path) -> None:
    output = image_path / "o.nrrd"  # not even an administrator can write there
    assert_refused(
        medai("segment", image_path, "--model", model_path, "--output", output, "--json"), "output", "o.nrrd"
    )


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc here")
def test_output_in_a_folder_that_refuses_files(medai: Any, model_path: Path, image_path: Path) -> None:
    output = Path("/proc/segmentation.nrrd")
    run = medai("segment", image_path, "--model", model_path, "--output", output, "--json")
    assert_refused(run, "output", "segmentation.nrrd")


def test_output_folder_is_missing(medai: Any, model_path: Path, image_path: Path, out: Path) -> None:
    run = medai("segment", image_path, "--model", model_path, "--output", out / "no" / "o.nrrd", "--json")
    assert_refused(run, "output", "does not exist")
    assert not list(out.iterdir())


@pytest.mark.parametrize("name", ["o.stl", "o", ".nrrd", "o.nrrd.txt"])
def test_output_suffix_is_unknown(medai: Any, model_path: Path, image_path: Path, out: Path, name: str) -> None:
    run = medai("segment", image_path, "--model", model_path, "--output", out / name, "--json")
    assert_refused(run, "output", name, ".seg.nrrd")
    assert not list(out.iterdir())


def test_output_is_a_folder(medai: Any, model_path: Path, image_path: Path, out: Path) -> None:
    folder = out / "o.nrrd"
    folder.mkdir()
    run = medai("segment", image_path, "--model", model_path, "--output", folder, "--json")
    assert_refused(run, "output", "folder")
    assert not list(folder.iterdir())


def test_output_is_the_input(medai: Any, model_path: Path, image_path: Path) -> None:
    before = image_path.read_bytes()
    run = medai("segment", image_path, "--model", model_path, "--output", image_path, "--json")
    assert_refused(run, "output", "input")
    assert image_path.read_bytes() == before


@pytest.fixture
def full_disk(tmp_path: Path) -> Any:
    """A file system of 64 KiB, full but for one page; the test is skipped where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.name != "posix":
        pytest.skip("there is no mount command")
    command = [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system cannot be mounted here (no permission)")
    try:
        (folder / "filling").write_bytes(b"x" * 60 * 1024)
        yield folder
    finally:
        # Lazily: Slicer keeps a scene file open that it could not finish.
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("name", ["o.seg.nrrd", "o.nii.gz", "o.nrrd", "o.mha", "o.mrb"])
def test_full_disk(medai: Any, model_path: Path, image_path: Path, full_disk: Path, name: str) -> None:
    if name == "o.mrb":
        pytest.importorskip("slicer", reason="slicer-core is not installed")
    (full_disk / "filling").write_bytes(b"x" * 64 * 1024)
    run = medai("segment", image_path, "--model", model_path, "--output", full_disk / name, "--json")
    assert_refused(run, "output", name)
    assert [path.name for path in full_disk.iterdir()] == ["filling"]


def write_series(folder: Path, positions: list[float]) -> None:
    """A CT-like DICOM series with slices at these positions (mm), written with SimpleITK."""
    import SimpleITK as sitk

    folder.mkdir()
    generator = np.random.default_rng(0)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, position in enumerate(positions):
        slab = sitk.GetImageFromArray(generator.integers(0, 500, (1, 32, 32)).astype(np.int16))
        slab.SetSpacing((1.0, 1.0, 2.0))
        slab.SetOrigin((0.0, 0.0, position))
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"1.2.826.0.1.3680043.2.1125.1.{number + 1}",
            "0008|0060": "CT",
            "0020|000d": "1.2.826.0.1.3680043.2.1125.2",
            "0020|000e": "1.2.826.0.1.3680043.2.1125.3",
            "0020|0013": str(number + 1),
            "0020|0032": f"0\\0\\{position}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for tag, value in tags.items():
            slab.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{number:03d}.dcm"))
        writer.Execute(slab)


def test_dicom_with_a_missing_slice(medai: Any, model_path: Path, out: Path, tmp_path: Path) -> None:
    positions = [2.0 * n for n in range(12)]
    write_series(tmp_path / "whole", positions)
    write_series(tmp_path / "gap", positions[:5] + positions[6:])
    run = medai("segment", tmp_path / "gap", "--model", model_path, "--output", out / "o.seg.nrrd", "--json")
    assert_refused(run, "geometry", "missing")
    assert not list(out.iterdir())
    run = medai("segment", tmp_path / "whole", "--model", model_path, "--output", out / "o.seg.nrrd", "--json")
    assert run.code == 0, run.stderr


def test_real_dicom_with_a_missing_slice(medai: Any, model_path: Path, out: Path, shared_data: Path) -> None:
    folder = shared_data / "dicom_small" / "prostatex_missing_slice"
    series = sorted({path.parent for path in folder.rglob("*") if path.is_file()})
    assert series
    for one in series:
        run = medai("segment", one, "--model", model_path, "--output", out / "o.seg.nrrd", "--json")
        assert_refused(run, "geometry")
    assert not list(out.iterdir())

"""``medai prepare`` and ``medai check`` on scenes: of phantoms, and of real data where it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

from integration.training.scenes import build_scenes, fill_scene, sources, warp_transform
from training_phantoms import MATRIX, ball

from medai.dataset.cache import open_cache
from medai.image import Image
from medai.imageio import read_image, read_label_map
from medai.labels import Label, LabelScheme
from medai.mrml import save_scene_mrb, volume_from_image, write_segmentation
from medai.mrml.headless import headless_scene
from medai.mrml.labelled_cases import export_cases, find_scene_cases, labels_of, with_common_channels
from medai.preprocessing.common_grid import on_grid_of

SCHEME = LabelScheme((Label(1, "lower", (1.0, 0.0, 0.0)), Label(2, "upper", (0.0, 1.0, 0.0))))


def write_scene(path: Path, seed: int, labels: np.ndarray | None = None, drop_volume: bool = False) -> Path:
    array, drawn = ball(seed)
    image = Image(array[None], MATRIX, "T1")
    with headless_scene() as host:
        volume = volume_from_image(host.scene, image)
        write_segmentation(
            host.scene, image.with_array(drawn if labels is None else labels), SCHEME, volume, run_id="r", name="drawn"
        )
        if drop_volume:
            host.scene.RemoveNode(volume)
        return save_scene_mrb(host.scene, path)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five scenes: three sound ones, an empty segmentation, and a segmentation whose volume is gone; and no scene."""
    folder = tmp_path_factory.mktemp("scenes")
    for seed in range(3):
        write_scene(folder / f"good {seed}.mrb", seed)
    write_scene(folder / "empty.mrb", 3, np.zeros_like(ball(3)[1]))
    write_scene(folder / "lost.mrb", 4, drop_volume=True)
    (folder / "broken.mrb").write_bytes(b"this is no scene")
    return folder


def test_a_folder_of_scenes_becomes_a_cache_and_what_is_wrong_is_told(medai: Any, scenes: Path, out: Path) -> None:
    run = medai("prepare", scenes, "--output", out / "cache", "--folds", 3, "--json")
    assert run.code == 0, run.stderr
    assert run.data["cases"] == 3
    assert set(run.data["labels"]) == {"lower", "upper"}
    told = " ".join(run.data["warnings"])
    assert all(name in told for name in ("empty", "lost", "broken.mrb"))
    cache = open_cache(out / "cache")
    assert [case.name for case in cache.card.cases] == ["good_0", "good_1", "good_2"]
    for seed, case in enumerate(cache.card.cases):
        assert np.array_equal(cache.load(case).labels, ball(seed)[1])
    assert len(json.loads((out / "cache" / "splits.json").read_text(encoding="utf-8"))["folds"]) == 3
    assert sorted(p.name for p in out.iterdir()) == ["cache"]  # the files in between are gone


def test_the_check_of_scenes_names_what_to_mend(medai: Any, scenes: Path, out: Path) -> None:
    run = medai("check", scenes, "--json")
    assert run.code == 1  # there are errors
    errors = {f["case"] for f in run.data["findings"] if f["severity"] == "error"}
    assert errors == {"empty", "lost"}
    assert all(f["remedy"] for f in run.data["findings"] if f["severity"] == "error")
    text = medai("check", scenes / "good 0.mrb")
    assert "one case only" in " ".join(text.stdout.split())


def test_a_scene_without_a_segmentation_is_refused(medai: Any, out: Path) -> None:
    with headless_scene() as host:
        volume_from_image(host.scene, Image(ball(0)[0][None], MATRIX, "T1"))
        path = save_scene_mrb(host.scene, out / "bare.mrb")
    run = medai("prepare", path, "--output", out / "cache", "--json")
    assert run.code == 1
    assert "segmentation" in run.data["error"]["message"]
    assert not (out / "cache").exists()


def finished(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize(("kind", "count"), [("hippocampus", 3), ("cord", 3)])
def test_labels_of_real_scenes_are_those_of_their_files(shared_data: Path, tmp_path: Path, kind, count) -> None:
    bundles = build_scenes(kind, tmp_path / "scenes", count, data=shared_data)
    found = [case for path in bundles for case in find_scene_cases(path)]
    cases = with_common_channels(found)
    table = labels_of(cases)
    result = finished(export_cases(None, cases, table, tmp_path / "out"))
    assert result.findings == ()
    for number, (case, source) in enumerate(zip(cases, sources(kind, count, shared_data), strict=True)):
        labels, _ = read_label_map(tmp_path / "out" / "labels" / f"{result.files[case.name]}.seg.nrrd")
        image = read_image(tmp_path / "out" / "images" / f"{result.files[case.name]}_0000.nrrd")
        expected, _ = read_label_map(source.labels)
        values = {label.name: label.value for label in table.labels}
        mapped = sum((expected.array == s.value) * values[s.name] for s in source.scheme)
        original = read_image(source.volumes[0][2])
        # Slicer turns the slices of left-handed volumes over when it reads a scene.
        order = slice(None, None, -1 if np.linalg.det(original.ijk_to_ras) < 0 else 1)
        assert np.array_equal(labels.array, mapped[:, order])
        assert np.array_equal(image.array, original.array[:, order])
        first = original.ijk_to_ras @ [0, 0, original.shape[0] - 1 if order.step < 0 else 0, 1]
        moved = not np.allclose(image.ijk_to_ras[:, 3], first, atol=1e-3)
        assert moved == bool(number % 2)  # every second patient lies under a transform
    unknown = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))["unknown"]
    assert bool(unknown) == (kind == "cord")


def test_mr_and_pet_of_real_scenes_come_onto_one_grid(medai: Any, shared_data: Path, out: Path) -> None:
    build_scenes("sarcoma", out / "scenes", 2, data=shared_data)
    run = medai("prepare", out / "scenes", "--output", out / "cache", "--json")
    assert run.code == 0, run.stderr
    card = open_cache(out / "cache").card
    assert [spec.modality for spec in card.inputs] == ["MR", "PT"]
    assert len(card.labels) == 1  # two names, one code
    assert [case.patient for case in card.cases] == [s.patient for s in sources("sarcoma", 2, shared_data)]
    for case, source in zip(card.cases, sources("sarcoma", 2, shared_data), strict=True):
        image = open_cache(out / "cache").load(case).image
        labels = open_cache(out / "cache").load(case).labels
        mr, pet = (read_image(path) for _, _, path in source.volumes)
        if case.name == sources("sarcoma", 1, shared_data)[0].patient:  # not under a transform
            expected = on_grid_of(pet, mr)[0].channel(0)
            assert np.corrcoef(expected.ravel(), _in_file_order(image[1], mr).ravel())[0, 1] > 0.999
        # Tracer gathers in the tumour: where the PET lies wrong, it does not.
        inside = image[1][labels > 0].astype(float).mean()
        assert inside > image[1][labels == 0].astype(float).mean() + 0.5


def _in_file_order(array: np.ndarray, image: Image) -> np.ndarray:
    """Voxels in RAS order back in the order of the file (axes are parallel to the patient's in this data)."""
    signs = np.sign(np.diag(image.ijk_to_ras)[:3])
    return np.asarray(array, np.float32)[tuple(slice(None, None, int(s)) for s in signs[::-1])]


@pytest.mark.slow
def test_a_warped_real_scene_keeps_tumour_and_tracer_together(shared_data: Path, tmp_path: Path) -> None:

    (source,) = sources("sarcoma", 1, shared_data)
    with headless_scene() as host:
        volumes, segmentation = fill_scene(host.scene, source)
        warp = warp_transform(host.scene, volumes[0])
        for node in (*volumes, segmentation):
            node.SetAndObserveTransformNodeID(warp.GetID())
        path = save_scene_mrb(host.scene, tmp_path / "warped.mrb")
    cases = find_scene_cases(path)
    finished(export_cases(None, cases, labels_of(cases), tmp_path / "out"))
    labels, _ = read_label_map(tmp_path / "out" / "labels" / "warped.seg.nrrd")
    mr, pet = (read_image(tmp_path / "out" / "images" / f"warped_{n:04d}.nrrd") for n in range(2))
    assert labels.same_grid(mr)
    assert pet.shape != mr.shape
    tumour = labels.channel(0) > 0
    before, _ = read_label_map(source.labels)
    volume = tumour.sum() * mr.voxel_volume_ml
    assert volume == pytest.approx((before.array > 0).sum() * before.voxel_volume_ml, rel=0.15)
    tracer = on_grid_of(pet, mr)[0].channel(0)
    assert tracer[tumour].mean() > 2 * tracer[~tumour].mean()

"""One case through a model whose right answer is known, on oblique, anisotropic, left-handed grids."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import oblique_matrix

from medai.config.segment import SegmentConfig
from medai.errors import Cancelled, GeometryError, InputError, ModelError
from medai.image import Image, Roi
from medai.metrics import dice
from medai.progress import Progress
from medai.segment import run

SPACING_IJK = (0.9, 1.3, 2.1)
SPACING = SPACING_IJK[::-1]


def picture_of(label_map: Image, intensities: tuple[float, ...] = (0.0, 0.5, 1.0)) -> Image:
    """The image in which every label has its intensity."""
    array = np.array(intensities, np.float32)[label_map.array]
    return Image(array, label_map.ijk_to_ras, name="balls.nii.gz", modality="MR")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("left_handed", [False, True])
def test_labels_lie_where_the_anatomy_is(make_model, sphere_label_map, order, left_handed):
    matrix = oblique_matrix(SPACING_IJK, (2.0, 0.4, -1.0), left_handed=left_handed)
    matrix[:3, :3] = matrix[:3, list(order)]
    truth = Image(sphere_label_map.array, matrix)
    spacing = truth.spacing_mm
    model = make_model(spacing_mm=tuple(sorted(spacing)), values=(3, 300))
    oriented = model.preprocessing.apply(truth).record.orientation.apply_shape(spacing)
    model = make_model(spacing_mm=oriented, values=(3, 300))

    result = run(SegmentConfig(), [picture_of(truth)], model)

    assert np.array_equal(result.label_map.array[0], np.array([0, 3, 300])[truth.array[0]])
    assert result.label_map.array.dtype == np.uint16
    assert np.array_equal(result.label_map.ijk_to_ras, matrix)
    assert result.scheme.names == ("organ 3", "organ 300")
    assert set(result.seconds) == {"load_model", "preprocess", "inference", "postprocess"}
    assert result.engine.startswith("cpu")
    assert result.precision == "exact"
    assert result.peak_memory_mb is None or result.peak_memory_mb > 0
    assert result.warnings == ()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.5), (0.8, 0.8, 0.8)])
def test_another_model_spacing_keeps_place_and_volume(make_model, sphere_label_map, spacing):
    truth = sphere_label_map.with_array((sphere_label_map.array > 0).astype(np.uint8))
    result = run(SegmentConfig(), [picture_of(truth, (0, 1))], make_model(spacing, values=(1,), means=(0.0, 1.0)))
    assert result.label_map.array.dtype == np.uint8
    assert dice(truth.array, result.label_map.array) > 0.93
    assert np.count_nonzero(result.label_map.array) == pytest.approx(np.count_nonzero(truth.array), rel=0.05)


def test_a_planar_model_takes_slices_and_a_single_slice(make_model, sphere_label_map):
    model = make_model((1.0, 1.3, 0.9), patch=(1, 16, 16))
    truth = Image(sphere_label_map.array, np.diag([*SPACING_IJK, 1.0]))
    result = run(SegmentConfig(), [picture_of(truth)], model)
    assert np.array_equal(result.label_map.array, truth.array)
    one = Image(truth.array[:, 10:11], truth.ijk_to_ras)
    assert np.array_equal(run(SegmentConfig(tta=True), [picture_of(one)], model).label_map.array, one.array)


def test_channels_on_other_grids_are_brought_to_the_first(make_model, sphere_label_map):
    truth = sphere_label_map.with_array((sphere_label_map.array > 0).astype(np.uint8))
    noise = np.random.default_rng(0).normal(size=truth.array.shape).astype(np.float32)
    first = Image(noise, truth.ijk_to_ras, "t1.nii.gz", "MR")
    # The same balls on a finer, turned grid.
    matrix = oblique_matrix((1.0, 1.0, 1.0), (0.1, -0.3, 0.8))
    matrix[:3, 3] = (truth.ijk_to_ras @ [23, 16, 10, 1])[:3] - matrix[:3, :3] @ [45, 45, 45]
    second = _sampled(truth, matrix, (91, 91, 91))
    model = make_model((1, 1, 1), (1,), (0.0, 1.0), inputs=("MR", "PT"), channel=1)

    result = run(SegmentConfig(), [first, second], model)

    assert dice(truth.array, result.label_map.array) > 0.9
    assert "pet.nii.gz' was interpolated to the grid of image 't1.nii.gz'" in result.warnings[0]


def _sampled(truth: Image, matrix: np.ndarray, shape: tuple[int, int, int]) -> Image:
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    ijk = np.stack([i, j, k, np.ones_like(i)], -1) @ (np.linalg.inv(truth.ijk_to_ras) @ matrix).T
    index = np.round(ijk[..., :3]).astype(int)
    inside = ((index >= 0) & (index < truth.shape[::-1])).all(-1)
    index = np.clip(index, 0, np.array(truth.shape[::-1]) - 1)
    values = truth.array[0][index[..., 2], index[..., 1], index[..., 0]] * inside
    return Image(values[None].astype(np.float32), matrix, "pet.nii.gz", "PT")


@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_roi_bounds_the_result_and_changes_nothing_inside(make_model, sphere_label_map, angle):
    model = make_model(SPACING, patch=(8, 8, 8))
    image = picture_of(sphere_label_map)
    whole = run(SegmentConfig(), [image], model).label_map.array[0]
    center = (sphere_label_map.ijk_to_ras @ [16, 15, 10, 1])[:3]
    axes = oblique_matrix((1, 1, 1), (angle, 0.0, angle))[:3, :3]
    roi = Roi(tuple(center), (14.0, 11.0, 9.0), tuple(axes.ravel()))
    part = run(SegmentConfig(roi=roi), [image], model).label_map.array[0]

    k, j, i = np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij")
    ras = (np.stack([i, j, k, np.ones_like(i)], -1) @ image.ijk_to_ras.T)[..., :3]
    inside = (np.abs((ras - center) @ axes) <= np.array(roi.size_mm) / 2).all(-1)
    assert (whole[inside] > 0).any()
    assert (whole[~inside] > 0).any()
    assert np.array_equal(part, np.where(inside, whole, 0))


def test_only_the_asked_labels(make_model, sphere_label_map):
    result = run(SegmentConfig(labels=("Organ 2",)), [picture_of(sphere_label_map)], make_model(SPACING))
    assert np.array_equal(result.label_map.array, np.where(sphere_label_map.array == 2, 2, 0))
    assert result.scheme.names == ("organ 2",)
    with pytest.raises(InputError, match=r"no label 'liver'.*organ 1, organ 2"):
        run(SegmentConfig(labels=("liver",)), [picture_of(sphere_label_map)], make_model(SPACING))


def test_keep_largest(make_model, sphere_label_map):
    truth = sphere_label_map.array.copy()
    crumbs = truth.copy()
    crumbs[0, 1, 1:3, 1:3] = 1
    crumbs[0, 20, 30, 44] = 2
    image = picture_of(sphere_label_map.with_array(crumbs))
    assert np.array_equal(run(SegmentConfig(), [image], make_model(SPACING)).label_map.array, crumbs)
    kept = run(SegmentConfig(keep_largest=True), [image], make_model(SPACING)).label_map.array
    assert np.array_equal(kept, truth)


def test_mirroring_changes_nothing_for_a_symmetric_network(make_model, sphere_label_map):
    result = run(SegmentConfig(tta=True, precision="fast"), [picture_of(sphere_label_map)], make_model(SPACING))
    assert np.array_equal(result.label_map.array, sphere_label_map.array)
    assert result.precision == "fast"


def test_folds_are_averaged_or_chosen(make_model, sphere_label_map):
    # Alone, fold 1 calls the first ball (0.5) background; the mean of both does not.
    model = make_model(SPACING, fold_means=((0.0, 0.5, 1.0), (0.3, 0.9, 1.0)))
    image = picture_of(sphere_label_map)
    assert model.folds == (0, 1)
    alone = [run(SegmentConfig(folds=(n,)), [image], model).label_map.array for n in (0, 1)]
    assert np.array_equal(alone[0], sphere_label_map.array)
    assert not (alone[1] == 1).any()
    both = run(SegmentConfig(), [image], model).label_map.array
    assert np.array_equal(both, sphere_label_map.array)
    with pytest.raises(ModelError, match=r"no fold 5.*\[0, 1\]"):
        run(SegmentConfig(folds=(5,)), [image], model)


def test_wrong_inputs_are_refused_with_their_names(make_model, sphere_label_map):
    image = picture_of(sphere_label_map)
    model = make_model(SPACING)
    with pytest.raises(InputError, match=r"takes 1 channels \(input0\), got 2.*balls.nii.gz"):
        run(SegmentConfig(), [image, image], model)
    rgb = Image(np.repeat(image.array, 3, axis=0), image.ijk_to_ras, "rgb.png")
    with pytest.raises(InputError, match=r"got 3: 'rgb.png' \(3 channels\)"):
        run(SegmentConfig(), [rgb], model)
    with pytest.raises(InputError, match="single voxel"):
        run(SegmentConfig(), [Image(np.zeros((1, 1, 1, 1)), np.eye(4), "dot")], model)
    with pytest.raises(InputError, match="not a 3D image"):
        run(SegmentConfig(), [Image(np.zeros((1, 1, 9, 9)), np.eye(4), "slice")], model)
    broken = image.array.copy()
    broken[0, :10] = np.nan
    with pytest.raises(InputError, match="not finite"):
        run(SegmentConfig(), [image.with_array(broken)], model)
    far = Image(image.array, image.ijk_to_ras + np.pad([[900.0]], ((0, 3), (3, 0))), "far.nii.gz")
    with pytest.raises(GeometryError, match=r"far.nii.gz' lies outside of image 'balls.nii.gz'"):
        run(SegmentConfig(), [image, far], make_model(SPACING, inputs=("MR", "MR")))
    with pytest.raises(InputError, match="outside"):
        run(SegmentConfig(roi=Roi.from_bounds([900, 910, 0, 10, 0, 10])), [image], model)


@pytest.mark.parametrize("value", [-1000, 0, 37])
def test_an_image_of_one_value_is_refused(make_model, value):
    image = Image(np.full((1, 20, 20, 20), value, np.int16), np.eye(4), "flat.nii.gz", "MR")
    with pytest.raises(InputError, match=rf"of image 'flat.nii.gz' is {value}: there is nothing to segment"):
        run(SegmentConfig(), [image], make_model())
    image.array[0, 19, 19, 19] += 1
    assert not run(SegmentConfig(), [image], make_model(means=(value, value + 50, value + 99))).label_map.array.any()


def test_a_person_is_warned(make_model, sphere_label_map):
    model = make_model(SPACING, inputs=("CT", "PT"))
    dark = np.random.default_rng(0).integers(-30, -20, (1, 20, 20, 20)).astype(np.int16)
    images = [Image(dark, np.eye(4), "dark.nii.gz", "MR"), Image(np.zeros_like(dark), np.eye(4), "flat.nii.gz", "PT")]
    warnings = "\n".join(run(SegmentConfig(), images, model).warnings)
    assert "Every voxel of image 'flat.nii.gz' (input1) is 0" in warnings
    assert "is MR; the model expects CT" in warnings
    assert "The model found nothing. Check that the image shows what the model was made for (input0 CT" in warnings

    holes = picture_of(sphere_label_map)
    holes.array[0, 0, 0, :3] = np.nan
    result = run(SegmentConfig(), [holes], make_model(SPACING))
    assert "3 voxels" in result.warnings[0]
    assert np.array_equal(result.label_map.array, sphere_label_map.array)


def test_progress_rises_to_one_and_cancel_stops(make_model, sphere_label_map):
    seen: list[Progress] = []
    image, model = picture_of(sphere_label_map), make_model(SPACING, patch=(8, 8, 8))
    run(SegmentConfig(), [image], model, seen.append)
    fractions = [p.fraction for p in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {p.stage for p in seen} == {"Preparing", "Segmenting", "Finishing"}
    with pytest.raises(Cancelled):
        run(SegmentConfig(), [image], model, seen.append, cancelled=lambda: seen[-1].fraction > 0.3)


def test_equal_runs_are_byte_identical(make_model, sphere_label_map):
    image = picture_of(sphere_label_map)
    image.array[0] += np.random.default_rng(0).normal(0, 0.3, image.shape).astype(np.float32)
    model = make_model((1, 1, 1))
    runs = [run(SegmentConfig(tta=True), [image], model).label_map.array.tobytes() for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_network_that_does_not_fit_its_card(make_model, sphere_label_map):
    model = make_model(SPACING, values=(1, 2, 3), means=(0.0, 0.5, 1.0))
    with pytest.raises(ModelError, match="gives 3 classes; its card lists 3 labels"):
        run(SegmentConfig(), [picture_of(sphere_label_map)], model)
    model = make_model(SPACING)
    model.networks[0].layer.bias[2] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        run(SegmentConfig(), [picture_of(sphere_label_map)], model)


def test_body_crop_computes_fewer_tiles_and_loses_nothing(make_model):
    """CT: air is -1000, so that the crop to what is not zero, which nnU-Net does, leaves nothing out."""
    labels = np.zeros((1, 40, 96, 96), np.uint8)
    labels[0, :, 30:62, 28:70] = 1
    labels[0, 8:30, 38:50, 35:60] = 2
    noise = np.random.default_rng(0).normal(0, 10, labels.shape)
    matrix = oblique_matrix(SPACING_IJK, (0.1, 0.2, 3.0), left_handed=True)
    image = Image((np.array([-1000.0, 0.0, 300.0])[labels] + noise).astype(np.int16), matrix, "ct", "CT")
    found, tiles = {}, {}
    for crop in ("none", "nonzero", "body"):
        model = make_model(SPACING, means=(-1000.0, 0.0, 300.0), crop=crop, inputs=("CT",))
        seen: list[int] = []
        model.networks[0].layer.register_forward_pre_hook(lambda _module, _inputs, seen=seen: seen.append(1))
        found[crop] = run(SegmentConfig(), [image], model).label_map.array
        tiles[crop] = len(seen)
    assert np.array_equal(found["none"], labels)
    assert np.array_equal(found["body"], labels)
    assert tiles["body"] < 0.5 * tiles["none"]
    assert tiles["nonzero"] == tiles["none"]
    # The foreground crop does for MR, where air is zero.
    dark = image.with_array(np.where(labels > 0, image.array + 1000, 0).astype(np.int16))
    model = make_model(SPACING, means=(0.0, 1000.0, 1300.0), crop="nonzero")
    model.networks[0].layer.register_forward_pre_hook(lambda _module, _inputs: tiles.update(mr=tiles.get("mr", 0) + 1))
    assert np.array_equal(run(SegmentConfig(), [dark], model).label_map.array, labels)
    assert tiles["mr"] < 0.5 * tiles["none"]

"""Finds a known head (the MNI152 template) in any head MR by affine registration, to locate structures in it.

The similarity is Mattes' mutual information (Mattes et al., IEEE TMI 2003), which needs no equal intensities. It starts
from many poses, because heads come rotated, cropped and with necks, and refines the best ones from coarse to fine.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from medai.image import Affine, Image
from medai.imageio.sitk_bridge import LPS_TO_RAS, to_sitk
from medai.progress import CancelCheck, ProgressCallback, Stage, check_cancelled, never_cancelled, no_progress

logger = logging.getLogger(__name__)

_BRAIN_HEIGHT_MM = 72.0  # from the top of the head to the middle of the brain
_HEAD_HEIGHT_MM = 170.0  # below this distance from the top there is only neck
_TILTS_DEG = (-25.0, 0.0, 25.0)
_LIFTS_MM = (-25.0, 0.0, 25.0)  # cropped heads have no top to measure from
_START_SCALE = 0.9  # the MNI152 head is larger than most
_BORDER_MM = 6.0
_FOCUS_MM = 45.0
_SEED = 20251
_STARTS = 14


@dataclass(frozen=True, eq=False)
class AffineMatch:
    """Where the template lies in an image.

    `template_to_image` (4x4) takes template RAS mm to image RAS mm. `correlation` is that of the intensities inside the
    template's brain (1 for equal pictures), `covered` the part of that brain inside the image's field of view.
    """

    template_to_image: Affine
    correlation: float
    covered: float

    @property
    def merit(self) -> float:
        """Correlation, lowered for the part of the brain that lies outside the image."""
        return self.correlation * self.covered

    @property
    def scales(self) -> npt.NDArray[np.float64]:
        """The three principal stretch factors, largest first."""
        return np.asarray(np.linalg.svd(self.template_to_image[:3, :3], compute_uv=False), dtype=np.float64)

    @property
    def rotation(self) -> npt.NDArray[np.float64]:
        """The rotation (3x3) of the match, without stretch and shear (polar decomposition)."""
        u, _, vt = np.linalg.svd(self.template_to_image[:3, :3])
        rotation: npt.NDArray[np.float64] = u @ vt
        return rotation

    def map_point(self, template_ras: Sequence[float]) -> npt.NDArray[np.float64]:
        """A point of the template, RAS mm, in the image's RAS mm."""
        point: npt.NDArray[np.float64] = (self.template_to_image @ np.array([*template_ras, 1.0]))[:3]
        return point


def register_affine(
    template: Image,
    image: Image,
    focus_ras: Sequence[Sequence[float]] = (),
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> AffineMatch:
    """Find `template` (a brain on a background of zeros) in the first channel of `image`; both on any grid.

    With `focus_ras` (points of the template, RAS mm) the last step fits only the brain within 45 mm of these points.
    The result may be wrong: judge it by `AffineMatch.correlation`, `.covered` and `.scales`. Deterministic.
    """
    report = Stage(progress, "Locating the head")
    fixed = _Pyramid(template)
    moving = _Pyramid(image)
    centre = _brain_centre(template)

    ranked = sorted(_score_starts(fixed, moving, centre, cancelled), key=lambda start: start[0])
    report(0.15)
    matches = []
    for _, start in ranked[:_STARTS]:
        check_cancelled(cancelled)
        matches.append(_refine(fixed, moving, start, spacing_mm=6.0, iterations=60, cancelled=cancelled))
        report(0.15 + 0.35 * len(matches) / _STARTS)
    # Mutual information likes a template blown up over the whole head; correlation does not.
    best = max((match[1] for match in matches), key=lambda found: _judge(fixed, moving, found, 6.0).merit)
    stages = [_to_affine(best)]
    for spacing_mm, iterations, done in ((4.0, 100, 0.75), (2.0, 60, 0.9)):
        stages.append(_refine(fixed, moving, stages[-1], spacing_mm, iterations, cancelled)[1])
        report(done)
    best = max(stages, key=lambda found: _judge(fixed, moving, found, 2.0).merit)
    match = _judge(fixed, moving, best, 2.0)
    if focus_ras:
        fixed.focus_on(focus_ras)
        focused = _judge(fixed, moving, _refine(fixed, moving, best, 2.0, 60, cancelled)[1], 2.0)
        # The focused fit may be worse far from the focus, but a big loss means that it slid away.
        if focused.merit > match.merit - 0.1:
            match = AffineMatch(focused.template_to_image, match.correlation, match.covered)
    report(1.0)
    return match


class _Pyramid:
    """An image at several resolutions, on axis-parallel isotropic grids: obliqueness and anisotropy are gone."""

    def __init__(self, image: Image) -> None:
        self._source = _normalized(image)
        self._levels: dict[float, sitk.Image] = {}
        self._focus_lps: npt.NDArray[np.float64] | None = None

    def focus_on(self, points_ras: Sequence[Sequence[float]]) -> None:
        """From now on masks hold only what is near these points."""
        self._focus_lps = np.asarray(points_ras, dtype=np.float64) @ LPS_TO_RAS[:3, :3]

    def at(self, spacing_mm: float) -> sitk.Image:
        """Float image of this spacing, axes parallel to the world's."""
        if spacing_mm not in self._levels:
            self._levels[spacing_mm] = _isotropic(self._source, spacing_mm)
        return self._levels[spacing_mm]

    def mask_at(self, spacing_mm: float) -> sitk.Image:
        """1 inside the structure on a background of zeros, grown so that its border counts, and near the focus."""
        level = self.at(spacing_mm)
        radius = max(1, round(_BORDER_MM / spacing_mm))
        mask = sitk.BinaryDilate(level > 0.05, [radius] * 3)
        if self._focus_lps is None:
            return mask
        array = sitk.GetArrayFromImage(mask)
        origin = np.array(level.GetOrigin())
        places = origin + spacing_mm * np.indices(array.shape)[::-1].reshape(3, -1).T
        near = np.zeros(len(places), dtype=bool)
        for point in self._focus_lps:
            near |= np.linalg.norm(places - point, axis=1) <= _FOCUS_MM
        focused = sitk.GetImageFromArray(array * near.reshape(array.shape))
        focused.CopyInformation(mask)
        return focused


def _normalized(image: Image) -> sitk.Image:
    """The first channel in SimpleITK, intensities cut at the 0.5 % and 99.5 % quantiles and scaled to 0..1."""
    array = np.nan_to_num(image.array[:1].astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(array, [0.5, 99.5])
    array = np.clip((array - low) / max(high - low, 1e-6), 0.0, 1.0)
    return to_sitk(Image(array, image.ijk_to_ras, image.name))


def _isotropic(itk: sitk.Image, spacing_mm: float) -> sitk.Image:
    # Half of the spacing ratio as sigma keeps what the coarser grid can show.
    sigmas = [max(0.0, 0.5 * np.sqrt(max(spacing_mm**2 - s**2, 0.0))) for s in itk.GetSpacing()]
    for axis, sigma in enumerate(sigmas):
        if sigma > 0.2 and itk.GetSize()[axis] >= 4:
            itk = sitk.RecursiveGaussian(itk, sigma=sigma, direction=axis)
    corners = np.array(
        [
            itk.TransformContinuousIndexToPhysicalPoint(
                [end * (n - 1) for end, n in zip(ends, itk.GetSize(), strict=True)]
            )
            for ends in itertools.product((0.0, 1.0), repeat=3)
        ]
    )
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = np.maximum(np.ceil((high - low) / spacing_mm).astype(int) + 1, 1)
    axes = np.eye(3).ravel().tolist()
    places = (size.tolist(), sitk.Transform(), sitk.sitkLinear, low.tolist(), [spacing_mm] * 3, axes)
    return sitk.Resample(itk, *places, 0.0, sitk.sitkFloat32)


def _brain_centre(template: Image) -> npt.NDArray[np.float64]:
    # In LPS: ITK's side of this module works in LPS throughout.
    index = np.argwhere(template.array[0] > 0.05 * template.array[0].max())
    middle = (index.min(axis=0) + index.max(axis=0)) / 2
    centre: npt.NDArray[np.float64] = (LPS_TO_RAS @ template.ijk_to_ras @ np.array([*middle[::-1], 1.0]))[:3]
    return centre


def _candidate_centres(head: sitk.Image) -> list[npt.NDArray[np.float64]]:
    """Places (LPS) where the brain's middle may be: under the top of the head, at the centre of mass, mid image."""
    array = sitk.GetArrayFromImage(head)
    origin, spacing = np.array(head.GetOrigin()), head.GetSpacing()[0]
    mid_image = origin + spacing * (np.array(head.GetSize()) - 1) / 2
    bright = sitk.GetArrayFromImage(sitk.OtsuThreshold(head, 0, 1)) > 0
    if not bright.any():
        return [mid_image]
    mass = origin + spacing * np.argwhere(bright).mean(axis=0)[::-1]
    slices = np.flatnonzero(bright.sum(axis=(1, 2)) > 0.02 * array.shape[1] * array.shape[2])
    top_k = int(slices.max()) if len(slices) else array.shape[0] - 1
    first_k = max(0, top_k - round(_HEAD_HEIGHT_MM / spacing))
    upper = np.argwhere(bright[first_k : top_k + 1])
    low, high = np.percentile(upper, 2, axis=0), np.percentile(upper, 98, axis=0)
    under_top = origin + spacing * ((low + high) / 2)[::-1]
    under_top[2] = origin[2] + spacing * top_k - _BRAIN_HEIGHT_MM
    return [under_top, mass, mid_image]


def _starts(centres: Sequence[npt.NDArray[np.float64]], pivot: npt.NDArray[np.float64]) -> Iterator[sitk.Transform]:
    for centre, lift, tilt in itertools.product(centres, _LIFTS_MM, itertools.product(_TILTS_DEG, repeat=3)):
        shift = centre + np.array([0.0, 0.0, lift]) - pivot
        rigid = sitk.Euler3DTransform(pivot.tolist(), *np.deg2rad(tilt).tolist(), shift.tolist())
        start = sitk.Similarity3DTransform()
        start.SetCenter(pivot.tolist())
        start.SetMatrix(rigid.GetMatrix())
        start.SetScale(_START_SCALE)
        start.SetTranslation(rigid.GetTranslation())
        yield start


def _score_starts(
    fixed: _Pyramid, moving: _Pyramid, pivot: npt.NDArray[np.float64], cancelled: CancelCheck
) -> Iterator[tuple[float, sitk.Transform]]:
    centres = _candidate_centres(moving.at(6.0))
    for start in _starts(centres, pivot):
        check_cancelled(cancelled)
        method = _method(fixed, 8.0)
        method.SetInitialTransform(start)
        try:
            yield method.MetricEvaluate(fixed.at(8.0), moving.at(8.0)), start
        except RuntimeError:  # ITK's error for too little overlap: no start worth following
            continue


def _method(fixed: _Pyramid, spacing_mm: float) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=32)
    method.SetMetricFixedMask(fixed.mask_at(spacing_mm))
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _refine(
    fixed: _Pyramid, moving: _Pyramid, start: sitk.Transform, spacing_mm: float, iterations: int, cancelled: CancelCheck
) -> tuple[float, sitk.Transform]:
    method = _method(fixed, spacing_mm)
    if spacing_mm < 4.0:
        method.SetMetricSamplingStrategy(sitk.ImageRegistrationMethod.RANDOM)
        method.SetMetricSamplingPercentage(0.2, _SEED)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=spacing_mm, minStep=0.01, numberOfIterations=iterations, relaxationFactor=0.6,
        gradientMagnitudeTolerance=1e-6,
    )  # fmt: skip
    method.SetOptimizerScalesFromPhysicalShift()
    transform = type(start)(start)
    method.SetInitialTransform(transform, inPlace=True)
    method.AddCommand(sitk.sitkIterationEvent, lambda: method.StopRegistration() if cancelled() else None)
    try:
        method.Execute(fixed.at(spacing_mm), moving.at(spacing_mm))
    except RuntimeError as error:  # ITK's error where the pose ran out of the image
        logger.debug("a start of the registration was given up: %s", error)
        return float("inf"), start
    check_cancelled(cancelled)
    return method.GetMetricValue(), transform


def _to_affine(transform: sitk.Transform) -> sitk.Transform:
    affine = sitk.AffineTransform(3)
    affine.SetCenter(transform.GetCenter())
    affine.SetMatrix(transform.GetMatrix())
    affine.SetTranslation(transform.GetTranslation())
    return affine


def _judge(fixed: _Pyramid, moving: _Pyramid, transform: sitk.Transform, spacing_mm: float) -> AffineMatch:
    template, head = fixed.at(spacing_mm), moving.at(spacing_mm)
    warped = sitk.GetArrayFromImage(sitk.Resample(head, template, transform, sitk.sitkLinear, -1.0))
    brain = sitk.GetArrayFromImage(template)
    inside = (brain > 0.05) & (warped > -0.5)
    covered = float(inside.sum() / max((brain > 0.05).sum(), 1))
    correlation = 0.0
    if inside.sum() > 100 and warped[inside].std() > 0:
        correlation = float(np.corrcoef(brain[inside], warped[inside])[0, 1])
    offset = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack(
        [np.array(transform.TransformPoint(axis)) - offset for axis in np.eye(3).tolist()], axis=1
    )
    matrix[:3, 3] = offset
    return AffineMatch(LPS_TO_RAS @ matrix @ LPS_TO_RAS, correlation, covered)

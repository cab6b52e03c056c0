"""Whether the slices of a DICOM series form one regular grid, and the grid. Nothing is ever bent to fit.

Tolerances. A slice may lie off the regular grid by at most 5 % of the slice distance, or by 0.1 mm where that is more
(scanners round positions to 0.1 mm), but never by more than 20 % of the slice distance. The stack may lean by at most
0.001 mm per mm against the slices' normal. Direction cosines (absolute) and pixel sizes (relative) agree within 0.001.
"""

from __future__ import annotations

from collections import Counter
from typing import NoReturn

import numpy as np

from medai.errors import GeometryError
from medai.image import Affine
from medai.imageio.dicom_headers import DicomSlice
from medai.imageio.sitk_bridge import LPS_TO_RAS, SHEAR_TOLERANCE

_AGREEMENT = 1e-3
_OFF_GRID_FRACTION = 0.05
_ROUNDING_MM = 0.1
_ROUNDING_FRACTION = 0.2
_REGULARISE = "Load it in 3D Slicer with Acquisition Geometry Regularization, and save the volume as .nrrd."
_IN_SLICER = "Load it in 3D Slicer's DICOM module, look at it, and save the volume as .nrrd."


def ordered_stack(slices: list[DicomSlice]) -> tuple[list[DicomSlice], Affine]:
    """The slices in order along their normal, and ijk -> RAS (mm) of the volume that they form.

    Raises GeometryError that names the cause and the files for: multi-frame and mosaic files, slices without a
    position, different sizes, pixel sizes or orientations, several images of one place (4D), missing slices,
    variable spacing, and a tilted gantry.
    """
    where = f"The DICOM series in '{slices[0].file.parent}'"
    _refuse_several_frames(slices, where)
    _refuse_different(slices, where)
    cosines = np.array(slices[0].orientation).reshape(2, 3)
    normal = np.cross(cosines[0], cosines[1])
    if abs(np.linalg.norm(normal) - 1.0) > 10 * _AGREEMENT:
        _fail(where, f"has slice directions that are not at right angles: {slices[0].orientation}", _IN_SLICER)
    heights = np.array([np.dot(normal, s.position) for s in slices if s.position is not None])
    order = np.argsort(heights, kind="stable")
    slices, heights = [slices[n] for n in order], heights[order]
    _refuse_doubled(slices, heights, where)
    step = _step(slices, heights, normal, where)
    matrix = np.eye(4)
    rows_mm, columns_mm = slices[0].spacing or (1.0, 1.0)
    matrix[:3, 0] = cosines[0] * columns_mm
    matrix[:3, 1] = cosines[1] * rows_mm
    matrix[:3, 2] = step
    matrix[:3, 3] = slices[0].position
    ras: Affine = LPS_TO_RAS @ matrix
    return slices, ras


def _fail(where: str, problem: str, remedy: str) -> NoReturn:
    raise GeometryError(f"{where} {problem}.", remedy)


def _refuse_several_frames(slices: list[DicomSlice], where: str) -> None:
    for s in slices:
        if s.frames > 1:
            _fail(where, f"has {s.frames} frames in one file ('{s.file.name}')", "Multi-frame files: " + _IN_SLICER)
        if "MOSAIC" in s.frame_tags.get("image type", "").upper():
            _fail(
                where,
                f"is a mosaic: '{s.file.name}' holds all slices of a time point side by side",
                "Convert it with dcm2niix, and give one 3D volume of the result.",
            )
        if s.position is None or s.orientation is None or s.spacing is None:
            _fail(
                where,
                f"has no position, orientation or pixel size in '{s.file.name}'",
                "Only slices that say where they lie in the patient form a volume.",
            )


def _refuse_different(slices: list[DicomSlice], where: str) -> None:
    first = slices[0]
    sizes = Counter(s.size for s in slices)
    if len(sizes) > 1:
        listed = ", ".join(f"{n} of {i} x {j}" for (i, j), n in sizes.most_common())
        _fail(where, f"has slices of different sizes: {listed}", "Remove the slices that do not belong to the volume.")
    for s in slices:
        if not np.allclose(s.orientation or (), first.orientation or (), atol=_AGREEMENT):
            _fail(
                where,
                f"has slices of different orientations: '{first.file.name}' and '{s.file.name}'",
                "Give slices of one direction only (a localizer holds three).",
            )
        if not np.allclose(s.spacing or (), first.spacing or (), rtol=_AGREEMENT, atol=0):
            _fail(
                where,
                f"has different pixel sizes: {first.spacing} mm in '{first.file.name}', {s.spacing} in '{s.file.name}'",
                "Remove the slices that do not belong to the volume.",
            )


def _refuse_doubled(slices: list[DicomSlice], heights: np.ndarray, where: str) -> None:
    steps = np.diff(heights)
    span = float(heights[-1] - heights[0])
    doubled = steps <= max(1e-3, 1e-3 * span / max(1, len(slices) - 1))
    if not doubled.any():
        return
    n = int(np.argmax(doubled))
    a, b = slices[n], slices[n + 1]
    if a.instance == b.instance:
        _fail(where, f"holds an image twice: '{a.file.name}' and '{b.file.name}'", "Remove the copies.")
    tags = sorted(a.frame_tags.keys() | b.frame_tags.keys())
    differing = [tag for tag in tags if a.frame_tags.get(tag) != b.frame_tags.get(tag)]
    reason = f"; they differ in {', '.join(differing)}" if differing else ""
    places = len(slices) - int(doubled.sum())
    _fail(
        where,
        f"is 4D: {len(slices)} images at {places} places, e.g. '{a.file.name}' and '{b.file.name}'{reason}",
        "Give the images of one time point, echo or b-value in a folder of their own.",
    )


def _step(slices: list[DicomSlice], heights: np.ndarray, normal: np.ndarray, where: str) -> np.ndarray:
    """The vector (mm, LPS) from one slice to the next."""
    if len(slices) == 1:
        return normal * (slices[0].thickness_mm or 1.0)
    positions = np.array([s.position for s in slices])
    step: np.ndarray = (positions[-1] - positions[0]) / (len(slices) - 1)
    distance = float(np.dot(step, normal))
    regular = heights[0] + distance * np.arange(len(slices))
    tolerance = max(_OFF_GRID_FRACTION * distance, min(_ROUNDING_MM, _ROUNDING_FRACTION * distance))
    if np.abs(heights - regular).max() > tolerance:
        _refuse_irregular(slices, np.diff(heights), where)
    lean = float(np.linalg.norm(step - distance * normal)) / distance
    if lean > SHEAR_TOLERANCE:
        degrees = np.degrees(np.arctan(lean))
        _fail(
            where,
            f"was taken with a tilted gantry: the stack leans by {degrees:.1f} degrees against its slices",
            _REGULARISE,
        )
    line = positions[0] + np.arange(len(slices))[:, None] * step
    wobble = np.linalg.norm(positions - line, axis=1)
    if wobble.max() > tolerance:
        n = int(np.argmax(wobble))
        _fail(
            where,
            f"has slices that are shifted sideways, e.g. '{slices[n].file.name}' by {wobble[n]:.2f} mm",
            _IN_SLICER,
        )
    return step


def _refuse_irregular(slices: list[DicomSlice], steps: np.ndarray, where: str) -> NoReturn:
    usual = float(np.median(steps))
    wide = np.flatnonzero(steps > 1.5 * usual)
    counts = steps / usual
    off = np.abs(counts - np.round(counts))
    if wide.size and (off <= 0.1).all():
        missing = int(np.round(counts).sum()) - len(steps)
        a, b = slices[wide[0]], slices[wide[0] + 1]
        _fail(
            where,
            f"lacks {missing} slice(s): between '{a.file.name}' and '{b.file.name}' lie {steps[wide[0]]:.2f} mm "
            f"instead of {usual:.2f} mm",
            "Export the whole series again from its source.",
        )
    _fail(
        where,
        f"has a variable spacing of its slices: {steps.min():.2f} to {steps.max():.2f} mm, usually {usual:.2f} mm",
        _REGULARISE,
    )

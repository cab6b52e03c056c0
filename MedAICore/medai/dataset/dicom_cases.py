"""DICOM image series with DICOM segmentations (SEG) as a data set on disk: the layout that scenes are exported to.

A SEG belongs to the series whose UID it references. Several SEGs of one series are one case; where their segments
overlap, the one that comes later in the table of labels wins. Segments of different cases are one label by their codes
(medai.label_table). Fractional segments count from a half. Reading SEG is highdicom's (Bridge et al. 2022).
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medai.dataset.cache import ExcludedCase
from medai.dataset_json import DescribedCase, file_names, write_dataset_json
from medai.errors import DatasetError, EnvironmentFailure, MedAIError, output_error
from medai.image import Affine, Array, Image
from medai.label_table import LabelTable, SegmentInfo, labels_of
from medai.labels import Code, LabelScheme, Terminology, distinct_color
from medai.progress import CancelCheck, ProgressCallback, Stage, check_cancelled, never_cancelled, no_progress

_log = logging.getLogger(__name__)
_SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_HEADER_TAGS = ("SOPClassUID", "SeriesInstanceUID", "PatientID", "PatientName", "Modality", "SeriesNumber",
                "SegmentationType", "ReferencedSeriesSequence", "SegmentSequence")  # fmt: skip
_HALF = 0.5
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class DicomCase:
    """An image series (`image` is one of its files) and the SEG files about it; `sources` names each segment's file."""

    name: str
    patient: str
    modality: str
    image: Path
    segmentations: tuple[Path, ...]
    segments: tuple[SegmentInfo, ...]
    sources: tuple[Path, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DicomListing:
    """The cases of a DICOM folder, and the SEG files whose images are not there."""

    cases: tuple[DicomCase, ...]
    excluded: tuple[ExcludedCase, ...]


def has_dicom_segmentations(folder: Path) -> bool:
    """Whether any file in the folder, or in the folders in it, is a DICOM SEG."""
    if importlib.util.find_spec("pydicom") is None:
        return False
    return any(str(header.SOPClassUID) in _SEG_CLASSES for _, header in _headers(folder))


def list_dicom(folder: Path) -> DicomListing:
    """The image series of a folder (and of the folders in it) that a SEG is about."""
    _require_highdicom()
    series: dict[str, list[tuple[Path, Any]]] = {}
    found: dict[str, list[tuple[Path, Any]]] = {}
    excluded = []
    everything = list(_headers(folder))
    for path, header in everything:
        if str(header.SOPClassUID) not in _SEG_CLASSES:
            series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    for path, header in everything:
        if str(header.SOPClassUID) not in _SEG_CLASSES:
            continue
        referenced = [str(item.SeriesInstanceUID) for item in header.get("ReferencedSeriesSequence", ())]
        mine = next((uid for uid in referenced if uid in series), None)
        if mine is None:
            reason = "the images that it is about are not in the folder." if referenced else "it names no image series."
            excluded.append(ExcludedCase(_relative(path, folder), reason))
        else:
            found.setdefault(mine, []).append((path, header))
    cases = [_case(series[uid], segmentations) for uid, segmentations in found.items()]
    names = _case_names(cases)
    named = [replace(case, name=name) for case, name in zip(cases, names, strict=True)]
    return DicomListing(tuple(named), tuple(excluded))


def export_dicom(
    folder: Path,
    output: Path,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> list[str]:
    """Write the cases of a DICOM folder to the new folder `output` (images/, labels/, dataset.json); gives notes.

    DatasetError where there is no case, OutputError where it cannot be written. Cases that cannot be read are listed in
    dataset.json with the reason.
    """
    from medai.imageio import write_image, write_label_map

    listing = list_dicom(folder)
    table = labels_of(listing.cases)
    files = file_names([case.name for case in listing.cases])
    excluded = {case.name: case.reason for case in listing.excluded}
    described: list[DescribedCase] = []
    notes: list[str] = []
    modality = ""
    stage = Stage(progress, "reading DICOM", 0.0, 1.0)
    try:
        for sub in ("images", "labels"):
            (output / sub).mkdir(parents=True)
        for number, case in enumerate(listing.cases):
            check_cancelled(cancelled)
            file = files[case.name]
            try:
                image, labels, told = read_dicom_case(case, table)
            except MedAIError as error:
                excluded[file] = str(error)
            else:
                known = {row.name for row in map(table.row_of, case.segments) if row is not None}
                scheme = LabelScheme(tuple(label for label in table.labels if label.name in known))
                write_image(output / "images" / f"{file}_0000.nrrd", image)
                write_label_map(output / "labels" / f"{file}.seg.nrrd", labels, scheme)
                described.append(DescribedCase(file, case.patient, table.unknown_in(case)))
                modality = modality or case.modality
                notes += [f"{case.name}: {note}" for note in (*case.notes, *told)]
            stage((number + 1) / len(listing.cases))
        if not described:
            reasons = " ".join(f"{name}: {reason}" for name, reason in list(excluded.items())[:5])
            raise DatasetError(
                f"'{folder}' has no image series with a segmentation that can be used. {reasons}".strip(),
                "Give the folder with the images and their DICOM SEG.",
            )
        write_dataset_json(output / "dataset.json", folder.name, [modality], table, described, excluded)
    except OSError as error:
        raise output_error(output, error) from error
    return notes


def read_dicom_case(case: DicomCase, table: LabelTable) -> tuple[Image, Image, list[str]]:
    """Image and label map (on the image's grid, values of the table) of a case, and notes; MedAIError on failure."""
    import highdicom

    from medai.imageio import read_image

    image = read_image(case.image)
    labels = np.zeros(image.shape, np.uint8 if len(table.labels) < 256 else np.uint16)
    notes: list[str] = []
    for path in case.segmentations:
        try:
            seg = highdicom.seg.segread(path)
            for info, number in zip(_of_file(case, path), _segment_numbers(seg), strict=True):
                value = table.value_of(info)
                if value:
                    mask = _on_image_grid(*_mask(seg, number), image)
                    _lay(labels, mask, value, table, notes)
        except (ValueError, RuntimeError, AttributeError, KeyError, TypeError, NotImplementedError) as error:
            raise DatasetError(f"The segmentation '{path}' cannot be read: {error}", "Export it again.") from error
    return image, Image(labels[None], image.ijk_to_ras, case.name), notes


def _lay(labels: Array, mask: Array, value: int, table: LabelTable, notes: list[str]) -> None:
    """Put a segment into the label map; the higher value stays where two meet, and a note tells of it."""
    names = {label.value: label.name for label in table.labels}
    here = labels[mask]
    meet = here[(here != 0) & (here != value)]
    for other, count in zip(*np.unique(meet, return_counts=True), strict=True):
        lost, won = sorted((int(other), value))
        notes.append(f"'{names[lost]}' and '{names[won]}' overlap in {count} voxels; these count as '{names[won]}'.")
    labels[mask] = np.maximum(here, value)


def _mask(seg: Any, number: int) -> tuple[Array, Affine]:
    """The voxels of a segment (bool, its three axes) and the matrix from their indices to RAS mm."""
    volume = seg.get_volume(
        segment_numbers=[number],
        combine_segments=False,
        rescale_fractional=True,
        allow_missing_positions=True,
    )
    array = np.asarray(volume.array)
    array = array[..., 0] if array.ndim == 4 else array
    matrix: Affine = _LPS_TO_RAS @ np.asarray(volume.affine, dtype=np.float64)
    mask: Array = array >= _HALF if array.dtype.kind == "f" else array > 0
    return mask, matrix


def _on_image_grid(mask: Array, matrix: Affine, image: Image) -> Array:
    """The mask on the image's voxels (k, j, i), the nearest of its own each."""
    from scipy import ndimage

    index_of = np.linalg.inv(matrix) @ image.ijk_to_ras  # (i, j, k) of the image -> axes of the mask
    columns = index_of[:3, :3][:, ::-1]  # so that it takes (k, j, i)
    # scipy counts what lies beyond the centres of the outermost voxels, if only by rounding, as outside: so a margin.
    near: Array = ndimage.affine_transform(
        np.pad(mask.astype(np.uint8), 1), columns, index_of[:3, 3] + 1.0, output_shape=image.shape, order=0, cval=0
    )
    return near.astype(bool)


def _headers(folder: Path) -> Iterator[tuple[Path, Any]]:
    """Path and header (the tags that are needed) of every DICOM file with an object class."""
    import pydicom

    from medai.imageio.dicom_series import is_dicom

    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or not is_dicom(path):
            continue
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_HEADER_TAGS))
        except (pydicom.errors.InvalidDicomError, OSError, ValueError, KeyError) as error:
            _log.debug("%s is passed over: %s", path, error)
            continue
        if header.get("SOPClassUID"):
            yield path, header


def _case(images: Sequence[tuple[Path, Any]], segmentations: Sequence[tuple[Path, Any]]) -> DicomCase:
    path, header = images[0]
    segments: list[SegmentInfo] = []
    sources: list[Path] = []
    notes: list[str] = []
    for seg_path, seg in segmentations:
        found = [item for item in seg.SegmentSequence if int(item.SegmentNumber) != 0]
        segments += [_segment_info(item, len(segments) + n) for n, item in enumerate(found)]
        sources += [seg_path] * len(found)
        if seg.get("SegmentationType") == "FRACTIONAL":
            notes.append(f"'{seg_path.name}' has fractional segments; voxels of at least a half count.")
    patient = str(header.get("PatientID") or header.get("PatientName") or path.parent.name)
    return DicomCase(
        f"{patient} series {header.get('SeriesNumber', '')}".strip(),
        patient,
        _modality(str(header.get("Modality", ""))),
        path,
        tuple(seg_path for seg_path, _ in segmentations),
        tuple(segments),
        tuple(sources),
        tuple(notes),
    )


def _modality(code: str) -> str:
    return code if code in ("CT", "MR", "PT", "US", "NM", "XA", "MG", "CR", "DX") else ""


def _segment_info(item: Any, number: int) -> SegmentInfo:
    name = str(item.get("SegmentLabel") or f"segment {item.SegmentNumber}").strip()
    region = (item.get("AnatomicRegionSequence") or [None])[0]
    category = _code(item.get("SegmentedPropertyCategoryCodeSequence"))
    kind = _code(item.get("SegmentedPropertyTypeCodeSequence"))
    terminology = None
    if category is not None and kind is not None:
        kind_item = item.SegmentedPropertyTypeCodeSequence[0]
        terminology = Terminology(
            category,
            kind,
            _code(kind_item.get("SegmentedPropertyTypeModifierCodeSequence")),
            _code(item.get("AnatomicRegionSequence")),
            _code(region.get("AnatomicRegionModifierSequence")) if region is not None else None,
        )
    return SegmentInfo(f"{number}:{item.SegmentNumber}", name, distinct_color(number), terminology)


def _code(sequence: Any) -> Code | None:
    if not sequence:
        return None
    item = sequence[0]
    return Code(str(item.CodingSchemeDesignator), str(item.CodeValue), str(item.get("CodeMeaning", "")))


def _segment_numbers(seg: Any) -> list[int]:
    return [int(item.SegmentNumber) for item in seg.SegmentSequence if int(item.SegmentNumber) != 0]


def _of_file(case: DicomCase, path: Path) -> list[SegmentInfo]:
    return [info for info, source in zip(case.segments, case.sources, strict=True) if source == path]


def _case_names(cases: Sequence[DicomCase]) -> list[str]:
    names: list[str] = []
    for case in cases:
        same = sum(other.name == case.name for other in cases)
        names.append(case.name if same == 1 else f"{case.name} {1 + sum(n.startswith(case.name) for n in names)}")
    return names


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _require_highdicom() -> None:
    if importlib.util.find_spec("highdicom") is None:
        raise EnvironmentFailure(
            "Reading DICOM segmentations needs the package highdicom, which is not installed here.",
            "Install it (pip install highdicom), or load them in 3D Slicer and save scenes.",
        )

"""The headers of DICOM files: what is needed to find a series and to judge whether its slices form one volume."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from medai.imageio.sitk_bridge import quiet_itk

_log = logging.getLogger(__name__)

# DICOM objects that are no images of a patient's anatomy, by the beginning of their SOP class (PS3.4, annex B.5).
_STORAGE = "1.2.840.10008.5.1.4.1.1."
OTHER_OBJECTS = {
    _STORAGE + "66.4": "segmentation (SEG)",
    _STORAGE + "66.7": "label map segmentation (SEG)",
    _STORAGE + "66": "registration or surface",
    _STORAGE + "481.3": "contours (RTSTRUCT)",
    _STORAGE + "481.2": "dose (RTDOSE)",
    _STORAGE + "481.5": "plan (RTPLAN)",
    _STORAGE + "11.": "presentation state",
    _STORAGE + "30": "parametric map",
    _STORAGE + "88.": "structured report",
    _STORAGE + "104.": "document",
    "1.2.840.10008.1.3.10": "media directory (DICOMDIR)",
}
# What tells apart several images of one place: each tag's name for a person.
_FRAME_TAGS = {
    "0020|0100": "time point", "0018|9087": "b-value", "0018|0081": "echo time", "0018|1060": "trigger time",
    "0020|0012": "acquisition number", "0018|1314": "flip angle", "0008|0008": "image type",
    "0008|0032": "acquisition time", "0008|0033": "content time",
}  # fmt: skip


@dataclass(frozen=True)
class DicomSlice:
    """One file of a series. `size` is (i, j); `position` (mm, LPS), `orientation` (6 cosines): None where absent."""

    file: Path
    series: str
    instance: str
    description: str
    modality: str
    size: tuple[int, int]
    frames: int
    components: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness_mm: float
    slope: float
    intercept: float
    other_object: str = ""
    frame_tags: dict[str, str] = field(default_factory=dict)


def is_dicom(path: Path) -> bool:
    """Whether the file begins as a DICOM file does; also old files without the ``DICM`` mark."""
    if not path.is_file():
        return False
    with open(path, "rb") as stream:
        block = stream.read(132)
    if block[128:132] == b"DICM":
        return True
    return path.suffix.lower() in ("", ".dcm", ".ima") and block[:2] in (b"\x08\x00", b"\x00\x08") and len(block) == 132


def read_headers(files: list[Path]) -> list[DicomSlice]:
    """The headers of those `files` that are DICOM; files that are not are passed over (and logged)."""
    headers = []
    for file in files:
        header = read_header(file) if is_dicom(file) else None
        if header is None:
            _log.debug("%s is not a DICOM file and is passed over", file)
        else:
            headers.append(header)
    return headers


def read_header(file: Path) -> DicomSlice | None:
    """The header of one DICOM file, None where GDCM cannot read it; `other_object` is set where it is no image."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    try:
        with quiet_itk():
            reader.ReadImageInformation()
    except RuntimeError as error:
        # GDCM reads headers of images only: contours, reports and the like end here, and so do broken files.
        _log.debug("GDCM cannot read %s as an image: %s", file, error)
        return None
    keys = set(reader.GetMetaDataKeys())

    def text(tag: str) -> str:
        return reader.GetMetaData(tag).strip().strip("\0") if tag in keys else ""

    sop_class = text("0008|0016")
    size = reader.GetSize()
    return DicomSlice(
        file=file,
        series=text("0020|000e"),
        instance=text("0008|0018"),
        description=text("0008|103e"),
        modality=text("0008|0060"),
        size=(int(size[0]), int(size[1])),
        frames=int(_first(text("0028|0008")) or 1),
        components=reader.GetNumberOfComponents(),
        position=_numbers(text("0020|0032"), 3),
        orientation=_numbers(text("0020|0037"), 6),
        spacing=_numbers(text("0028|0030"), 2),
        thickness_mm=_first(text("0018|0088")) or _first(text("0018|0050")),
        slope=_first(text("0028|1053"), 1.0),
        intercept=_first(text("0028|1052"), 0.0),
        other_object=next((name for prefix, name in OTHER_OBJECTS.items() if sop_class.startswith(prefix)), ""),
        frame_tags={name: text(tag) for tag, name in _FRAME_TAGS.items() if text(tag)},
    )


def _numbers(text: str, count: int) -> tuple[float, ...] | None:
    """`count` decimal numbers separated by backslashes; None where the text is not that."""
    try:
        values = tuple(float(part) for part in text.split("\\"))
    except ValueError:
        return None
    return values if len(values) == count else None


def _first(text: str, default: float = 0.0) -> float:
    """One decimal number; the default where the text is none."""
    values = _numbers(text, 1)
    return default if values is None else values[0]

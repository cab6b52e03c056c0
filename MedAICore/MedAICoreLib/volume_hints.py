"""What a volume seems to be: modality and the reason to think so, from its tags, units, values and name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from medai.image import Image
from medai.mrml import image_from_volume

# Most voxels that are looked at along each axis: enough for a range, too few to be felt.
SAMPLES = 24
_NAME_WORDS = {
    "CT": {"ct", "cta", "cbct", "hu", "ctpa"},
    "MR": {"mr", "mri", "t1", "t2", "t1w", "t2w", "t1c", "t1ce", "flair", "mprage", "dwi", "adc", "swi", "tof"},
    "PT": {"pet", "suv", "fdg"},
    "US": {"us", "ultrasound"},
    "DX": {"xray", "cxr", "dx"},
}


@dataclass(frozen=True)
class VolumeHints:
    """What is known or guessed about a volume.

    `modality`: DICOM's code, empty where nothing tells. `certain`: a tag or the units say so, not a guess. `why`: for a
    person. `low`, `high`: range of sampled voxels. `spacing` and `size` in mm along (i, j, k); `shape` in voxels.
    """

    name: str
    modality: str
    certain: bool
    why: str
    low: float
    high: float
    houndsfieldLike: bool
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]

    @property
    def size(self) -> tuple[float, float, float]:
        """Extent in mm along (i, j, k)."""
        return tuple(n * s for n, s in zip(self.shape, self.spacing, strict=True))

    @property
    def words(self) -> set[str]:
        """The words of the name in lower case: "MRHead_t1" gives mr, head, mrhead, t1."""
        camel = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+", self.name)
        return {word.casefold() for word in [*camel, *re.split(r"[^A-Za-z0-9]+", self.name)] if word}


def volumeHints(volume: Any) -> VolumeHints:
    """Look at the volume node's tags, units, a sample of its voxels, and its name."""
    image = image_from_volume(volume, copy=False)
    low, high, like = _range(image)
    spacing = tuple(float(s) for s in volume.GetSpacing())
    plain = VolumeHints(volume.GetName() or "", "", False, "", low, high, like, spacing, image.shape[::-1])
    for modality, certain, why in (
        (_taggedModality(volume), True, _("its DICOM tags say so")),
        (_unitModality(volume), True, _("its values are in Hounsfield units")),
        ("CT" if like else "", False, _("its values look like Hounsfield units")),
        (_namedModality(plain.words), False, _("its name says so")),
    ):
        if modality:
            return VolumeHints(plain.name, modality, certain, why, low, high, like, spacing, plain.shape)
    return plain


def _range(image: Image) -> tuple[float, float, bool]:
    """Smallest and largest sampled voxel, and whether air and soft tissue lie where Hounsfield units have them."""
    steps = tuple(slice(None, None, -(-n // SAMPLES)) for n in image.shape)
    sample = np.asarray(image.channel(0)[steps], np.float64).ravel()
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 0.0, False
    low, high = float(sample.min()), float(sample.max())
    inside = sample[(sample > -1100) & (sample < 3100)]  # outside of it: padding, metal
    if inside.size < sample.size / 2:
        return low, high, False
    air, tissue = (inside < -700).mean(), ((inside > -200) & (inside < 400)).mean()
    # A CT cropped to an organ has hardly any air, but fat and water on either side of zero.
    fat = ((inside > -150) & (inside < -30)).mean()
    return low, high, bool((air > 0.02 and tissue > 0.05) or (low > -1100 and fat > 0.05 and tissue > 0.6))


def _taggedModality(volume: Any) -> str:
    """DICOM's modality of the series, as the subject hierarchy keeps it."""
    hierarchy = volume.GetScene().GetSubjectHierarchyNode() if volume.GetScene() is not None else None
    item = hierarchy.GetItemByDataNode(volume) if hierarchy is not None else 0
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    return str(hierarchy.GetItemAttribute(item, name) or "") if item else ""


def _unitModality(volume: Any) -> str:
    units = volume.GetVoxelValueUnits()
    return "CT" if units is not None and units.GetCodeValue() == "[hnsf'U]" else ""


def _namedModality(words: set[str]) -> str:
    found = [modality for modality, known in _NAME_WORDS.items() if words & known]
    return found[0] if len(found) == 1 else ""

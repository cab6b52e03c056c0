"""What a file holds, as plain data for a person or a program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medai.image import Image
from medai.imageio.label_maps import read_label_map
from medai.imageio.reading import read_image
from medai.imageio.suffixes import SEGMENTATION, image_suffix
from medai.labels import LabelScheme


def describe(path: Path | str) -> dict[str, Any]:
    """Size, spacing (mm), place (RAS), voxel type and intensities of an image, or the segments of a .seg.nrrd.

    Sizes and spacings are in the order (i, j, k), as file headers write them. The whole file is read, so that damage is
    found. Raises what `read_image` and `read_label_map` raise.
    """
    path = Path(path)
    if image_suffix(path) == SEGMENTATION and path.is_file():
        image, scheme = read_label_map(path)
        return _grid(path, image) | {"segments": _segments(image, scheme)}
    image = read_image(path)
    return _grid(path, image) | _intensities(image)


def _grid(path: Path, image: Image) -> dict[str, Any]:
    return {
        "file": str(path),
        "name": image.name,
        "modality": image.modality,
        "size_ijk": list(image.shape[::-1]),
        "spacing_mm_ijk": [round(mm, 6) for mm in image.spacing_mm[::-1]],
        "axes": _axis_letters(image),
        "right_handed": bool(np.linalg.det(image.ijk_to_ras[:3, :3]) > 0),
        "first_voxel_ras_mm": [round(float(mm), 4) for mm in image.ijk_to_ras[:3, 3]],
        "ijk_to_ras": [[float(number) for number in row] for row in image.ijk_to_ras],
        "voxel_type": image.array.dtype.name,
    }


def _axis_letters(image: Image) -> str:
    """The patient direction that i, j and k point to most: ``LPS`` for i to the left, j to the back, k to the head."""
    columns = image.ijk_to_ras[:3, :3] / np.linalg.norm(image.ijk_to_ras[:3, :3], axis=0)
    letters, free = {}, {0, 1, 2}
    # The axis that is clearest chooses first, so that no direction is named twice on an oblique grid.
    for axis in np.argsort(-np.abs(columns).max(axis=0)):
        direction = max(free, key=lambda row: abs(columns[row, axis]))
        free.remove(direction)
        letters[int(axis)] = ("RL", "AP", "SI")[direction][int(columns[direction, axis] < 0)]
    return "".join(letters[axis] for axis in range(3))


def _intensities(image: Image) -> dict[str, Any]:
    array = image.array
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if not finite.size:
        return {"not_finite_voxels": int(array.size)}
    return {
        "minimum": finite.min().item(),
        "maximum": finite.max().item(),
        "mean": float(finite.mean(dtype=np.float64)),
        "not_finite_voxels": int(array.size - finite.size),
    }


def _segments(image: Image, scheme: LabelScheme | None) -> list[dict[str, Any]]:
    counts = np.bincount(image.array.ravel())
    segments = []
    for label in scheme or ():
        voxels = int(counts[label.value]) if label.value < len(counts) else 0
        segments.append(
            {
                "value": label.value,
                "name": label.name,
                "voxels": voxels,
                "volume_ml": round(voxels * image.voxel_volume_ml, 6),
                "terminology": label.terminology.type.meaning if label.terminology else "",
            }
        )
    return segments

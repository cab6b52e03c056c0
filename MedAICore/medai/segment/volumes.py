"""The table of a segmentation's structures: how large, how sure, and whether that is usual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medai.config.model_card import ModelCard
from medai.label_statistics import LabelExtent
from medai.labels import LabelScheme


@dataclass(frozen=True)
class StructureVolume:
    """A label, or a total of several (`value` is None).

    `quality` is the Dice coefficient to expect (0 to 1), None where the model does not tell or nothing was found.
    `usual_ml` are the lowest and highest volume in images that the model was made for, None where that is not known or
    only a part of the image was looked at.
    """

    name: str
    value: int | None
    voxels: int
    volume_ml: float
    quality: float | None = None
    usual_ml: tuple[float, float] | None = None

    @property
    def unusual(self) -> bool:
        """Whether the volume is known to be outside of the usual ones."""
        return self.usual_ml is not None and not self.usual_ml[0] <= self.volume_ml <= self.usual_ml[1]


def structure_volumes(
    card: ModelCard,
    scheme: LabelScheme,
    extents: Mapping[int, LabelExtent],
    voxel_volume_ml: float,
    certainty: Mapping[int, float],
    whole: bool,
) -> tuple[StructureVolume, ...]:
    """One entry for each label of `scheme`, in its order, and for each total of the card whose labels all are in it.

    `whole`: the whole image was segmented, so that volumes can be compared with usual ones. `certainty` by label value
    is what `Certainty` found.
    """
    usual = card.plausibility.volumes_ml if card.plausibility is not None and whole else {}
    rows = []
    for label in scheme:
        extent = extents.get(label.value)
        voxels = extent.voxels if extent else 0
        sure = certainty.get(label.value)
        quality = card.quality.expected_dice(sure) if card.quality and sure is not None and voxels else None
        rows.append(
            StructureVolume(label.name, label.value, voxels, voxels * voxel_volume_ml, quality, usual.get(label.name))
        )
    counts = {row.name: row.voxels for row in rows}
    for total in card.totals:
        names = total.labels or card.label_scheme().names
        if set(names) <= counts.keys():
            voxels = sum(counts[name] for name in names)
            rows.append(
                StructureVolume(total.name, None, voxels, voxels * voxel_volume_ml, None, usual.get(total.name))
            )
    return tuple(rows)

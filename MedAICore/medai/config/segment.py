"""What a segmentation run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medai.image import Roi

Precision = Literal["exact", "fast"]
Output = Literal["probabilities", "entropy"]


@dataclass(frozen=True)
class SegmentConfig:
    """Options of one segmentation.

    `device`: auto, cpu, cuda, cuda:N or mps. `exact` keeps the plan's patch, overlap and 32-bit numbers; `fast` may use
    half precision where the hardware has it, and a coarse search. `labels`: names to keep (empty: all). `roi`: only
    this part is computed, the rest is background. `postprocessing`: do what the model's card asks for (stray pieces,
    holes). `keep_largest`: only the largest component of each label stays, the others become background. `outputs`:
    maps beside the labels, see `medai.segment.SegmentResult`; neither of these touches them.
    """

    device: str = "auto"
    precision: Precision = "exact"
    tta: bool = False
    roi: Roi | None = None
    labels: tuple[str, ...] = ()
    keep_largest: bool = False
    postprocessing: bool = True
    folds: tuple[int, ...] = ()
    outputs: tuple[Output, ...] = ()

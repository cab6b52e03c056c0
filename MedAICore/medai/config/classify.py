"""What a classification run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ExplainMethod = Literal["", "gradcam", "gradcampp", "occlusion"]


@dataclass(frozen=True)
class ClassifyConfig:
    """Options of one classification.

    `device`: auto, cpu, cuda, cuda:N or mps. `folds`: the networks of the ensemble that vote (empty: all). `tta`:
    average over slightly shifted copies too. `explain`: how the heat map is made ("": none); `explain_class`: of which
    class ("": the predicted one).
    """

    device: str = "auto"
    folds: tuple[int, ...] = ()
    tta: bool = False
    explain: ExplainMethod = ""
    explain_class: str = ""

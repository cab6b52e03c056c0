"""Which model fits a volume, and what speaks against the chosen one. It suggests; it never changes a choice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from slicer.i18n import tr as _

from medai.config.model_card import ModelCard
from MedAICoreLib.volume_hints import VolumeHints

# Words of a volume's name and the structures that may be seen in it.
_REGIONS = {
    "head": {"brain", "hippocampus", "skull", "ventricle", "tumour", "tumor", "lesion"},
    "brain": {"hippocampus", "ventricle", "tumour", "tumor", "lesion"},
    "chest": {"lung", "heart", "aorta", "pneumonia", "rib"},
    "thorax": {"lung", "heart", "aorta", "pneumonia", "rib"},
    "abdomen": {"liver", "kidney", "spleen", "pancreas", "adrenal", "stomach"},
    "pelvis": {"prostate", "bladder", "hip", "uterus"},
    "knee": {"cartilage", "femur", "tibia", "meniscus"},
}
# Slices this much further apart than the model works at are named.
_COARSE = 3.0
_FEWEST_SLICES = 8


@dataclass(frozen=True)
class Suggestion:
    """A model's id and title, and why it was picked, for a person."""

    modelId: str
    title: str
    reason: str


def suggestModel(cards: Sequence[ModelCard], hints: VolumeHints) -> Suggestion | None:
    """The model that fits the volume best; None where nothing but chance would pick it."""
    best: tuple[float, ModelCard, str] | None = None
    for card in cards:
        score, reason = _score(card, hints)
        if score > 0 and (best is None or score > best[0]):
            best = score, card, reason
    return None if best is None else Suggestion(best[1].id, best[1].title, best[2])


def _score(card: ModelCard, hints: VolumeHints) -> tuple[float, str]:
    """How well the model fits (0: nothing speaks for it, or something against it), and what speaks for it."""
    wanted = {spec.modality.upper() for spec in card.inputs if spec.modality}
    reasons, score = [], 0.0
    if hints.modality and wanted:
        if hints.modality not in wanted:
            return 0.0, ""
        score += 4.0 if hints.certain else 3.0
        reasons.append(_("the volume is {modality}: {why}").format(modality=hints.modality, why=hints.why))
    elif wanted == {"CT"} and not hints.houndsfieldLike:
        return 0.0, ""
    seen = _sharedWords(card, hints)
    if seen:
        score += 2.0 * len(seen)
        reasons.append(_("its name speaks of {words}").format(words=", ".join(sorted(seen))))
    if (min(hints.shape) < 2) != (card.patch[0] == 1) or not reasons:
        return 0.0, ""
    # Of several that fit, the one that needs no further image and works at about this resolution.
    score += 0.5 if len(card.inputs) == 1 else 0.0
    ratio = max(hints.spacing[2] / card.spacing_mm[0], card.spacing_mm[0] / hints.spacing[2])
    return score + 0.4 / ratio, "; ".join(reasons)


def _sharedWords(card: ModelCard, hints: VolumeHints) -> set[str]:
    """Words of the volume's name that the model's texts share, by themselves or by what lies in that region."""
    text = " ".join([card.title, card.description, *(label.name for label in card.labels)])
    # Plurals count as the word itself.
    told = {word.removesuffix("s") for word in re.findall(r"[a-z]{3,}", text.casefold())}
    seen = {word: {part.removesuffix("s") for part in _REGIONS.get(word, ())} for word in hints.words}
    regions = {word for word, parts in seen.items() if parts & told}
    return regions | {word for word in hints.words if len(word) > 3 and word.removesuffix("s") in told}


def misfits(card: ModelCard, hints: VolumeHints, row: int = 0) -> list[str]:
    """What speaks against this model on this volume (its input in this place), each a sentence for a person."""
    expected = card.inputs[row].modality.upper()
    notes = []
    if expected and hints.modality and expected != hints.modality:
        notes.append(
            _("The model expects {expected}, '{name}' seems to be {found} ({why}).").format(
                expected=expected, name=hints.name, found=hints.modality, why=hints.why
            )
        )
    elif expected == "CT" and not hints.houndsfieldLike and not hints.certain:
        notes.append(
            _("The model expects CT in Hounsfield units, '{name}' has values from {low} to {high}.").format(
                name=hints.name, low=f"{hints.low:g}", high=f"{hints.high:g}"
            )
        )
    if card.patch[0] == 1:
        return notes
    slices = min(hints.shape)
    if slices < _FEWEST_SLICES:
        notes.append(
            _("'{name}' has only {slices} slices, the model is made for 3D images.").format(
                name=hints.name, slices=slices
            )
        )
    elif max(hints.spacing) > _COARSE * max(card.spacing_mm):
        notes.append(
            _(
                "The slices of '{name}' are {apart} mm apart, the model works at {model} mm: small parts are lost."
            ).format(name=hints.name, apart=f"{max(hints.spacing):.3g}", model=f"{max(card.spacing_mm):.3g}")
        )
    return notes

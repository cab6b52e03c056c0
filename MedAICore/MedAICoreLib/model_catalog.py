"""The installed models as the panels show them: found, searched, and described. Needs no torch."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from medai.config.model_card import ModelCard


@dataclass(frozen=True)
class CatalogEntry:
    """A model and the folder or file that it lies in."""

    card: ModelCard
    location: str


class ModelCatalog:
    """The models that came with MedAI and those that were installed, of one task, in order of their titles.

    `listModels` is `medai.models.list_models` or a stand-in; it is asked again at each `refresh`.
    """

    def __init__(self, listModels, task: str = "segment") -> None:
        self._listModels = listModels
        self._task = task
        self.entries: list[CatalogEntry] = []

    def refresh(self) -> None:
        """Look at the model folders again."""
        entries = [CatalogEntry(model.card, str(model.root)) for model in self._listModels()]
        self.entries = sorted(
            (entry for entry in entries if entry.card.task == self._task), key=lambda entry: entry.card.title.casefold()
        )

    def find(self, modelId: str) -> CatalogEntry | None:
        """The model with this id."""
        return next((entry for entry in self.entries if entry.card.id == modelId), None)

    def search(self, text: str) -> list[CatalogEntry]:
        """Models in whose id, title, description, labels, modalities or licence every word of `text` occurs."""
        words = text.casefold().split()
        return [entry for entry in self.entries if all(word in _searchText(entry.card) for word in words)]


def _searchText(card: ModelCard) -> str:
    parts = [card.id, card.title, card.description, card.licence]
    parts += [label.name for label in card.labels] + [spec.name for spec in card.classes]
    parts += [f"{spec.name} {spec.modality}" for spec in card.inputs]
    return " ".join(parts).casefold()


def cardHtml(card: ModelCard, estimateMb: float | None = None) -> str:
    """The model's card as simple HTML: what it finds, in what, at which resolution, how well, under which licence."""
    found = (_("Finds"), card.labels) if card.labels else (_("Classes"), card.classes)
    rows = [
        (found[0], _shortList([entry.name for entry in found[1]])),
        (_("Input"), ", ".join(_inputText(spec.name, spec.modality) for spec in card.inputs)),
        (_("Resolution"), _("{spacing} mm").format(spacing=" x ".join(f"{s:g}" for s in reversed(card.spacing_mm)))),
    ]
    quality = _qualityText(card)
    if quality:
        rows.append((_("Quality"), quality))
    if estimateMb is not None:
        rows.append((_("Memory"), _("about {mb} MB for this volume").format(mb=round(estimateMb))))
    rows.append((_("Licence"), card.licence))
    if card.citation:
        rows.append((_("Cite"), card.citation[0]))
    cells = "".join(
        f"<tr><td><b>{html.escape(name)}</b>&nbsp;</td><td>{html.escape(value)}</td></tr>" for name, value in rows
    )
    description = f"<p>{html.escape(card.description)}</p>" if card.description else ""
    return f"<b>{html.escape(card.title)}</b> {html.escape(card.version)}<table>{cells}</table>{description}"


def _inputText(name: str, modality: str) -> str:
    return f"{name} ({modality})" if modality and modality != name else name


def _shortList(names: list[str], limit: int = 12) -> str:
    if len(names) <= limit:
        return ", ".join(names)
    return _("{names} and {more} more").format(names=", ".join(names[:limit]), more=len(names) - limit)


def _qualityText(card: ModelCard) -> str:
    metrics = card.training.metrics
    if isinstance(metrics.get("validation"), dict) and "auc" not in metrics:
        metrics = metrics["validation"]
    auc = _figure(metrics.get("auc"))
    if auc is not None:
        accuracy = _figure(metrics.get("accuracy"))
        text = _("AUC {auc}").format(auc=f"{auc:.3f}")
        return text if accuracy is None else text + ", " + _("accuracy {share}").format(share=f"{accuracy:.3f}")
    dice = card.training.metrics.get("mean_dice")
    if not isinstance(dice, int | float):
        return ""
    cases = card.training.metrics.get("cases")
    text = _("mean Dice {dice}").format(dice=f"{dice:.3f}")
    return _("{text} on {cases} held-back cases").format(text=text, cases=cases) if cases else text


def _figure(value: object) -> float | None:
    """A figure of an evaluation, which may come with its confidence interval: {value, ci95}."""
    if isinstance(value, dict):
        value = value.get("value")
    return float(value) if isinstance(value, int | float) else None


def listInstalledModels(folder: str = ""):
    """Models shipped with MedAI and installed in `folder` (empty: the usual place)."""
    from medai import models

    return models.list_models(root=Path(folder)) if folder else models.list_models()


def installModel(path: str, folder: str = "") -> str:
    """Copy the package at `path` into `folder` (empty: the usual place) and give its id. Raises ModelError."""
    from medai import models

    installed = models.install(Path(path), root=Path(folder)) if folder else models.install(Path(path))
    return installed.card.id

"""Two lines beside a model list: a model that fits the volume, and what speaks against the chosen one."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from medai.config.model_card import ModelCard
from medai.errors import MedAIError
from MedAICoreLib.model_suggestion import misfits, suggestModel
from MedAICoreLib.volume_hints import volumeHints


class SuggestionLine:
    """Fills two labels of a panel; a click on the suggested model calls `onChosen(modelId)`."""

    def __init__(self, suggestionLabel: Any, fitLabel: Any, onChosen: Callable[[str], None]) -> None:
        self._suggestion = suggestionLabel
        self._fit = fitLabel
        self._suggestion.connect("linkActivated(QString)", onChosen)
        self.show([], None, [])

    def show(self, cards: Sequence[ModelCard], chosen: ModelCard | None, volumes: Sequence[Any]) -> None:
        """Say what fits the first of `volumes` (the model's inputs; None where none is chosen), and what does not."""
        try:
            hints = [volumeHints(volume) if volume is not None else None for volume in volumes]
        except MedAIError:  # a volume without voxels: the panel says so elsewhere
            hints = []
        found = suggestModel(cards, hints[0]) if hints and hints[0] else None
        if found is not None and (chosen is None or found.modelId != chosen.id):
            # The text's own colour: the default blue of links cannot be read in the dark theme.
            color = self._suggestion.palette.color(qt.QPalette.WindowText).name()
            title = html.escape(found.title)
            link = f'<a href="{html.escape(found.modelId)}" style="color: {color}">{title}</a>'
            text = _("Suggested: {model} ({reason})").format(model=link, reason=html.escape(found.reason))
            self._suggestion.text = text
        else:
            self._suggestion.text = ""
        self._suggestion.visible = bool(self._suggestion.text)
        notes = []
        if chosen is not None:
            for row, hint in enumerate(hints[: len(chosen.inputs)]):
                notes += misfits(chosen, hint, row) if hint else []
        self._fit.text = "\n".join("\N{WARNING SIGN} " + note for note in notes)
        self._fit.visible = bool(notes)

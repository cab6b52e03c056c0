"""The section "Several volumes": a list to tick, a run for each, and a summary; one that fails stops no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from medai.config.model_card import ModelCard
from medai.errors import MedAIError
from MedAICoreLib.model_suggestion import misfits
from MedAICoreLib.runs import Run, RunState
from MedAICoreLib.volume_hints import volumeHints

NODE_ID_ROLE = 256  # Qt::UserRole


class SeveralVolumes:
    """Drives the widgets of the section. `start(volumes)` gives the runs that it put into the queue."""

    def __init__(self, ui: Any, start: Callable[[list[Any]], list[Run]]) -> None:
        self._section = ui.severalCollapsibleButton
        self._list = ui.volumesList
        self._all = ui.allVolumesButton
        self._button = ui.severalButton
        self._summary = ui.severalLabel
        self._start = start
        self._card: ModelCard | None = None
        self._ready = False
        self._ticked: set[str] = set()
        self._filling = False
        self.runs: list[Run] = []
        self._section.connect("contentsCollapsed(bool)", self._onCollapsed)
        self._list.connect("itemChanged(QListWidgetItem*)", self._onTicked)
        self._all.connect("clicked(bool)", self._onAll)
        self._button.connect("clicked(bool)", self._onStart)
        self._summary.visible = False
        self._showButtons()

    def setModel(self, card: ModelCard | None, ready: bool) -> None:
        """The chosen model; `ready`: whether anything could be started at all."""
        changed = card is not self._card
        self._card, self._ready = card, ready
        if changed:
            self.refresh()
        self._showButtons()

    def refresh(self) -> None:
        """List the volumes of the scene again; what was ticked stays ticked."""
        if self._section.collapsed:
            return
        self._filling = True
        self._list.clear()
        for node in volumesOfScene():
            item = qt.QListWidgetItem(node.GetName())
            item.setData(NODE_ID_ROLE, node.GetID())
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked if node.GetID() in self._ticked else qt.Qt.Unchecked)
            notes = self._notes(node)
            if notes:
                item.setText("\N{WARNING SIGN} " + node.GetName())
                item.setToolTip("\n".join(notes))
            self._list.addItem(item)
        self._filling = False
        self._showButtons()

    def _notes(self, node: Any) -> list[str]:
        try:
            return misfits(self._card, volumeHints(node)) if self._card is not None else []
        except MedAIError as error:
            return [error.message]

    def clear(self) -> None:
        """The scene is closed."""
        self.runs, self._ticked = [], set()
        self._summary.visible = False
        self.refresh()

    def onRunChanged(self, run: Run) -> None:
        """Tell the summary that a run got further or ended."""
        if run.ended and run in self.runs:
            self._showSummary()

    def _showSummary(self) -> None:
        ended = [run for run in self.runs if run.ended]
        done = sum(run.state is RunState.DONE for run in ended)
        lines = [_("{done} of {count} volumes segmented.").format(done=done, count=len(self.runs))]
        for run in ended:
            if run.state is RunState.FAILED:
                what = _("failed: {message}").format(message=run.error.message)
            elif run.state is RunState.CANCELLED:
                what = _("cancelled")
            else:
                what = "; ".join(run.result.warnings)
            if what:
                lines.append(f"{run.request.volumeName}: {what}")
        self._summary.text = "\n".join(lines)
        self._summary.visible = True

    def _items(self) -> list[Any]:
        return [self._list.item(row) for row in range(self._list.count)]

    def _onCollapsed(self, collapsed: bool) -> None:
        if not collapsed:
            self.refresh()

    def _onTicked(self, item: Any) -> None:
        if not self._filling:
            ticked = [entry for entry in self._items() if entry.checkState() == qt.Qt.Checked]
            self._ticked = {entry.data(NODE_ID_ROLE) for entry in ticked}
            self._showButtons()

    def _onAll(self, checked: bool = False) -> None:
        ids = {item.data(NODE_ID_ROLE) for item in self._items()}
        self._ticked = set() if self._ticked >= ids else ids
        self.refresh()

    def _onStart(self, checked: bool = False) -> None:
        volumes = [node for node in volumesOfScene() if node.GetID() in self._ticked]
        self.runs = self._start(volumes)
        self._showSummary()

    def _showButtons(self) -> None:
        count = len(self._ticked & {node.GetID() for node in volumesOfScene()})
        several = self._card is not None and len(self._card.inputs) > 1
        text = _("Segment ticked volumes") if count == 0 else _("Segment {count} volumes")
        self._button.text = _("Segment 1 volume") if count == 1 else text.format(count=count)
        self._button.enabled = self._ready and count > 0 and not several
        if several:
            self._button.toolTip = _("This model needs several images for each patient: choose them above.")
        else:
            self._button.toolTip = _("Segment the ticked volumes one after the other; the model is loaded once.")


def volumesOfScene() -> list[Any]:
    """The volumes that could be segmented: no label maps, no maps that MedAI made, nothing hidden."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [
        node
        for node in nodes
        if node.GetClassName() == "vtkMRMLScalarVolumeNode"
        and not node.GetHideFromEditors()
        and not node.GetAttribute("MedAI.map")
    ]

"""The part of a panel that searches, chooses, installs and describes models; the same in each of MedAI's modules."""

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from medai.config.model_card import ModelCard
from medai.errors import MedAIError
from MedAICoreLib.model_catalog import CatalogEntry, ModelCatalog, cardHtml, installModel, listInstalledModels
from MedAICoreLib.settings import Settings

MODEL_ID_ROLE = 256  # Qt::UserRole


class ModelSelector:
    """Drives a search line, a list, a card and an install button that the module's .ui file brings.

    `onSelected(modelId)` is called when the person chose a model, `onMessage(text)` when there is something to say.
    """

    def __init__(
        self,
        searchLineEdit,
        modelList,
        cardBrowser,
        installButton,
        task: str,
        onSelected: Callable[[str], None],
        onMessage: Callable[[str], None],
    ) -> None:
        self._search = searchLineEdit
        self._list = modelList
        self._browser = cardBrowser
        self._onSelected = onSelected
        self._onMessage = onMessage
        self._settings = Settings()
        self._modelId = ""
        self._filling = False
        self.catalog = ModelCatalog(lambda: listInstalledModels(self._settings.modelFolder()), task)
        self._search.connect("textChanged(QString)", self._fill)
        self._list.connect("itemSelectionChanged()", self._onRowChosen)
        installButton.connect("clicked(bool)", self.chooseFileAndInstall)

    def refresh(self) -> None:
        """Look for installed models again."""
        try:
            self.catalog.refresh()
        except MedAIError as error:
            self._onMessage(str(error))
        self._fill()

    def current(self) -> "CatalogEntry | None":
        """The chosen model, or None."""
        return self.catalog.find(self._modelId)

    def select(self, modelId: str) -> None:
        """Show this model as the chosen one; an id that is not installed shows none."""
        self._modelId = modelId
        self._showRow()

    def showCard(self, estimateMb: "float | None" = None) -> None:
        """Describe the chosen model, with the memory that it would need."""
        entry = self.current()
        self._browser.setHtml(cardHtml(entry.card, estimateMb) if entry else "")

    def labels(self) -> "list[str]":
        """Names of the structures that the chosen model finds."""
        entry = self.current()
        return [label.name for label in entry.card.labels] if entry else []

    def card(self) -> "ModelCard | None":
        """The card of the chosen model, or None."""
        entry = self.current()
        return entry.card if entry else None

    def chooseFileAndInstall(self, checked: bool = False) -> None:
        """Let the person choose a package, copy it into the model folder, and choose it."""
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Install a model"), self._settings.lastFolder(), _("MedAI model (*.medai)")
        )
        if path:
            self._settings.setLastFolder(qt.QFileInfo(path).absolutePath())
            self.install(path)

    def install(self, path: str) -> None:
        """Copy the package at `path` into the model folder and choose it; a damaged one is refused with the reason."""
        try:
            modelId = installModel(path, self._settings.modelFolder())
        except MedAIError as error:
            self._onMessage(str(error))
            return
        self.refresh()
        self._onSelected(modelId)
        self._onMessage(_("Installed the model {name}.").format(name=modelId))

    def _fill(self, text: str = "") -> None:
        self._filling = True
        self._list.clear()
        for entry in self.catalog.search(self._search.text):
            item = qt.QListWidgetItem(entry.card.title)
            item.setData(MODEL_ID_ROLE, entry.card.id)
            # The title too: a narrow panel cuts long ones off.
            item.setToolTip("\n".join(filter(None, (entry.card.title, entry.card.description))))
            self._list.addItem(item)
        self._filling = False
        self._showRow()

    def _showRow(self) -> None:
        self._filling = True
        self._list.clearSelection()
        for row in range(self._list.count):
            item = self._list.item(row)
            if item.data(MODEL_ID_ROLE) == self._modelId:
                self._list.setCurrentItem(item)
        self._filling = False

    def _onRowChosen(self) -> None:
        item = self._list.currentItem()
        if self._filling or item is None:
            return
        modelId = item.data(MODEL_ID_ROLE)
        if modelId != self._modelId:
            self._onSelected(modelId)

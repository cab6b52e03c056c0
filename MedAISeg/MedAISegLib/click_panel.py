"""The Click tab: choose, click, correct; it shows a click session and computes nothing."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from medai.errors import MedAIError
from medai.mrml import OverwritePolicy
from medai.mrml.layers import segment_ids
from MedAICoreLib.environment_setup import environmentProblem
from MedAICoreLib.model_catalog import ModelCatalog, listInstalledModels
from MedAICoreLib.settings import Settings
from MedAISegLib.click_gestures import ClickGestures, sliceViews
from MedAISegLib.click_marks import ClickMarks
from MedAISegLib.click_session import ClickSession, ClickSettings, ClickState
from MedAISegLib.click_target import SegmentTarget
from MedAISegLib.parameters import Overwrite

TICK_MS = 10
GROW_CUT = "grow-cut"
DEFAULT_MODEL = "click-any"


class ClickPanel(VTKObservationMixin):
    """Builds the tab's content in `tab` and keeps it in step with one session.

    `worker`: `MedAICoreLib.worker.WorkerHandle`. `views`: gives the slice views (`click_gestures.ClickView`). The owner
    calls `setActive` when the tab is shown or hidden and when the module is entered or left: only then keys and mouse
    are taken. A session goes on in between.
    """

    def __init__(self, tab: Any, uiPath: str, worker: Any, views: Any = sliceViews) -> None:
        VTKObservationMixin.__init__(self)
        self._worker = worker
        self.session: ClickSession | None = None
        self.active = False
        self._views = views
        self._filling = False
        self._hasModel = False
        self._hint = ""
        self._sessionVolumeId = ""
        self._catalog = ModelCatalog(lambda: listInstalledModels(Settings().modelFolder()), task="click")
        widget = slicer.util.loadUI(uiPath)
        tab.layout().addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        self._widget = widget
        widget.setMRMLScene(slicer.mrmlScene)
        self.marks = ClickMarks(slicer.mrmlScene)
        self.gestures = ClickGestures(self.onPlaced, self.onDrawing, views)
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.connect("timeout()", self.onTick)
        self._toolButtons = {
            "point": self.ui.clickPointButton,
            "box": self.ui.clickBoxButton,
            "box3d": self.ui.clickBox3DButton,
            "scribble": self.ui.clickScribbleButton,
            "lasso": self.ui.clickLassoButton,
        }
        self._connect()
        self._shortcuts = self._makeShortcuts()
        self._fillChoices()
        self._fillSegments()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.setTool("point")
        self.setPositive(True)
        self.updateState()

    def _connect(self) -> None:
        ui = self.ui
        ui.clickStartButton.connect("clicked(bool)", self.onStartButton)
        ui.clickVolumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onVolumeChosen)
        ui.clickSegmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onSegmentationChosen)
        ui.clickOverwriteComboBox.connect("currentIndexChanged(int)", self.onOverwriteChosen)
        ui.clickPositiveButton.connect("clicked(bool)", self.onPositiveButton)
        ui.clickNegativeButton.connect("clicked(bool)", self.onNegativeButton)
        ui.clickPointButton.connect("clicked(bool)", self.onPointTool)
        ui.clickBoxButton.connect("clicked(bool)", self.onBoxTool)
        ui.clickBox3DButton.connect("clicked(bool)", self.onBox3DTool)
        ui.clickScribbleButton.connect("clicked(bool)", self.onScribbleTool)
        ui.clickLassoButton.connect("clicked(bool)", self.onLassoTool)
        ui.clickUseBoxButton.connect("clicked(bool)", self.onUseBox)
        ui.clickDropBoxButton.connect("clicked(bool)", self.onDropBox)
        ui.clickUndoButton.connect("clicked(bool)", self.onUndo)
        ui.clickRedoButton.connect("clicked(bool)", self.onRedo)
        ui.clickResetButton.connect("clicked(bool)", self.onReset)
        ui.clickNextButton.connect("clicked(bool)", self.onNext)
        ui.clickAcceptButton.connect("clicked(bool)", self.onAccept)
        manager = slicer.app.layoutManager()
        if manager is not None:
            manager.connect("layoutChanged(int)", self.onLayoutChanged)

    def _makeShortcuts(self) -> list[Any]:
        keys = {
            "1": self.onPointTool,
            "2": self.onBoxTool,
            "3": self.onBox3DTool,
            "4": self.onScribbleTool,
            "5": self.onLassoTool,
            "T": self.onTogglePolarity,
            "N": self.onNext,
            "Return": self.onUseBox,
            "Esc": self.onEscape,
            "Ctrl+Z": self.onUndo,
            "Ctrl+Y": self.onRedo,
            "Ctrl+Shift+Z": self.onRedo,
        }
        owner = slicer.util.mainWindow() or self._widget
        made = []
        for key, action in keys.items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), owner)
            shortcut.connect("activated()", action)
            # Slicer's main window has Ctrl+Z and Ctrl+Y, too, for scenes with undo.
            shortcut.connect("activatedAmbiguously()", action)
            shortcut.enabled = False
            made.append(shortcut)
        return made

    # Life of the tab

    def setActive(self, active: bool) -> None:
        """Take mouse and keys, or leave them to others; a session goes on in any case."""
        self.active = bool(active)
        if active and not self.session:
            self._fillChoices()
            self._chooseFirstVolume()
        self.updateState()

    def cleanup(self) -> None:
        """The panel goes away."""
        self.stop()
        self.active = False
        self.gestures.detach()
        self._timer.stop()
        for shortcut in self._shortcuts:
            shortcut.enabled = False
        self.removeObservers()

    def onSceneStartClose(self, caller: Any = None, event: Any = None) -> None:
        """The scene goes away, with volume and segmentation."""
        self.stop()

    def onLayoutChanged(self, layout: Any = None) -> None:
        """There may be other views now."""
        if self.gestures.attached:
            self.gestures.attach()

    # Choices

    def _fillChoices(self) -> None:
        overwrite, models = self.ui.clickOverwriteComboBox, self.ui.clickModelComboBox
        if overwrite.count == 0:
            for choice in Overwrite:
                overwrite.addItem(choice.label(), choice.value)
        self._catalog.refresh()
        entries = self._catalog.entries
        self._hasModel = any(entry.card.id == DEFAULT_MODEL for entry in entries)
        chosen = models.itemData(models.currentIndex) if models.count else ""
        models.clear()
        models.addItem(_("Automatic") if self._hasModel else _("Automatic (grow-cut)"), "")
        for entry in entries:
            models.addItem(entry.card.title, entry.location)
        models.addItem(_("Grow-cut (no network)"), GROW_CUT)
        models.currentIndex = max(models.findData(chosen), 0)

    def _chooseFirstVolume(self) -> None:
        if self.ui.clickVolumeSelector.currentNode() is None:
            first = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
            if first is not None:
                self.ui.clickVolumeSelector.setCurrentNode(first)

    def onVolumeChosen(self, node: Any) -> None:
        """Another volume: another session."""
        if self.session is not None:
            self.session.check()  # the volume may be gone, which the session tells better
        if self.session is not None and (node is None or node.GetID() != self._sessionVolumeId):
            self.stop()
        self.updateState()

    def onSegmentationChosen(self, node: Any) -> None:
        """Another segmentation: another session, and other segments to choose from."""
        if not self._filling and self.session is not None:
            self.stop()
        self._fillSegments()
        self.updateState()

    def _fillSegments(self, chosen: str = "") -> None:
        combo = self.ui.clickSegmentComboBox
        combo.clear()
        combo.addItem(_("New segment"), "")
        node = self.ui.clickSegmentationSelector.currentNode()
        if node is not None:
            segmentation = node.GetSegmentation()
            for segmentId in segment_ids(segmentation):
                combo.addItem(segmentation.GetSegment(segmentId).GetName(), segmentId)
        combo.currentIndex = max(combo.findData(chosen), 0)

    def onOverwriteChosen(self, index: int) -> None:
        """Counts from the next click on."""
        if self.session is not None:
            self.session.target.policy = self._policy()

    def _policy(self) -> OverwritePolicy:
        combo = self.ui.clickOverwriteComboBox
        return OverwritePolicy(combo.itemData(combo.currentIndex))

    # The session

    def onStartButton(self, checked: bool = False) -> None:
        """Start, or stop what runs."""
        if self.session is not None:
            self.stop()
            self.show(_("Stopped. The segment was kept."))
        else:
            self.start()

    def start(self) -> None:
        """Open a session with what is chosen; what is wrong with it is told in the panel."""
        volume = self.ui.clickVolumeSelector.currentNode()
        if volume is None:
            self.show(_("Choose a volume."))
            return
        segmentation = self.ui.clickSegmentationSelector.currentNode()
        segments, models = self.ui.clickSegmentComboBox, self.ui.clickModelComboBox
        target = SegmentTarget(
            slicer.mrmlScene,
            segmentation.GetID() if segmentation is not None else "",
            segments.itemData(segments.currentIndex) if segmentation is not None else "",
            self._policy(),
        )
        self._sessionVolumeId = volume.GetID()
        settings = ClickSettings(model=models.itemData(models.currentIndex))
        session = ClickSession(
            self._worker.client, slicer.mrmlScene, volume.GetID(), target, settings, self.onSessionChanged
        )
        try:
            session.start()
        except MedAIError as error:
            session.close()
            self.show(str(error))
            return
        self.session = session
        self._timer.start()
        self.updateState()

    def stop(self) -> None:
        """End the session; what was segmented stays."""
        session, self.session = self.session, None
        self.marks.clear()
        self.gestures.cancel()
        if session is not None:
            session.close()
            self._timer.start()  # until the worker has heard of it
        self.updateState()

    def onTick(self) -> None:
        """Do a slice of the work that is waiting."""
        if self.session is not None:
            more = self.session.advance()
        else:
            client = self._worker.client if self._worker.started else None
            if client is not None:
                client.poll()
            more = client is not None and client.busy
        if not more:
            self._timer.stop()

    def onSessionChanged(self, session: ClickSession) -> None:
        """The session got further."""
        if session is not self.session:
            return
        if session.ended:
            self.session = None
            self.marks.clear()
            self.show(session.message)
            self.updateState()
            return
        self.marks.show([*(step.placed for step in session.done), *session.waiting])
        if session.state is ClickState.READY:
            self._showTarget()
        self.updateState()

    def _showTarget(self) -> None:
        """Choose in the panel what the session works on: it may have made both."""
        target = self.session.target
        node = slicer.mrmlScene.GetNodeByID(target.segmentationId) if target.segmentationId else None
        if node is None:
            return
        combo = self.ui.clickSegmentComboBox
        selector = self.ui.clickSegmentationSelector
        if selector.currentNode() is node and combo.itemData(combo.currentIndex) == target.segmentId:
            return
        self._filling = True
        selector.setCurrentNode(node)
        self._fillSegments(target.segmentId)
        self._filling = False

    # Marks

    def onPlaced(self, placed: Any, tool: str) -> None:
        """A gesture has ended."""
        if self.session is None:
            return
        if tool == "box3d":
            self.marks.offerBox(placed)
            self.updateState()
            return
        self._add(placed)

    def onDrawing(self, placed: Any) -> None:
        """A gesture goes on."""
        if self.session is not None:
            self.marks.show([*(step.placed for step in self.session.done), *self.session.waiting], placed)

    def _add(self, placed: Any) -> None:
        self._do(lambda session: session.add(placed))

    def _do(self, deed: Any) -> None:
        if self.session is None:
            return
        try:
            deed(self.session)
        except MedAIError as error:
            self.show(str(error))
        self._timer.start()
        self.updateState()

    def onUseBox(self, checked: bool = False) -> None:
        """Segment what the 3D box holds."""
        placed = self.marks.takeBox() if self.session is not None else None
        if placed is not None:
            self._add(placed)

    def onDropBox(self, checked: bool = False) -> None:
        """Remove the 3D box."""
        self.marks.dropBox()
        self.updateState()

    def onEscape(self, checked: bool = False) -> None:
        """Forget what is being drawn, or the 3D box."""
        if not self.gestures.cancel():
            self.onDropBox()

    def onUndo(self, checked: bool = False) -> None:
        """Take the last step back."""
        if self.session is not None and self.session.canUndo:
            self._do(lambda session: session.undo())

    def onRedo(self, checked: bool = False) -> None:
        """Make the step again."""
        if self.session is not None and self.session.canRedo:
            self._do(lambda session: session.redo())

    def onReset(self, checked: bool = False) -> None:
        """Take all steps of this segment back."""
        self._do(lambda session: session.reset())

    def onNext(self, checked: bool = False) -> None:
        """Go on with a new segment."""
        if self.session is not None and self.session.done:
            self._do(lambda session: session.next())

    def onAccept(self, checked: bool = False) -> None:
        """Keep the segment and end the session."""
        if self.session is not None:
            self.stop()
            self.show(_("The segment was kept."))

    # Tool and polarity

    def setTool(self, tool: str) -> None:
        """Choose what the left button draws."""
        self.gestures.cancel()
        self.gestures.tool = tool
        for name, button in self._toolButtons.items():
            button.checked = name == tool

    def onPointTool(self, checked: bool = False) -> None:
        """Points."""
        self.setTool("point")

    def onBoxTool(self, checked: bool = False) -> None:
        """Rectangles in a slice."""
        self.setTool("box")

    def onBox3DTool(self, checked: bool = False) -> None:
        """Boxes in space."""
        self.setTool("box3d")

    def onScribbleTool(self, checked: bool = False) -> None:
        """Lines."""
        self.setTool("scribble")

    def onLassoTool(self, checked: bool = False) -> None:
        """Outlines."""
        self.setTool("lasso")

    def setPositive(self, positive: bool) -> None:
        """Choose whether marks add or remove."""
        self.gestures.positive = bool(positive)
        self.ui.clickPositiveButton.checked = bool(positive)
        self.ui.clickNegativeButton.checked = not positive

    def onPositiveButton(self, checked: bool = False) -> None:
        """Marks add."""
        self.setPositive(True)

    def onNegativeButton(self, checked: bool = False) -> None:
        """Marks remove."""
        self.setPositive(False)

    def onTogglePolarity(self) -> None:
        """The other polarity."""
        self.setPositive(not self.gestures.positive)

    # What can be done now

    def show(self, text: str) -> None:
        """Say something in the panel."""
        self.ui.clickStatusLabel.text = text

    def updateState(self) -> None:
        """Show what the session can do, and take or leave mouse and keys."""
        ui, session = self.ui, self.session
        running = session is not None
        for widget in (
            ui.clickVolumeSelector,
            ui.clickSegmentationSelector,
            ui.clickSegmentComboBox,
            ui.clickModelComboBox,
        ):
            widget.enabled = not running
        ui.clickStartButton.text = _("Stop clicking") if running else _("Start clicking")
        problem = self._problem()
        ui.clickStartButton.enabled = running or not problem
        ui.clickStartButton.toolTip = problem or _("The image goes to the worker once; then only clicks travel.")
        ui.clickToolsFrame.visible = running
        box = running and self.marks.box is not None
        ui.clickUseBoxButton.visible = ui.clickDropBoxButton.visible = box
        ui.clickUndoButton.enabled = running and session.canUndo
        ui.clickRedoButton.enabled = running and session.canRedo
        ui.clickResetButton.enabled = running and bool(session.done)
        ui.clickNextButton.enabled = running and bool(session.done)
        self.gestures.paused = box  # the left button moves the sides of the box meanwhile
        if running:
            self.show(self._sessionText(session))
        elif ui.clickStatusLabel.text in ("", self._hint):
            self._hint = problem or _("Press Start, then left-click on a structure in a slice view.")
            self.show(self._hint)
        taking = self.active and running
        if taking and not self.gestures.attached:
            self.gestures.attach()
        elif not taking:
            self.gestures.detach()
        for shortcut in self._shortcuts:
            shortcut.enabled = taking

    def _problem(self) -> str:
        """Why a session cannot start, for a person; empty where it can."""
        if self.ui.clickVolumeSelector.currentNode() is None:
            return _("Choose a volume.")
        problem = environmentProblem()
        if problem:
            return _("Clicks are computed in a Python of their own ({problem}): set it up in the tab Segment.").format(
                problem=problem
            )
        return ""

    def _sessionText(self, session: ClickSession) -> str:
        if session.state in (ClickState.SENDING, ClickState.OPENING):
            return _("{message} … You can click already.").format(message=session.message)
        if session.done or session.error is not None or session.waiting:
            return session.message
        lines = [_("Left-click on the structure in a slice view (Ctrl: what does not belong to it).")]
        if session.engine == GROW_CUT and not self._hasModel:
            lines.append(
                _(
                    "Works with grow-cut until a click model is installed: it follows edges and knows no anatomy, so "
                    "mark a little more of both sides."
                )
            )
        return "\n".join(lines if session.message.startswith(_("Ready")) else [session.message, *lines])

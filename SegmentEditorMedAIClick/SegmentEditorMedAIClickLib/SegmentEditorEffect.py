"""The Segment Editor's effect "MedAI Click": clicks and lines in slice views become the selected segment."""

import os

import qt
import slicer
import vtk
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _

from medai.errors import MedAIError

TICK_MS = 10
TOOLS = ("point", "box", "scribble", "lasso")


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """A thin front end of `MedAISegLib.click_session`; voxels are written by the editor itself.

    So masking, editable area, the rule for other segments and the editor's undo hold.
    """

    def __init__(self, scriptedEffect):
        scriptedEffect.name = "MedAI Click"  # not translated: modules find effects by it
        scriptedEffect.title = _("MedAI Click")
        scriptedEffect.perSegment = True
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.session = None
        self.gestures = None
        self.marks = None
        self._timer = None
        self._worker = None

    def clone(self):
        """Another one of these, as the editor asks for."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        clonedEffect = effects.qSlicerSegmentEditorScriptedEffect(None)
        clonedEffect.setPythonSource(__file__.replace("\\", "/"))
        return clonedEffect

    def icon(self):
        """The effect's button."""
        folder = os.path.dirname(os.path.dirname(__file__))
        path = os.path.join(folder, "Resources", "Icons", "SegmentEditorMedAIClick.svg")
        return qt.QIcon(path) if os.path.exists(path) else qt.QIcon()

    def helpText(self):
        """What is shown above the options."""
        return "<html>" + _(
            "Left-click on the structure in a slice view; Ctrl + left-click on what does not belong to it. "
            "Boxes, scribbles and lassos are drawn with the left button held. "
            "The editor's masking and Undo hold."
        )

    def setupOptionsFrame(self):
        """Tool, polarity, and what the session says."""
        self.toolComboBox = qt.QComboBox()
        for tool, text in zip(TOOLS, (_("Point"), _("Box in the slice"), _("Scribble"), _("Lasso")), strict=True):
            self.toolComboBox.addItem(text, tool)
        self.toolComboBox.toolTip = _("What the left button draws in a slice view.")
        self.scriptedEffect.addLabeledOptionsWidget(_("Tool:"), self.toolComboBox)
        self.polarityComboBox = qt.QComboBox()
        self.polarityComboBox.addItem(_("Add (+)"), 1)
        self.polarityComboBox.addItem(_("Remove (−)"), 0)
        self.polarityComboBox.toolTip = _("Whether what you mark belongs to the structure. Ctrl turns it.")
        self.scriptedEffect.addLabeledOptionsWidget(_("Marks:"), self.polarityComboBox)
        self.resetButton = qt.QPushButton(_("Forget the clicks"))
        self.resetButton.toolTip = _("The segment stays as it is; further clicks start from it.")
        self.scriptedEffect.addOptionsWidget(self.resetButton)
        self.statusLabel = qt.QLabel()
        self.statusLabel.wordWrap = True
        self.scriptedEffect.addOptionsWidget(self.statusLabel)
        self.toolComboBox.connect("currentIndexChanged(int)", self.updateMRMLFromGUI)
        self.polarityComboBox.connect("currentIndexChanged(int)", self.updateMRMLFromGUI)
        self.resetButton.connect("clicked()", self.onForget)
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.connect("timeout()", self.onTick)

    def setMRMLDefaults(self):
        """The first choices."""
        self.scriptedEffect.setParameterDefault("Tool", "point")
        self.scriptedEffect.setParameterDefault("Positive", 1)

    def updateGUIFromMRML(self):
        """Show the choices of the editor's node."""
        for comboBox, value in (
            (self.toolComboBox, self.scriptedEffect.parameter("Tool")),
            (self.polarityComboBox, self.scriptedEffect.integerParameter("Positive")),
        ):
            wasBlocked = comboBox.blockSignals(True)
            comboBox.currentIndex = max(comboBox.findData(value), 0)
            comboBox.blockSignals(wasBlocked)
        if self.gestures is not None:
            self.gestures.tool = self.scriptedEffect.parameter("Tool")
            self.gestures.positive = bool(self.scriptedEffect.integerParameter("Positive"))

    def updateMRMLFromGUI(self):
        """Keep the choices in the editor's node."""
        self.scriptedEffect.setParameter("Tool", self.toolComboBox.itemData(self.toolComboBox.currentIndex))
        self.scriptedEffect.setParameter("Positive", self.polarityComboBox.itemData(self.polarityComboBox.currentIndex))
        self.updateGUIFromMRML()

    def activate(self):
        """The person chose the effect: send the volume now, so that the first click need not wait."""
        from MedAISegLib.click_gestures import ClickGestures
        from MedAISegLib.click_marks import ClickMarks

        self.marks = ClickMarks(slicer.mrmlScene)
        self.gestures = ClickGestures(self.onPlaced, self.onDrawing)
        self.updateGUIFromMRML()
        self.start()

    def deactivate(self):
        """Another effect was chosen: the segment stays."""
        self.stop()
        self.gestures = None

    def cleanup(self):
        """The editor goes away."""
        self.stop()
        self.gestures = None
        if self._timer is not None:
            self._timer.stop()
            self._timer.disconnect("timeout()", self.onTick)
            self._timer = None
            self.toolComboBox.disconnect("currentIndexChanged(int)", self.updateMRMLFromGUI)
            self.polarityComboBox.disconnect("currentIndexChanged(int)", self.updateMRMLFromGUI)
            self.resetButton.disconnect("clicked()", self.onForget)

    def sourceVolumeNodeChanged(self):
        """Another volume: another session."""
        if self.gestures is not None:
            self.stop()
            self.start()

    def interactionNodeModified(self, interactionNode):
        """Markups may be placed while the effect is active: clicks are left to them meanwhile."""

    # The session

    def start(self):
        """Open a session on the source volume; what is wrong with it is told below the options."""
        from MedAISegLib.click_editor_target import EditorTarget
        from MedAISegLib.click_session import ClickSession

        volume = self.scriptedEffect.parameterSetNode().GetSourceVolumeNode()
        if volume is None:
            self.show(_("Choose a source volume."))
            return
        target = EditorTarget(slicer.mrmlScene, effect=self.scriptedEffect)
        session = ClickSession(
            self.worker().client, slicer.mrmlScene, volume.GetID(), target, onChanged=self.onSessionChanged
        )
        try:
            target.select()
            session.start()
        except MedAIError as error:
            session.close()
            self.show(str(error))
            return
        self.session = session
        self._timer.start()

    def stop(self):
        """End the session; the segment stays as it is."""
        session, self.session = self.session, None
        if self.marks is not None:
            self.marks.clear()
        if self.gestures is not None:
            self.gestures.cancel()
        if session is not None:
            session.close()

    def worker(self):
        """The worker that all of MedAI's modules share."""
        if self._worker is None:
            from MedAICoreLib.worker import sharedWorker

            self._worker = sharedWorker()
        return self._worker

    def onTick(self):
        """Do a slice of the work that is waiting."""
        if self.session is None or not self.session.advance():
            self._timer.stop()

    def onSessionChanged(self, session):
        """The session got further."""
        if session is not self.session:
            return
        self.show(session.message)
        if session.ended:
            self.session = None
            self.marks.clear()
        else:
            self.marks.show([*(step.placed for step in session.done), *session.waiting])

    def onForget(self):
        """Start anew from the segment as it is."""
        if self.session is not None:
            self.session.next()
            self._timer.start()

    def onPlaced(self, placed, tool):
        """A gesture has ended."""
        if self.session is None:
            self.start()
        if self.session is None:
            return
        if not self.session.target.isSelected:
            self.session.next()  # the person has selected another segment
        self.session.add(placed)
        self._timer.start()

    def onDrawing(self, placed):
        """A gesture goes on."""
        if self.session is not None:
            self.marks.show([*(step.placed for step in self.session.done), *self.session.waiting], placed)

    def show(self, text):
        """Say something below the options."""
        self.statusLabel.text = text

    def processInteractionEvents(self, callerInteractor, eventId, viewWidget):
        """The left button in a slice view is ours, but for Shift and Alt; all else is the view's."""
        if self.gestures is None or viewWidget.className() != "qMRMLSliceWidget":
            return False
        from MedAISegLib.click_gestures import ClickView

        handle = {
            vtk.vtkCommand.LeftButtonPressEvent: self._press,
            vtk.vtkCommand.MouseMoveEvent: self.gestures.move,
            vtk.vtkCommand.LeftButtonReleaseEvent: self.gestures.release,
        }.get(eventId)
        node = self.scriptedEffect.viewNode(viewWidget)
        return handle(self._view(ClickView(node, callerInteractor))) if handle is not None else False

    def _view(self, view):
        """The same object for the same view: a gesture ends in the view in which it began."""
        pressed = self.gestures.pressedView
        return pressed if pressed is not None and pressed.interactor is view.interactor else view

    def _press(self, view):
        """The person has to see what they change."""
        interactor = view.interactor
        if interactor.GetShiftKey() or interactor.GetAltKey():
            return False
        if self.scriptedEffect.confirmCurrentSegmentVisible() != self.scriptedEffect.ConfirmedWithoutDialog:
            return True  # a dialog took the release of the button
        return self.gestures.press(view)

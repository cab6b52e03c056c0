"""Hidden until a later version: an effect of the Segment Editor that segments what is clicked on."""

from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class SegmentEditorMedAIClick(ScriptedLoadableModule):
    """Describes the module; it is hidden until it can do its work."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "MedAI Click"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations"]
        parent.contributors = ["SlicerMedAI contributors"]
        parent.helpText = _(
            "Segments what is clicked on, in the Segment Editor. This effect comes with a later version of MedAI; "
            "today MedAI Segment finds structures with one click on Apply, and the Segment Editor corrects the result."
        )
        parent.acknowledgementText = _("Not a medical device: results are for research and have to be checked.")
        parent.hidden = True


class SegmentEditorMedAIClickWidget(ScriptedLoadableModuleWidget):
    """The panel of the base class: a hidden module is shown to no one."""


class SegmentEditorMedAIClickLogic(ScriptedLoadableModuleLogic):
    """Empty: no work is offered by this version."""


class SegmentEditorMedAIClickTest(ScriptedLoadableModuleTest):
    """A module that cannot do its work yet must not be offered to anyone."""

    def runTest(self):
        self.setUp()
        self.test_module_is_hidden()

    def test_module_is_hidden(self):
        import slicer

        self.assertTrue(slicer.modules.segmenteditormedaiclick.hidden)

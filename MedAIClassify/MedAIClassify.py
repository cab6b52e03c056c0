"""Hidden until a later version: classification of volumes, regions and segments."""

from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class MedAIClassify(ScriptedLoadableModule):
    """Describes the module; it is hidden until it can do its work."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "MedAI Classify"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Volumes"]
        parent.contributors = ["SlicerMedAI contributors"]
        parent.helpText = _(
            "Classifies a volume, a region or each segment. This module comes with a later version of MedAI; "
            "today MedAI Segment segments volumes, and Segment Statistics measures the segments."
        )
        parent.acknowledgementText = _("Not a medical device: results are for research and have to be checked.")
        parent.hidden = True


class MedAIClassifyWidget(ScriptedLoadableModuleWidget):
    """The panel of the base class: a hidden module is shown to no one."""


class MedAIClassifyLogic(ScriptedLoadableModuleLogic):
    """Empty: no work is offered by this version."""


class MedAIClassifyTest(ScriptedLoadableModuleTest):
    """A module that cannot do its work yet must not be offered to anyone."""

    def runTest(self):
        self.setUp()
        self.test_module_is_hidden()

    def test_module_is_hidden(self):
        import slicer

        self.assertTrue(slicer.modules.medaiclassify.hidden)

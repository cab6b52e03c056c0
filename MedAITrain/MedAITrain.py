"""Hidden until a later version: training of models from labelled volumes inside Slicer."""

from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class MedAITrain(ScriptedLoadableModule):
    """Describes the module; it is hidden until it can do its work."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "MedAI Train"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["SlicerMedAI contributors"]
        parent.helpText = _(
            "Trains models from labelled volumes. This module comes with a later version of MedAI; today models are "
            "trained on the command line with 'medai train', and the resulting .medai file is used in MedAI "
            "Segmentation or MedAI Classification."
        )
        parent.acknowledgementText = _("Not a medical device: results are for research and have to be checked.")
        parent.hidden = True


class MedAITrainWidget(ScriptedLoadableModuleWidget):
    """The panel of the base class: a hidden module is shown to no one."""


class MedAITrainLogic(ScriptedLoadableModuleLogic):
    """Empty: no work is offered by this version."""


class MedAITrainTest(ScriptedLoadableModuleTest):
    """A module that cannot do its work yet must not be offered to anyone."""

    def runTest(self):
        self.setUp()
        self.test_module_is_hidden()

    def test_module_is_hidden(self):
        import slicer

        self.assertTrue(slicer.modules.medaitrain.hidden)

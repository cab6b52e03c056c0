"""MedAI Classify: what a volume, a region or a segment is, how sure that is, and why."""

from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

from MedAIClassifyLib.logic import MedAIClassifyLogic
from MedAIClassifyLib.selftest import MedAIClassifyTest
from MedAIClassifyLib.widget import MedAIClassifyWidget

__all__ = ["MedAIClassify", "MedAIClassifyLogic", "MedAIClassifyTest", "MedAIClassifyWidget"]


class MedAIClassify(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "MedAI Classification"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        parent.dependencies = ["Volumes", "Segmentations", "Markups", "Tables", "Plots"]
        parent.contributors = ["SlicerMedAI contributors"]
        parent.helpText = _(
            "Tells what a volume, a region or each segment is: choose it and a model, press Apply. "
            "Shows calibrated probabilities, a heat map of what the network looked at, and a warning where the image "
            "is unlike the training data. The networks run outside of Slicer, which stays usable and can cancel."
        )
        parent.acknowledgementText = _("Not a medical device: results are for research and have to be checked.")

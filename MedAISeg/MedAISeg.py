"""MedAI Segmentation: a volume and a model in, named and coloured segments out, while Slicer stays usable."""

from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

from MedAISegLib.logic import MedAISegLogic
from MedAISegLib.selftest import MedAISegTest
from MedAISegLib.widget import MedAISegWidget

__all__ = ["MedAISeg", "MedAISegLogic", "MedAISegTest", "MedAISegWidget"]


class MedAISeg(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "MedAI Segmentation"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "Volumes", "Markups", "Sequences"]
        parent.contributors = ["SlicerMedAI contributors"]
        parent.helpText = _(
            "Segments a volume with a U-Net: choose the volume and a model, press Apply. "
            "The networks run outside of Slicer, which stays usable and can cancel the run."
        )
        parent.acknowledgementText = _("Not a medical device: results are for research and have to be checked.")

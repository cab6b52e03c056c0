"""MedAI Train: from labelled cases in the scene to a model that MedAI Segmentation and Classification use at once."""

from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

from MedAITrainLib.logic import MedAITrainLogic
from MedAITrainLib.selftest import MedAITrainTest
from MedAITrainLib.widget import MedAITrainWidget

__all__ = ["MedAITrain", "MedAITrainLogic", "MedAITrainTest", "MedAITrainWidget"]


class MedAITrain(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "MedAI Train"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Volumes", "Segmentations", "Tables", "Plots"]
        parent.contributors = ["SlicerMedAI contributors"]
        parent.helpText = _(
            "Trains a model from labelled cases: images with segmentations, of the open scene or of saved ones. Four "
            "steps lead from the cases to a model that MedAI Segmentation lists at once. The training is a process of "
            "its own with a folder: Slicer stays usable and may be closed; it can be paused and resumed."
        )
        parent.acknowledgementText = _("Not a medical device: results are for research and have to be checked.")

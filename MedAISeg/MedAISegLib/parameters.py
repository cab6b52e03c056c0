"""What a person chose in the MedAI Segmentation panel; saved with the scene."""

from enum import Enum

from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper


class Overwrite(Enum):
    """What happens where the result meets other segments; the values are those of `medai.mrml.OverwritePolicy`."""

    PROTECT = "protect"
    OVERWRITE_UNLOCKED = "overwrite_unlocked"
    OVERWRITE_ALL = "overwrite_all"
    ALLOW_OVERLAP = "allow_overlap"

    def label(self) -> str:
        """The choice as the panel shows it."""
        return {
            Overwrite.PROTECT: _("Keep them"),
            Overwrite.OVERWRITE_UNLOCKED: _("Overwrite unfinished ones"),
            Overwrite.OVERWRITE_ALL: _("Overwrite them"),
            Overwrite.ALLOW_OVERLAP: _("Allow overlap"),
        }[self]


class Precision(Enum):
    """How exactly the model's plan is followed."""

    EXACT = "exact"
    FAST = "fast"

    def label(self) -> str:
        """The choice as the panel shows it."""
        return {Precision.EXACT: _("Exact"), Precision.FAST: _("Fast")}[self]


@parameterNodeWrapper
class MedAISegParameterNode:
    """The panel's values.

    modelId: id of the model package. labels: names of the ticked structures, one a line (empty: all).
    device: auto, cpu, cuda:N or mps. input2 to input4: further inputs of a model that has them. allFrames: where the
    volume belongs to a sequence, segment all of it.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    input2: vtkMRMLScalarVolumeNode
    input3: vtkMRMLScalarVolumeNode
    input4: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    roi: vtkMRMLMarkupsROINode
    modelId: str = ""
    overwrite: Overwrite = Overwrite.PROTECT
    device: str = "auto"
    precision: Precision = Precision.EXACT
    mirror: bool = False
    keepLargest: bool = False
    labels: str = ""
    allFrames: bool = False
    probabilities: bool = False
    entropy: bool = False

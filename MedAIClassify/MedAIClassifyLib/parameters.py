"""What a person chose in the MedAI Classification panel; saved with the scene."""

from enum import Enum

from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLTableNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper


class Scope(Enum):
    """What is classified."""

    VOLUME = "volume"
    ALL_VOLUMES = "all_volumes"
    REGION = "region"
    SEGMENTS = "segments"

    def label(self) -> str:
        """The choice as the panel shows it."""
        return {
            Scope.VOLUME: _("The volume"),
            Scope.ALL_VOLUMES: _("All volumes of the scene"),
            Scope.REGION: _("A region of the volume"),
            Scope.SEGMENTS: _("Each segment"),
        }[self]


class Explanation(Enum):
    """How the heat map is made; the values are those of `medai.config.classify.ClassifyConfig.explain`."""

    NONE = ""
    GRADCAM = "gradcam"
    GRADCAM_PLUS_PLUS = "gradcampp"
    OCCLUSION = "occlusion"

    def label(self) -> str:
        """The choice as the panel shows it."""
        return {
            Explanation.NONE: _("None"),
            Explanation.GRADCAM: _("Grad-CAM"),
            Explanation.GRADCAM_PLUS_PLUS: _("Grad-CAM++"),
            Explanation.OCCLUSION: _("Occlusion (slow)"),
        }[self]


@parameterNodeWrapper
class MedAIClassifyParameterNode:
    """The panel's values.

    modelId: id of the model package. explainedClass: class whose heat map is made (empty: the predicted one).
    table: where the rows go (none: the scene's table of results, made at the first run). device: auto, cpu, cuda:N or
    mps.
    """

    scope: Scope = Scope.VOLUME
    inputVolume: vtkMRMLScalarVolumeNode
    roi: vtkMRMLMarkupsROINode
    segmentation: vtkMRMLSegmentationNode
    visibleOnly: bool = True
    modelId: str = ""
    explanation: Explanation = Explanation.GRADCAM
    explainedClass: str = ""
    table: vtkMRMLTableNode
    showHeatMap: bool = True
    device: str = "auto"
    average: bool = False

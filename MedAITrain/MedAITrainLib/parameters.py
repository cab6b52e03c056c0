"""What a person chose in the MedAI Train panel; saved with the scene."""

from enum import Enum

from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper


class Task(Enum):
    """What the model is to do; the values are those of `medai.config.training.TrainConfig.task`."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"

    def label(self) -> str:
        """The choice as the panel shows it."""
        return {Task.SEGMENTATION: _("Segment structures"), Task.CLASSIFICATION: _("Classify images")}[self]


class Preset(Enum):
    """How much effort is spent."""

    QUICK = "quick"
    STANDARD = "standard"
    BEST = "best"

    def label(self) -> str:
        """The choice as the panel shows it."""
        return {
            Preset.QUICK: _("Quick: minutes"),
            Preset.STANDARD: _("Standard: hours"),
            Preset.BEST: _("Best: five networks"),
        }[self]


class Blocks(Enum):
    """What the network is built of; AUTOMATIC leaves it to the preset."""

    AUTOMATIC = ""
    PLAIN = "plain"
    RESIDUAL = "residual"
    SEPARABLE = "separable"
    DYNAMIC = "dynamic"
    MULTISCALE_ATTENTION = "multiscale_attention"

    def label(self) -> str:
        """The choice as the panel shows it."""
        return {
            Blocks.AUTOMATIC: _("Automatic"),
            Blocks.PLAIN: _("Plain convolutions"),
            Blocks.RESIDUAL: _("Residual"),
            Blocks.SEPARABLE: _("Depthwise separable (small)"),
            Blocks.DYNAMIC: _("Dynamic (moving structures)"),
            Blocks.MULTISCALE_ATTENTION: _("Multi-scale attention"),
        }[self]


class Fusion(Enum):
    """How several images of a case come together in the network."""

    AUTOMATIC = ""
    EARLY = "early"
    ATTENTION = "attention"

    def label(self) -> str:
        """The choice as the panel shows it."""
        return {
            Fusion.AUTOMATIC: _("Automatic"),
            Fusion.EARLY: _("As channels of one image"),
            Fusion.ATTENTION: _("An encoder each, joined by attention"),
        }[self]


class Loss(Enum):
    """What training makes small."""

    AUTOMATIC = ""
    DICE_CE = "dice_ce"
    CE = "ce"
    DICE = "dice"
    FOCAL = "focal"
    TVERSKY = "tversky"

    def label(self) -> str:
        """The choice as the panel shows it."""
        return {
            Loss.AUTOMATIC: _("Automatic"),
            Loss.DICE_CE: _("Dice and cross entropy"),
            Loss.CE: _("Cross entropy"),
            Loss.DICE: _("Dice"),
            Loss.FOCAL: _("Focal"),
            Loss.TVERSKY: _("Tversky"),
        }[self]


class Optimizer(Enum):
    """How the weights are moved."""

    AUTOMATIC = ""
    SGD = "sgd"
    ADAMW = "adamw"

    def label(self) -> str:
        """The choice as the panel shows it."""
        return {
            Optimizer.AUTOMATIC: _("Automatic"),
            Optimizer.SGD: _("SGD with momentum"),
            Optimizer.ADAMW: _("AdamW"),
        }[self]


@parameterNodeWrapper
class MedAITrainParameterNode:
    """The panel's values; 0 and "" leave a value to the plan.

    projectFolder: holds the data set, the runs and the models of one undertaking. dataset: the data set that is
    trained on (empty: none yet). runFolder: the run that is shown. spacing and patch: three numbers along k, j, i.
    finetuneFrom: id of an installed model. device: auto, cpu, cuda:N or mps.
    """

    task: Task = Task.SEGMENTATION
    projectFolder: str = ""
    dataset: str = ""
    channels: int = 1
    modelName: str = ""
    licence: str = ""
    preset: Preset = Preset.QUICK
    finetuneFrom: str = ""
    freezeEncoder: bool = False
    folds: int = 0
    device: str = "auto"
    maxMinutes: float = 0.0
    spacing: str = ""
    patch: str = ""
    depth: int = 0
    width: int = 0
    batchSize: int = 0
    blocks: Blocks = Blocks.AUTOMATIC
    fusion: Fusion = Fusion.AUTOMATIC
    loss: Loss = Loss.AUTOMATIC
    optimizer: Optimizer = Optimizer.AUTOMATIC
    learningRate: float = 0.0
    epochs: float = 0.0
    steps: int = 0
    normalization: str = ""
    rotation: float = -1.0
    crop: str = ""
    seed: int = 0
    gpus: int = 1
    runFolder: str = ""
    showPreview: bool = True

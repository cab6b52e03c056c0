"""Training of segmentation networks from a prepared cache; needs torch, numpy, monai and safetensors only."""

from medai.training.loop import Outcome, Trainer
from medai.training.precision import Compute, choose_compute, cpu_has_bfloat16
from medai.training.run_folder import RunFolder
from medai.training.settings import TrainingSettings

__all__ = ["Compute", "Outcome", "RunFolder", "Trainer", "TrainingSettings", "choose_compute", "cpu_has_bfloat16"]

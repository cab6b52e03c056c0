"""The use case "train a model": from a data set or a prepared cache to a model package, and what that would take.

Segmentation is trained by `run`, a classifier by `run_classification`; `plan_summary` says beforehand what a run would
do, how long it would take on this device and in how much memory.
"""

from medai.train.planning import plan_summary
from medai.train.segmentation import TrainResult, run, run_classification, run_folder_of

__all__ = ["TrainResult", "plan_summary", "run", "run_classification", "run_folder_of"]

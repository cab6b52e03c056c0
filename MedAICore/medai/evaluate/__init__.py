"""How good are segmentations: figures of each label and case, and whether one model is better than another.

`run` compares files, `run_model` a model on a data set, `run_folder` a training on the cases that it held back; all
give the same report. `compare` pairs two reports of the same cases.
"""

from medai.evaluate.label_maps import compare_label_maps, mean_of, run
from medai.evaluate.models import run_folder, run_model
from medai.evaluate.pairing import compare
from medai.evaluate.reports import CSV_NAME, REPORT_NAME, read_report, write_csv, write_report

__all__ = [
    "CSV_NAME",
    "REPORT_NAME",
    "compare",
    "compare_label_maps",
    "mean_of",
    "read_report",
    "run",
    "run_folder",
    "run_model",
    "write_csv",
    "write_report",
]

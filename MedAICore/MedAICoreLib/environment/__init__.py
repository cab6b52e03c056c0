"""The Python environment that MedAI's worker runs in: planned, built, checked, repaired, packed and removed.

Slicer's own Python is never changed: everything lies below one folder of ours. Uses neither Qt nor torch.
The user's side of it is in docs/environment.md.
"""

from MedAICoreLib.environment.commands import Sources
from MedAICoreLib.environment.environment import Environment, Kind, Status
from MedAICoreLib.environment.failures import DiagnosedFailure
from MedAICoreLib.environment.operation import Operation, OperationState
from MedAICoreLib.environment.pack import read_manifest
from MedAICoreLib.environment.places import default_root
from MedAICoreLib.environment.plan import Plan, megabytes

__all__ = [
    "DiagnosedFailure",
    "Environment",
    "Kind",
    "Operation",
    "OperationState",
    "Plan",
    "Sources",
    "Status",
    "default_root",
    "megabytes",
    "read_manifest",
]

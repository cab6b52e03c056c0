"""The logic of a module whose work is runs of the worker: its queue, and its parameters in the scene."""

from __future__ import annotations

from typing import Any

from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from MedAICoreLib.runs import RunQueue


class RunLogic(ScriptedLoadableModuleLogic, RunQueue):
    """A queue of runs that `advance` moves on, a slice of work per call; without Qt and without dialogs.

    `worker`: `MedAICoreLib.worker.WorkerHandle` (default: the one that all modules share). A module's logic names the
    class of its parameter node and adds `enqueue(request)`.
    """

    parameterNodeClass: Any = None

    def __init__(self, worker: Any = None) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        if worker is None:
            from MedAICoreLib.worker import sharedWorker

            worker = sharedWorker()
        RunQueue.__init__(self, worker)

    def getParameterNode(self) -> Any:
        """The scene's parameter node of this module."""
        return self.parameterNodeClass(super().getParameterNode())

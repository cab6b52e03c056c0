"""The one worker of this Slicer process, shared by MedAI's modules."""

from collections.abc import Callable
from typing import Any

import slicer

from medai.client import ChildProcessTransport, Client
from MedAICoreLib.environment_setup import workerInterpreter
from MedAICoreLib.settings import Settings


class WorkerHandle:
    """Owns the client: makes it at the first use, in MedAI's environment or the chosen one, and ends it with Slicer.

    `makeTransport` gives the transport of a new client; tests put another one in. `defaultDevice` tells what computes
    where a panel says "Automatic".
    """

    def __init__(self, makeTransport: Callable[[], Any], defaultDevice: Callable[[], str] = lambda: "auto") -> None:
        self._makeTransport = makeTransport
        self._defaultDevice = defaultDevice
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The client; its worker process starts with the first request."""
        if self._client is None:
            self._client = Client(self._makeTransport())
        return self._client

    @property
    def started(self) -> bool:
        """Whether there is a client, so something to poll and to close."""
        return self._client is not None

    def device(self, chosen: str) -> str:
        """The device of a request: the one chosen in the panel, or for ``auto`` the one of the settings."""
        return chosen if chosen not in ("", "auto") else self._defaultDevice()

    def close(self) -> None:
        """End the worker with its processes and files; the next use starts a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None


_shared: "WorkerHandle | None" = None


def sharedWorker() -> WorkerHandle:
    """The worker that all modules use; it ends when Slicer quits."""
    global _shared
    if _shared is None:
        _shared = WorkerHandle(_makeTransport, Settings().device)
        slicer.app.connect("aboutToQuit()", _shared.close)
    return _shared


def closeSharedWorker() -> None:
    """End the shared worker, if there is one: the environment that it runs in changes."""
    if _shared is not None:
        _shared.close()


def _makeTransport() -> ChildProcessTransport:
    python, packages = workerInterpreter()
    return ChildProcessTransport(python, model_budget_mb=Settings().modelBudgetMb(), packages=packages)

"""Runs of the worker, one after the other: what a person asked for, from the nodes to the scene."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any

from slicer.i18n import tr as _

from medai.config.requests import DeviceInfo
from medai.errors import InputError, MedAIError
from MedAICoreLib.exchange import Exchange, ExchangeState

# Share of the progress bar before the result is written into the scene.
RECEIVED = 0.98


class RunState(Enum):
    """Where a run is."""

    WAITING = "waiting"
    SENDING = "sending"
    COMPUTING = "computing"
    RECEIVING = "receiving"
    WRITING = "writing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


class Run:
    """A state machine that `advance` moves on; it never waits. Its kinds say what is sent and what is written.

    `request`: what was asked for, with nodes by ID and `batch`, the name of the runs that were asked for together
    (empty: alone). `client`: `medai.client.Client`. `onChanged(run)` is called at each change.
    """

    def __init__(self, runId: str, request: Any, scene: Any, client: Any, onChanged: Callable) -> None:
        self.runId = runId
        self.request = request
        self.state = RunState.WAITING
        self.fraction = 0.0
        self.stage = ""
        self.etaSeconds: float | None = None
        self.error: MedAIError | None = None
        self.result: Any = None
        self._scene = scene
        self._client = client
        self._onChanged = onChanged
        self._startedSeconds = 0.0
        self._exchange: Exchange | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED

    def advance(self) -> None:
        """Do the next slice of work; what goes wrong ends the run with its error and leaves the scene as it was."""
        if self.ended:
            return
        try:
            if self.state is RunState.WAITING:
                self._startedSeconds = time.monotonic()
                self._start()
            elif self.state is RunState.WRITING:
                self._write()
            elif self._exchange is not None:
                self._exchange.advance()
            else:
                self._prepare()
        except MedAIError as error:
            self._fail(error)

    def cancel(self) -> None:
        """End the run; where the worker computes, it is told, and the run ends with its answer (within a second)."""
        if self.ended or (self._exchange is not None and self._exchange.cancel()):
            return
        self._end(RunState.CANCELLED)

    def drop(self) -> None:
        """End the run at once and for good, as its scene is closed."""
        if self._exchange is not None:
            self._exchange.drop()
        if not self.ended:
            self._end(RunState.CANCELLED)

    def _start(self) -> None:
        """Begin: start the exchange, or set the state SENDING for `_prepare`."""
        raise NotImplementedError

    def _prepare(self) -> None:
        """A slice of what comes before the exchange, or between two of them."""
        raise NotImplementedError

    def _write(self) -> None:
        """Put the result into the scene, and end."""
        raise NotImplementedError

    def _onReceived(self) -> None:
        """The exchange is done."""
        self._changed(RunState.WRITING, self._overall(1.0), _("Writing the result"))

    def _exchangeChanged(self) -> None:
        exchange = self._exchange
        if exchange is None or self.ended:
            return
        self.etaSeconds = exchange.etaSeconds
        if exchange.state is ExchangeState.FAILED:
            self._fail(exchange.error)
        elif exchange.state is ExchangeState.DONE:
            self._onReceived()
        else:
            self._changed(RunState(exchange.state.value), self._overall(exchange.fraction), exchange.stage)

    def _overall(self, fraction: float) -> float:
        """Share of the run that is done when this share of the exchange is."""
        return RECEIVED * fraction

    def _volume(self, nodeId: str, name: str) -> Any:
        node = self._scene.GetNodeByID(nodeId)
        if node is None:
            raise InputError(
                _("The volume '{name}' is no longer in the scene.").format(name=name),
                _("Load it again and press Apply."),
            )
        return node

    def _fail(self, error: MedAIError) -> None:
        if not self.ended:
            self.error = error
            self._end(RunState.CANCELLED if error.code == "cancelled" else RunState.FAILED)

    def _end(self, state: RunState) -> None:
        if self._exchange is not None:
            self._exchange.release()
            self._exchange = None
        self._changed(state, 1.0 if state is RunState.DONE else 0.0, "")

    def _changed(self, state: RunState, fraction: float, stage: str) -> None:
        self.state, self.fraction, self.stage = state, fraction, stage
        if state in ENDED:
            self.etaSeconds = None
        self._onChanged(self)


class RunQueue:
    """Runs that `advance` moves on, a slice of work per call, first come first.

    `worker`: `MedAICoreLib.worker.WorkerHandle`. `onRunChanged(run)` is called at each change of a run.
    """

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._waiting: deque[Run] = deque()
        self._active: Run | None = None
        self.onRunChanged: Callable[[Run], None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a run is active or waiting."""
        return self._active is not None or bool(self._waiting)

    @property
    def activeRun(self) -> Run | None:
        """The run that is computed now."""
        return self._active

    @property
    def waitingRuns(self) -> list[Run]:
        """The runs that come after it, first come first."""
        return list(self._waiting)

    def advance(self) -> bool:
        """Do a slice of work; whether there is more. The panel calls it from a timer."""
        if self._worker.started:
            self._worker.client.poll()
        if self._active is None and self._waiting:
            self._active = self._waiting.popleft()
        if self._active is not None:
            self._active.advance()
            if self._active is not None and self._active.ended:
                self._active = None
        return self.busy or (self._worker.started and self._worker.client.busy)

    def cancelActive(self) -> None:
        """Stop the run that is computed, and those that were asked for together with it; the others go on."""
        run = self._active or (self._waiting.popleft() if self._waiting else None)
        if run is None:
            return
        together = [other for other in self._waiting if run.request.batch and other.request.batch == run.request.batch]
        self._waiting = deque(other for other in self._waiting if other not in together)
        for other in together:
            other.cancel()
        run.cancel()

    def cancelAll(self) -> None:
        """Stop everything at once; nothing of it reaches the scene any more."""
        runs = [self._active] if self._active is not None else []
        runs += list(self._waiting)
        self._active = None
        self._waiting.clear()
        for run in runs:
            run.drop()

    def requestDevices(self, onDevices: Callable[[list[dict[str, Any]]], None]) -> None:
        """Ask the worker what can compute; `onDevices` gets {id, kind, name, free_mb} each."""

        def onResult(info: DeviceInfo) -> None:
            onDevices([{"id": d.id, "kind": d.kind, "name": d.name, "free_mb": d.free_mb} for d in info.devices])

        self._worker.client.request("device.info", on_result=onResult)

    def _add(self, run: Run) -> Run:
        self._waiting.append(run)
        return run

    def _runChanged(self, run: Run) -> None:
        # The queue moves on first, so that whoever is told sees the state after the end of this run.
        if run.ended and run is self._active:
            self._active = None
        if self.onRunChanged is not None:
            self.onRunChanged(run)

"""One request on its way through the worker: arrays out, request, arrays back. A slice of work per call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from slicer.i18n import tr as _

from medai.client import ArrayReader
from medai.errors import MedAIError

# Shares of the progress; the network takes nearly all of the time.
SENT, COMPUTED = 0.04, 0.94


class ExchangeState(Enum):
    """Where an exchange is."""

    SENDING = "sending"
    COMPUTING = "computing"
    RECEIVING = "receiving"
    DONE = "done"
    FAILED = "failed"


class Exchange:
    """A state machine that `advance` moves on; it never waits, and copies at most one slab per call.

    `senders`: what writes the arrays of the request (`MedAICoreLib.channel_sender`); their source must stay as it is
    until it is sent. `arguments(references)` gives the arguments of the operation `op`. `incoming(value)` lists the
    arrays of its answer as (reference, array to fill, or None for a new one). `onChanged()` is called at each change.
    """

    def __init__(
        self,
        client: Any,
        op: str,
        senders: Sequence[Any],
        arguments: Callable[[list[Any]], Any],
        incoming: Callable[[Any], list[tuple[Any, Any]]],
        onChanged: Callable[[], None],
    ) -> None:
        self.state = ExchangeState.SENDING
        self.fraction = 0.0
        self.stage = ""
        self.etaSeconds: float | None = None
        self.error: MedAIError | None = None
        self.value: Any = None
        self._client = client
        self._op = op
        self._senders = list(senders)
        self._arguments = arguments
        self._incoming = incoming
        self._onChanged = onChanged
        self._requestId: int | None = None
        self._readers: list[ArrayReader] = []

    @property
    def arrays(self) -> list[Any]:
        """The arrays (c, k, j, i) of the answer, in the order of `incoming`, once done."""
        return [reader.array for reader in self._readers]

    def advance(self) -> None:
        """Do the next slice of work. Raises MedAIError for what goes wrong here; the worker's error ends it FAILED."""
        if self.state is ExchangeState.SENDING:
            self._send()
        elif self.state is ExchangeState.RECEIVING:
            self._receive()

    def cancel(self) -> bool:
        """Tell the worker to stop; whether it computes, so that its answer (an error, within a second) is to come."""
        if self.state is not ExchangeState.COMPUTING or self._requestId is None:
            return False
        self._changed(self.state, self.fraction, _("Cancelling"))
        self._client.cancel(self._requestId)
        return True

    def drop(self) -> None:
        """Forget the request; nothing is called back any more."""
        if self._requestId is not None:
            self._client.drop(self._requestId)
            self._requestId = None
        self.release()

    def release(self) -> None:
        """Delete what is left of its files and let go of the arrays."""
        # Files of a request that was sent belong to it, and may be gone already.
        for sender in self._senders if self._requestId is None and self.state is ExchangeState.SENDING else ():
            sender.abort()
        for reader in self._readers:
            reader.abort()
        self._senders, self._readers = [], []

    def _send(self) -> None:
        for done, sender in enumerate(self._senders):
            if sender.fraction < 1.0:
                sender.step()
                self._changed(self.state, SENT * (done + sender.fraction) / len(self._senders), sender.stage)
                return
        self._requestId = self._client.request(
            self._op,
            self._arguments([sender.ref for sender in self._senders]),
            on_progress=self._onProgress,
            on_result=self._onResult,
            on_error=self._onError,
        )
        self._changed(ExchangeState.COMPUTING, SENT, _("Starting"))

    def _onProgress(self, progress: Any) -> None:
        self.etaSeconds = progress.eta_s
        self._changed(self.state, SENT + progress.fraction * (COMPUTED - SENT), progress.stage)

    def _onResult(self, value: Any) -> None:
        self.value, self._requestId, self.etaSeconds = value, None, None
        self.state = ExchangeState.RECEIVING
        try:
            for reference, array in self._incoming(value):
                self._readers.append(ArrayReader(self._client.session, reference, out=array))
        except MedAIError as error:
            self._onError(error)
            return
        self._changed(self.state, COMPUTED, _("Receiving the result"))

    def _receive(self) -> None:
        for done, reader in enumerate(self._readers):
            if not reader.done:
                reader.step()
                fraction = (done + reader.fraction) / len(self._readers)
                self._changed(self.state, COMPUTED + fraction * (1.0 - COMPUTED), self.stage)
                return
        self._changed(ExchangeState.DONE, 1.0, "")

    def _onError(self, error: MedAIError) -> None:
        self._requestId, self.error, self.etaSeconds = None, error, None
        self.state = ExchangeState.FAILED
        self.release()
        self._changed(self.state, 0.0, "")

    def _changed(self, state: ExchangeState, fraction: float, stage: str) -> None:
        self.state, self.fraction, self.stage = state, fraction, stage
        self._onChanged()

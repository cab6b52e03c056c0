"""One image on its way through the worker: channels out, request, labels and maps back. A slice of work per call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from slicer.i18n import tr as _

from medai.client import ArrayReader
from medai.config.requests import SegmentArgs, SegmentValue
from medai.config.segment import SegmentConfig
from medai.errors import MedAIError
from medai.mrml import image_from_volume, new_map_data
from MedAICoreLib.channel_sender import channelSender

# Shares of the progress; the network takes nearly all of the time.
SENT, COMPUTED = 0.04, 0.94


class ExchangeState(Enum):
    """Where an exchange is."""

    SENDING = "sending"
    COMPUTING = "computing"
    RECEIVING = "receiving"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class ReceivedMap:
    """A map that came with the labels: `value` is that of its label, None for the entropy; `data` a vtkImageData."""

    value: int | None
    data: Any


class Exchange:
    """A state machine that `advance` moves on; it never waits, and copies at most one slab per call.

    `volumes`: nodes with voxels, the model's inputs in order; they must stay as they are until it has computed. Other
    grids and other parent transforms than the first one's are respected. `onChanged()` is called at each change.
    """

    def __init__(
        self,
        client: Any,
        model: str,
        config: SegmentConfig,
        volumes: Sequence[Any],
        modalities: Sequence[str],
        onChanged: Callable[[], None],
    ) -> None:
        self.state = ExchangeState.SENDING
        self.fraction = 0.0
        self.stage = ""
        self.etaSeconds: float | None = None
        self.error: MedAIError | None = None
        self.value: SegmentValue | None = None
        self.maps: list[ReceivedMap] = []
        self.image = image_from_volume(volumes[0], copy=False)
        self._client = client
        self._model = model
        self._config = config
        self._onChanged = onChanged
        self._requestId: int | None = None
        self._readers: list[ArrayReader] = []
        self._senders: list[Any] = []
        try:
            for volume, modality in zip(volumes, modalities, strict=True):
                self._senders.append(channelSender(client.session, volume, volumes[0], modality))
        except MedAIError:
            self.release()
            raise

    @property
    def labels(self) -> Any:
        """The label map (k, j, i), once done."""
        return self._readers[0].array[0]

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
        self._senders, self._readers, self.maps = [], [], []

    def _send(self) -> None:
        for done, sender in enumerate(self._senders):
            if sender.fraction < 1.0:
                sender.step()
                self._changed(self.state, SENT * (done + sender.fraction) / len(self._senders), sender.stage)
                return
        self._requestId = self._client.request(
            "segment",
            SegmentArgs(self._model, tuple(sender.ref for sender in self._senders), self._config),
            on_progress=self._onProgress,
            on_result=self._onResult,
            on_error=self._onError,
        )
        self._changed(ExchangeState.COMPUTING, SENT, _("Starting"))

    def _onProgress(self, progress: Any) -> None:
        self.etaSeconds = progress.eta_s
        self._changed(self.state, SENT + progress.fraction * (COMPUTED - SENT), progress.stage)

    def _onResult(self, value: SegmentValue) -> None:
        self.value, self._requestId, self.etaSeconds = value, None, None
        self.state = ExchangeState.RECEIVING
        try:
            self._readers.append(ArrayReader(self._client.session, value.label_map))
            for entry in value.probabilities:
                self._readMap(entry.value, entry.array)
            if value.entropy is not None:
                self._readMap(None, value.entropy)
        except MedAIError as error:
            self._onError(error)
            return
        self._changed(self.state, COMPUTED, _("Receiving the labels"))

    def _readMap(self, value: int | None, reference: Any) -> None:
        data, voxels = new_map_data(reference.shape[1:])
        self._readers.append(ArrayReader(self._client.session, reference, out=voxels))
        self.maps.append(ReceivedMap(value, data))

    def _receive(self) -> None:
        for done, reader in enumerate(self._readers):
            if not reader.done:
                reader.step()
                fraction = (done + reader.fraction) / len(self._readers)
                stage = _("Receiving the labels") if done == 0 else _("Receiving the maps")
                self._changed(self.state, COMPUTED + fraction * (1.0 - COMPUTED), stage)
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

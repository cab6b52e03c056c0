"""One image on its way through the worker's operation `segment`: channels out, labels and maps back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from medai.config.requests import SegmentArgs, SegmentValue
from medai.config.segment import SegmentConfig
from medai.errors import MedAIError
from medai.mrml import image_from_volume, new_map_data
from MedAICoreLib.channel_sender import channelSender
from MedAICoreLib.exchange import Exchange


@dataclass(frozen=True)
class ReceivedMap:
    """A map that came with the labels: `value` is that of its label, None for the entropy; `data` a vtkImageData."""

    value: int | None
    data: Any


class SegmentExchange(Exchange):
    """Sends the voxels of volume nodes, the model's inputs in order; they must stay as they are until it has computed.

    Other grids and other parent transforms than the first one's are respected.
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
        self.image = image_from_volume(volumes[0], copy=False)
        self.maps: list[ReceivedMap] = []
        senders: list[Any] = []
        try:
            for volume, modality in zip(volumes, modalities, strict=True):
                senders.append(channelSender(client.session, volume, volumes[0], modality))
        except MedAIError:
            for sender in senders:
                sender.abort()
            raise
        super().__init__(
            client,
            "segment",
            senders,
            lambda references: SegmentArgs(model, tuple(references), config),
            self._incomingArrays,
            onChanged,
        )

    @property
    def labels(self) -> Any:
        """The label map (k, j, i), once done."""
        return self.arrays[0][0]

    def _incomingArrays(self, value: SegmentValue) -> list[tuple[Any, Any]]:
        """Where the arrays of the answer go: the maps straight into the images of their nodes to be."""
        incoming: list[tuple[Any, Any]] = [(value.label_map, None)]
        maps = [(entry.value, entry.array) for entry in value.probabilities]
        if value.entropy is not None:
            maps.append((None, value.entropy))
        for label, reference in maps:
            data, voxels = new_map_data(reference.shape[1:])
            self.maps.append(ReceivedMap(label, data))
            incoming.append((reference, voxels))
        return incoming

    def release(self) -> None:
        """Delete what is left of its files and let go of the arrays."""
        super().release()
        self.maps = []

"""Is the image that is segmented unlike those that the model was trained on?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medai.image import Array

if TYPE_CHECKING:
    from medai.inference.anomaly import Anomaly
    from medai.segment.loading import LoadedModel


def judge(model: LoadedModel, array: Array) -> Anomaly | None:
    """The anomaly score of a preprocessed image (c, k, j, i); None where the model cannot tell."""
    if model.anomaly is None:
        return None
    from medai.inference.tile_features import tile_features

    network = model.networks_of(())[0]
    features = tile_features(network, array, model.card.patch, model.anomaly.layers, model.device)
    return model.anomaly.judge(float(model.anomaly.scores(features)[0]))


def warning(model: LoadedModel, anomaly: Anomaly | None) -> list[str]:
    """What a person is told about an unusual image."""
    if anomaly is None or not anomaly.flag:
        return []
    return [
        f"The image is unlike those that model '{model.card.id}' was trained on (score {anomaly.score:.2f}, usual "
        f"below {anomaly.threshold:.2f}): look at the result with care."
    ]

"""Is an image unlike anything the network was trained on? The distance of its features from the training data's.

Mahalanobis distance of features pooled from several depths of the network (Lee et al. 2018, arXiv:1807.03888; one
Gaussian over all classes). Only their mean and covariance are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medai.config.model_card import AnomalySpec
from medai.errors import DatasetError, ModelError
from medai.models import ModelPackage
from medai.models.files import PackageFiles
from medai.networks.dynamic import DynamicConvolution

Features = npt.NDArray[np.float64]
FILE_NAME = "anomaly.safetensors"
_MOST_FEATURES = 384
_LAYERS = 4


@dataclass(frozen=True)
class Anomaly:
    """How unlike the training data an image is; `flag` where `score` is above `threshold`."""

    score: float
    threshold: float
    flag: bool


@dataclass(frozen=True, eq=False)
class FeatureDistance:
    """Mean (d,) and covariance (d, d) of features of the training data; `layers` names where they come from.

    A score above `threshold` is an anomaly.
    """

    mean: Features
    covariance: Features
    layers: tuple[str, ...]
    threshold: float = float("inf")

    @classmethod
    def fit(cls, features: Features, layers: Sequence[str] = ()) -> FeatureDistance:
        """Mean and shrunk covariance of features (n, d); DatasetError for fewer than three rows."""
        if features.ndim != 2 or len(features) < 3:
            raise DatasetError(f"Features of {len(features)} images are too few.", "Train on more images.")
        mean = features.mean(axis=0)
        scale = features.std(axis=0)
        scale[scale < 1e-6 * max(float(scale.max()), 1e-12)] = max(float(scale.max()), 1e-12)
        correlation = shrunk_covariance((features - mean) / scale)
        return cls(mean, correlation * np.outer(scale, scale), tuple(layers))

    def scores(self, features: Features) -> Features:
        """Mahalanobis distances (n,) of features (n, d), over the square root of d so that about 1 is usual."""
        scale = np.sqrt(np.diag(self.covariance))
        z = (features - self.mean) / scale
        factor = np.linalg.cholesky(self.covariance / np.outer(scale, scale))
        white = np.linalg.solve(factor, z.T)
        distances: Features = np.sqrt((white**2).sum(axis=0) / len(self.mean))
        return distances

    def calibrated(self, features: Features, percentile: float = 99.0) -> FeatureDistance:
        """The same with the threshold at a percentile of the scores of images that it was not fitted on."""
        return FeatureDistance(
            self.mean, self.covariance, self.layers, float(np.percentile(self.scores(features), percentile))
        )

    def judge(self, score: float) -> Anomaly:
        """The score beside the threshold."""
        return Anomaly(score, self.threshold, score > self.threshold)

    def to_bytes(self) -> bytes:
        """The safetensors file that goes into a package."""
        from safetensors.numpy import save

        tensors = {"mean": self.mean.astype(np.float32), "covariance": self.covariance.astype(np.float32)}
        return save(tensors, metadata={"layers": json.dumps(list(self.layers))})


def shrunk_covariance(z: Features) -> Features:
    """Covariance (d, d) of centred rows (n, d), drawn to a multiple of the identity (Ledoit and Wolf 2004).

    The weight of the identity is the one that minimises the expected squared error, so that few rows still give a
    matrix that can be inverted.
    """
    n, d = z.shape
    sample = z.T @ z / n
    target = np.trace(sample) / d
    distance = float(((sample - target * np.eye(d)) ** 2).sum())
    error = float(((z**2).T @ (z**2)).sum() / n - (sample**2).sum()) / n
    weight = 1.0 if distance <= 0 else min(max(error / distance, 1e-3), 1.0)
    return (1.0 - weight) * sample + weight * target * np.eye(d)


def load_anomaly(package: ModelPackage) -> FeatureDistance | None:
    """The feature distance of a package; None where it has none. ModelError where its file is damaged."""
    spec = package.card.anomaly
    if spec is None:
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load

    files = PackageFiles(package.root)
    files.check_hash(spec.file, spec.sha256)
    data = files.read(spec.file)
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        layers = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["layers"])
        mean, covariance = tensors["mean"].astype(np.float64), tensors["covariance"].astype(np.float64)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelError(
            f"'{spec.file}' of model '{package.card.id}' cannot be read: {error}.", "Get the package again."
        ) from error
    if covariance.shape != (len(mean), len(mean)):
        raise ModelError(
            f"'{spec.file}' of model '{package.card.id}' holds a covariance {covariance.shape} for {len(mean)} "
            "features.",
            "Get the package again.",
        )
    return FeatureDistance(mean, covariance, tuple(str(name) for name in layers), spec.threshold)


def anomaly_spec(distance: FeatureDistance, data: bytes) -> AnomalySpec:
    """The card's entry for a file of these bytes."""
    import hashlib

    return AnomalySpec(FILE_NAME, hashlib.sha256(data).hexdigest(), "mahalanobis", round(distance.threshold, 6))


def feature_layers(network: nn.Module, example: torch.Tensor) -> tuple[str, ...]:
    """Names of the convolutions (and linear layers) whose outputs tell images apart, from shallow to deep.

    They are spread over the order in which `network` runs them on `example` (b, c, [k,] j, i); all have few channels
    enough for a covariance.
    """
    order: list[tuple[str, int, int]] = []
    kinds = (nn.Conv2d, nn.Conv3d, DynamicConvolution)
    handles = [
        module.register_forward_hook(lambda module, inputs, output, name=name: order.append((name, *output.shape[:2])))
        for name, module in network.named_modules()
        if isinstance(module, kinds)
    ]
    try:
        with torch.no_grad():
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    if not order:
        raise ModelError("The network has no convolution whose features could be compared.", "Use another network.")
    # An encoder of several frames has more rows than there are images.
    unique = list({name: width for name, rows, width in order if rows == example.shape[0]}.items())
    chosen = sorted({round(n) for n in np.linspace(0, len(unique) - 1, min(_LAYERS, len(unique)))}, reverse=True)
    kept: list[tuple[str, int]] = []
    for index in chosen:
        if not kept or sum(width for _, width in kept) + unique[index][1] <= _MOST_FEATURES:
            kept.append(unique[index])
    return tuple(name for name, _ in reversed(kept))


class FeatureTap:
    """Collects the pooled outputs of some layers of a network while it runs."""

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        modules = dict(network.named_modules())
        missing = [name for name in layers if name not in modules]
        if missing:
            raise ModelError(
                f"The network has no layer '{missing[0]}', which the anomaly file names.", "Get the package again."
            )
        self._modules = [modules[name] for name in layers]
        self._pooled: dict[int, torch.Tensor] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Collect while the block runs."""
        handles = [
            module.register_forward_hook(lambda module, inputs, output, n=n: self._keep(n, output))
            for n, module in enumerate(self._modules)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _keep(self, number: int, output: torch.Tensor) -> None:
        values = output.detach().float()
        self._pooled[number] = values.flatten(2).mean(2) if values.ndim > 2 else values

    def take(self) -> Features:
        """Features (b, d) of the last pass: means over the positions, of all layers one after the other."""
        parts = [self._pooled[number] for number in sorted(self._pooled)]
        self._pooled = {}
        features: Features = torch.cat(parts, dim=1).cpu().numpy().astype(np.float64)
        return features

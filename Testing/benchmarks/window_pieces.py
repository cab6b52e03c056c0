"""One volume through one network: by MONAI, by nnU-Net, by MedAI. Each runs in a process of its own (see `child`).

Every function loads the volume (.npy, float32) and the package, measures from there to the label map (uint8), saves
the labels where asked, and returns the figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import nnunet
from benchmarks.measurement import measure, with_threads
from medai.models import open_model

OVERLAP = 0.5


def by_monai(volume: str, package: str, threads: int, labels: str | None = None) -> dict[str, Any]:
    """MONAI's `sliding_window_inference`, Gaussian, one tile at a time, and torch's argmax."""
    from monai.inferers import sliding_window_inference

    about = with_threads(threads)
    network, patch = _network(package)
    _touch_torch()
    image = torch.from_numpy(np.load(volume))[None, None]

    @torch.inference_mode()
    def predict() -> np.ndarray:
        logits = sliding_window_inference(image, patch, 1, network, overlap=OVERLAP, mode="gaussian")
        return logits[0].argmax(0).to(torch.uint8).numpy()

    with torch.inference_mode():
        found, figures = measure(predict, lambda: network(_first_tile(image, patch)))
    return _finish(found, labels, {**about, **figures, "engine": "eager float32"})


def by_nnunet(volume: str, package: str, threads: int, labels: str | None = None) -> dict[str, Any]:
    """nnU-Net's predictor without mirroring, Gaussian, float16 sums as it has them, and torch's argmax."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    about = with_threads(threads)
    network, patch = _network(package)
    _touch_torch()
    card = open_model(Path(package)).card
    plans_manager = PlansManager(nnunet.plans(patch, card.spacing_mm))
    predictor = nnUNetPredictor(
        tile_step_size=1 - OVERLAP,
        use_gaussian=True,
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    predictor.manual_initialization(
        network,
        plans_manager,
        plans_manager.get_configuration("3d_fullres"),
        [network.state_dict()],
        nnunet.dataset(len(card.labels) + 1),
        "nnUNetTrainer",
        None,
    )
    image = torch.from_numpy(np.load(volume))[None]

    def predict() -> np.ndarray:
        logits = predictor.predict_sliding_window_return_logits(image)
        return logits.argmax(0).to(torch.uint8).numpy()

    with torch.inference_mode():
        found, figures = measure(predict, lambda: network(_first_tile(image[None], patch)))
    return _finish(found, labels, {**about, **figures, "engine": "eager float32, float16 sums"})


def by_medai(
    volume: str,
    package: str,
    threads: int,
    labels: str | None = None,
    precision: str = "exact",
    spacing_mm: list[float] | None = None,
    warm: bool = True,
) -> dict[str, Any]:
    """The use case `medai.segment` as the worker runs it: image in, label map on its grid out.

    With `warm` the whole run is done once before (as in a worker that keeps its models); its memory counts, its time is
    `first_s`. `spacing_mm` (k, j, i) is the volume's, by default the model's.
    """
    from medai.config.segment import SegmentConfig
    from medai.image import Image
    from medai.memory import estimate_mb
    from medai.segment import load_model, run

    about = with_threads(threads)
    _load_runtime()
    model = load_model(open_model(Path(package)), "cpu")
    array = np.load(volume)
    k, j, i = spacing_mm or model.card.spacing_mm
    image = Image(array[None], np.diag([i, j, k, 1.0]), "benchmark", "MR")
    config = SegmentConfig(device="cpu", precision="fast" if precision == "fast" else "exact")

    def predict() -> Any:
        return run(config, [image], model)

    result, figures = measure(predict, predict if warm else None)
    about |= {"engine": result.engine, "parts_s": result.seconds, "warnings": list(result.warnings)}
    about["estimate_mb"] = estimate_mb(model.card, array.shape, (k, j, i))
    return _finish(result.label_map.channel(0), labels, {**about, **figures})


def convert(package: str, shape: list[int]) -> dict[str, Any]:
    """What the process needs that converts a network for OpenVINO, over the libraries that every process has loaded."""
    import tempfile

    from medai.inference.conversion import convert as convert_network

    network, _ = _network(package)
    _load_runtime()
    with tempfile.TemporaryDirectory() as folder:
        _, figures = measure(lambda: convert_network(network, tuple(shape), Path(folder) / "model.xml"))
    return figures


def _network(package: str) -> tuple[torch.nn.Module, tuple[int, int, int]]:
    """The package's network in eager torch, as MedAI builds it, and its patch (k, j, i)."""
    from medai.networks import build_network, load_weights

    opened = open_model(Path(package))
    network = build_network(opened.card.network.name, opened.card.network.arguments)
    load_weights(network, opened.weights(0))
    return network.eval().requires_grad_(False), opened.card.patch


def _load_runtime() -> None:
    """Load what a run imports late, before memory is counted: a library is not the run's, any more than torch is."""
    import importlib
    import importlib.util

    for name in ("medai.inference.sliding_window", "medai.segment.engines", "medai.segment.segmentation"):
        importlib.import_module(name)
    _touch_torch()
    if importlib.util.find_spec("openvino") is not None:
        _touch_openvino()


def _touch_torch() -> None:
    """Compute a block of a U-Net on a tiny tile, for every way alike: the libraries' code is read from disk by this."""
    layers = torch.nn.Sequential(
        torch.nn.Conv3d(1, 8, 3, padding=1), torch.nn.InstanceNorm3d(8, affine=True), torch.nn.LeakyReLU(),
        torch.nn.Conv3d(8, 8, 2, 2), torch.nn.ConvTranspose3d(8, 8, 2, 2), torch.nn.Conv3d(8, 5, 1),
    )  # fmt: skip
    with torch.inference_mode():
        layers.eval()(torch.zeros(1, 1, 16, 16, 16))


def _touch_openvino() -> None:
    """The same for OpenVINO, without its converter, which no run loads into its own process."""
    import openvino
    from openvino import opset13 as ops

    def kernel(*shape: int) -> openvino.Node:
        return ops.constant(np.ones(shape, np.float32))

    twos, ones, zeros = [2, 2, 2], [1, 1, 1], [0, 0, 0]
    tile = ops.parameter([1, 1, 16, 16, 16], np.float32)
    x = ops.convolution(tile, kernel(8, 1, 3, 3, 3), ones, ones, ones, ones)
    x = ops.prelu(ops.mvn(x, ops.constant(np.array([2, 3, 4])), True, 1e-5, "INSIDE_SQRT"), kernel(1))
    x = ops.convolution(x, kernel(8, 8, 2, 2, 2), twos, zeros, zeros, ones)
    x = ops.convolution_backprop_data(x, kernel(8, 8, 2, 2, 2), strides=twos, pads_begin=zeros, pads_end=zeros)
    model = openvino.Model([ops.convolution(x, kernel(5, 8, 1, 1, 1), ones, zeros, zeros, ones)], [tile])
    openvino.Core().compile_model(model, "CPU")(np.zeros((1, 1, 16, 16, 16), np.float32))


def _first_tile(image: torch.Tensor, patch: tuple[int, int, int]) -> torch.Tensor:
    tile = image[:, :, : patch[0], : patch[1], : patch[2]]
    missing = [size for want, have in zip(patch[::-1], tile.shape[:1:-1], strict=True) for size in (0, want - have)]
    return torch.nn.functional.pad(tile, missing)


def _finish(found: np.ndarray, labels: str | None, figures: dict[str, Any]) -> dict[str, Any]:
    if labels is not None:
        np.save(labels, found)
    return figures

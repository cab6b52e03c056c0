"""Torch networks to OpenVINO's files, rewritten to need less memory, checked against torch.

`python -m medai.inference.conversion FOLDER MODEL.xml` does it in a process of its own: what the converter loads
(100 MB that no process gives back) and what tracing takes then never belongs to the process that segments.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medai.inference.concat_rewrite import without_concatenations
from medai.networks import build_network, built_from, load_weights
from medai.progress import CancelCheck, check_cancelled, never_cancelled

_log = logging.getLogger(__name__)

# OpenVINO's figures for a tile may differ from torch's by this part of their spread; more means a wrong conversion.
_LARGEST_DIFFERENCE = 1e-3
_REFUSED = 3
_REQUEST, _WEIGHTS = "request.json", "weights.safetensors"
_POLL_S = 0.05
# Importing torch from a slow disk and converting a large network take a minute at most; this is a hang.
_LONGEST_S = 600.0
# Tracing and checking are done on tiles of this part of a side, where the network takes them: an eighth of the memory.
_SMALLER = (4, 2)
_SMALLEST_SIDE = 8


class ConversionError(Exception):
    """OpenVINO cannot run this network, or runs it wrongly."""


def convert(network: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    """Write `network` for tiles of `shape` (b, c, ...) to `path` (.xml, its weights beside it).

    The network is traced on a small tile and checked on a larger one of other proportions: sizes that tracing took for
    constants show there. Raises ConversionError.
    """
    import openvino

    network = network.eval()
    small = smaller_shape(network, shape)
    check_shape = shape[:2] + ((shape[2], *small[3:]) if small != shape else shape[2:])
    try:
        # Tracing warns about Python code in torch's own layers; the check tells whether the result is right.
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            free = openvino.PartialShape([shape[0], shape[1], *[-1] * len(shape[2:])])
            model = openvino.convert_model(network, example_input=torch.zeros(small), input=[free])
        rewritten = without_concatenations(model)
        _log.debug("%d concatenations rewritten", rewritten)
        model.reshape(list(check_shape))
        _check(model, network, check_shape)
        model.reshape(list(shape))
    except ConversionError:
        raise
    except Exception as error:  # the converter raises errors of many kinds for what it does not know
        raise ConversionError(f"OpenVINO cannot convert the network: {error}") from error
    openvino.save_model(model, path, compress_to_fp16=False)


def convert_apart(
    network: nn.Module, shape: tuple[int, ...], path: Path, cancelled: CancelCheck = never_cancelled
) -> None:
    """As `convert`, in a process of its own. Raises ConversionError, and Cancelled within a second of a request.

    The process gets the network's name, arguments and weights, so a network that is not of the registry is converted
    here.
    """
    from safetensors.torch import save_file

    origin = built_from(network)
    if origin is None:
        convert(network, shape, path)
        return
    with tempfile.TemporaryDirectory(prefix="medai-convert-") as folder:
        request = {"network": origin[0], "arguments": origin[1], "shape": shape}
        (Path(folder) / _REQUEST).write_text(json.dumps(request), encoding="utf-8")
        weights = {name: tensor.detach().clone().contiguous() for name, tensor in network.state_dict().items()}
        save_file(weights, Path(folder) / _WEIGHTS)
        command = [sys.executable, "-m", "medai.inference.conversion", folder, str(path)]
        with open(Path(folder) / "errors.txt", "w+", encoding="utf-8", errors="replace") as errors:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, env=_environment(),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )  # fmt: skip
            code = _wait(process, cancelled)
            errors.seek(0)
            text = errors.read().strip()
    if code == 0 and path.is_file():
        return
    if code == _REFUSED:
        raise ConversionError(text.splitlines()[-1] if text else "OpenVINO refused the network")
    raise ConversionError(f"Converting ended with code {code}: {text[-500:]}")


def _wait(process: subprocess.Popen[bytes], cancelled: CancelCheck) -> int:
    last = time.monotonic() + _LONGEST_S
    try:
        while (code := process.poll()) is None:
            check_cancelled(cancelled)
            if time.monotonic() > last:
                raise ConversionError(f"Converting did not end within {_LONGEST_S:.0f} s")
            time.sleep(_POLL_S)
        return code
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    """The child finds this very `medai`, wherever this process has it from."""
    home = str(Path(__file__).resolve().parents[2])
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def smaller_shape(network: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A tile (b, c, ...) of the same proportions that the network takes, as small as that goes; else `shape`."""
    for part in _SMALLER:
        if any(n % part or n // part < _SMALLEST_SIDE for n in shape[2:]):
            continue
        candidate = (*shape[:2], *(n // part for n in shape[2:]))
        try:
            with torch.inference_mode():
                result = network(torch.zeros(candidate))
        except (RuntimeError, ValueError):
            continue  # not a multiple of what the network divides by
        if isinstance(result, torch.Tensor) and result.shape[2:] == candidate[2:]:
            return candidate
    return shape


def _check(model: Any, network: nn.Module, shape: tuple[int, ...]) -> None:
    import openvino

    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(noise)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result = torch.from_numpy(compiled(noise.numpy())[0])
    if result.shape != expected.shape:
        raise ConversionError(f"OpenVINO's logits are {tuple(result.shape)}, torch's {tuple(expected.shape)}")
    difference = float((result - expected).abs().max() / expected.std().clamp_min(1e-12))
    # The comparison is written so that NaN fails, too.
    if not difference <= _LARGEST_DIFFERENCE:
        raise ConversionError(f"OpenVINO's logits differ from torch's by {difference:.2g} of their spread")


def main(arguments: list[str]) -> int:
    """Convert what FOLDER describes; 0, or 3 with the reason as the last line on stderr."""
    from safetensors.torch import load_file

    folder, path = (Path(argument) for argument in arguments)
    request = json.loads((folder / _REQUEST).read_text(encoding="utf-8"))
    network = build_network(request["network"], request["arguments"])
    load_weights(network, load_file(folder / _WEIGHTS))
    try:
        convert(network, tuple(request["shape"]), path)
    except ConversionError as error:
        sys.stderr.write("\n" + " ".join(str(error).split()) + "\n")
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

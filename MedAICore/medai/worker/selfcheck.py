"""Does an environment work? ``python -I selfcheck.py PACKAGE_ROOT FOLDER MODULES...``, run by its interpreter.

Imports the modules, computes a small convolution on every device whose result is known, and prints what it found as
one JSON object: {"versions", "devices", "problems", "warnings"}. FOLDER (may be empty) goes first on the path.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

_SIZE = 12


def main(package_root: str, folder: str, modules: list[str]) -> dict[str, Any]:
    """Everything that works and everything that does not."""
    sys.path.insert(0, package_root)
    if folder:
        sys.path.insert(0, folder)
    found: dict[str, Any] = {
        "versions": {"python": sys.version.split()[0]}, "devices": [], "problems": [], "warnings": [], "seconds": {},
    }  # fmt: skip
    for name in modules:
        start = time.monotonic()
        try:
            module = importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - whatever an import raises is the answer
            found["problems"].append(f"{name} cannot be imported: {type(error).__name__}: {error}")
            continue
        found["versions"][name] = str(getattr(module, "__version__", ""))
        found["seconds"][name] = round(time.monotonic() - start, 2)
    if "torch" in modules and not found["problems"]:
        _try_devices(found)
    return found


def _try_devices(found: dict[str, Any]) -> None:
    import torch

    devices = [("cpu", "Processor")]
    if torch.cuda.is_available():
        devices += [(f"cuda:{n}", torch.cuda.get_device_name(n)) for n in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append(("mps", "Apple GPU"))
    for device, name in devices:
        try:
            _infer(torch, device)
        except Exception as error:  # noqa: BLE001 - a driver may raise anything
            target = found["problems"] if device == "cpu" else found["warnings"]
            target.append(f"{name} ({device}) cannot be used: {type(error).__name__}: {error}")
            continue
        found["devices"].append(device if device == "cpu" else f"{device} {name}")
    found["versions"]["torch build"] = str((torch.version.cuda and f"CUDA {torch.version.cuda}") or "processor")


def _infer(torch: Any, device: str) -> None:
    # A mean over 3x3x3 neighbours of i + j + k: away from the border the answer is the input itself.
    ramp = sum(torch.meshgrid(*[torch.arange(_SIZE, dtype=torch.float32)] * 3, indexing="ij"))[None, None]
    network = torch.nn.Conv3d(1, 1, 3, bias=False).eval()
    with torch.inference_mode():
        network.weight.fill_(1 / 27)
        answer = network.to(device)(ramp.to(device)).cpu()
    worst = float((answer - ramp[..., 1:-1, 1:-1, 1:-1]).abs().max())
    if not worst < 1e-3:
        raise ArithmeticError(f"a convolution is wrong by {worst}")


if __name__ == "__main__":
    # What libraries print while they are imported must not get into the answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    json.dump(main(sys.argv[1], sys.argv[2], sys.argv[3:]), answers)
    answers.flush()

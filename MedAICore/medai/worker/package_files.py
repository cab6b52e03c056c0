"""Where a model's package lies, when it changed, and what its networks take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medai.machine import MIB


def locate(model: str) -> Path:
    """The folder or .medai file of a model that is named by id or by path."""
    from medai.models import list_models

    for package in list_models():
        if package.card.id == model:
            return package.root.resolve()
    return Path(model).resolve() if Path(model).exists() else Path(model)


def files_signature(root: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of a package's files: another signature means that it was installed anew."""
    files = sorted(root.iterdir()) if root.is_dir() else [root]
    found = [(file, file.stat()) for file in files if file.is_file()]
    return tuple((file.name, status.st_size, status.st_mtime_ns) for file, status in found)


def network_memory_mb(model: Any) -> float:
    """What the networks of a loaded model take, MiB."""
    import torch

    networks = [value for value in vars(model).values() if isinstance(value, torch.nn.Module)]
    tensors = [t for network in networks for t in (*network.parameters(), *network.buffers())]
    return sum(t.numel() * t.element_size() for t in tensors) / MIB

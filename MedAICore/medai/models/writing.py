"""Write a model package: safetensors with their hashes, the card, and the licence; whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medai.config.model_card import CARD_NAME, ModelCard, WeightFile
from medai.config.validation import from_json, to_json
from medai.errors import ModelError
from medai.imageio.atomic import atomic_output
from medai.models.files import ARCHIVE_SUFFIX, ARCHIVE_TIME
from medai.models.package import ModelPackage
from medai.models.privacy import check_privacy

if TYPE_CHECKING:
    import torch

# What a card that is yet to be written has as its weights: `write_package` puts the real files in their place.
UNWRITTEN_WEIGHTS = (WeightFile("weights-0.safetensors", "0" * 64),)
_LARGEST_FLOAT16 = 65504.0


def write_package(
    path: Path | str,
    card: ModelCard,
    weights: Sequence[Mapping[str, torch.Tensor]],
    *,
    dtype: Literal["float16", "float32"] = "float16",
    files: Mapping[str, bytes] | None = None,
) -> ModelPackage:
    """Write a package to `path`: a .medai archive, or else a new folder. `weights` has one network state per fold.

    `card.weights` is replaced by what is written (give `UNWRITTEN_WEIGHTS`). `files` are further files by their
    names: the licence's text, the anomaly file that the card lists. Values beyond half precision keep their file in
    float32. Raises ModelError (no weights, a value that is not finite, a path or UID in the card) and OutputError.
    """
    path = Path(path)
    if not weights:
        raise ModelError(f"Model '{card.id}' has no weights to write.", "Give one network state per fold.")
    content: dict[str, bytes] = {}
    entries = []
    for fold, state in enumerate(weights):
        name = f"weights-{fold}.safetensors"
        content[name], used = _encoded(state, dtype, card.id)
        entries.append(WeightFile(name, hashlib.sha256(content[name]).hexdigest(), used, fold))
    card = replace(card, weights=tuple(entries))
    check_privacy(card)
    # What is written must be readable: the card goes through the validator once.
    card = from_json(ModelCard, to_json(card), f"{CARD_NAME}:")
    content |= dict(files or {})
    text = json.dumps(_defined(to_json(card)), indent=2, ensure_ascii=False, allow_nan=False)
    content[CARD_NAME] = (text + "\n").encode("utf-8")
    with atomic_output(path) as temporary:
        if path.name.endswith(ARCHIVE_SUFFIX):
            _write_archive(temporary, content)
        else:
            temporary.mkdir()
            for name, data in content.items():
                (temporary / name).write_bytes(data)
    return ModelPackage(card, path)


def _defined(data: Any) -> Any:
    """The data with null for NaN and infinity, which JSON lacks (HD95 of an empty label is not defined)."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _defined(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_defined(value) for value in data]
    return data


def _encoded(
    state: Mapping[str, torch.Tensor], dtype: Literal["float16", "float32"], model_id: str
) -> tuple[bytes, Literal["float16", "float32"]]:
    import torch
    from safetensors.torch import save

    tensors = {}
    for key, tensor in state.items():
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point():
            if not torch.isfinite(tensor).all():
                raise ModelError(f"The weight '{key}' of model '{model_id}' is not finite.", "Train it again.")
            if tensor.numel() and float(tensor.abs().max()) > _LARGEST_FLOAT16:
                dtype = "float32"
        tensors[key] = tensor
    target = torch.float16 if dtype == "float16" else torch.float32
    plain = {k: (t.to(target) if t.is_floating_point() else t).clone().contiguous() for k, t in tensors.items()}
    return save(plain), dtype


def _write_archive(path: Path, content: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        # The card first: tools that only look at it read the beginning of the file.
        for name in sorted(content, key=lambda n: (n != CARD_NAME, n)):
            entry = zipfile.ZipInfo(name, ARCHIVE_TIME)
            entry.external_attr = 0o100644 << 16
            # Half-precision weights do not shrink; stored, they can be read in place.
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, content[name])

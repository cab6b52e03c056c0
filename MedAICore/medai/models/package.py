"""A model package that was opened: its card, and its weights when they are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medai.config.model_card import ModelCard, WeightFile
from medai.errors import ModelError
from medai.models.files import PackageFiles

if TYPE_CHECKING:
    import torch

Source = Literal["shipped", "user", "file"]
_FILE_TYPES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}


@dataclass(frozen=True)
class ModelPackage:
    """A model: its `card`, and where it lies (`root`: a folder or a .medai file). `source` says how it came here."""

    card: ModelCard
    root: Path
    source: Source = "file"

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds that there are weights of, in ascending order."""
        return tuple(sorted(weight.fold for weight in self.card.weights))

    def weights(self, fold: int = 0) -> dict[str, torch.Tensor]:
        """The network's state of one fold; floating-point tensors as float32, on the CPU.

        The file's hash is checked again: it may have changed since the package was opened. Raises ModelError.
        """
        # Late, so that cards can be listed and checked where torch is not installed.
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load

        entry = self._entry(fold)
        files = PackageFiles(self.root)
        files.check_hash(entry.file, entry.sha256)
        try:
            state = load(files.read(entry.file))
        except SafetensorError as error:
            raise ModelError(
                f"'{entry.file}' of model '{self.card.id}' cannot be read: {error}.", "Get the package again."
            ) from error
        return {key: t.to(torch.float32) if t.is_floating_point() else t for key, t in state.items()}

    def licence_text(self) -> str:
        """The text of the licence file in the package; empty where there is none."""
        files = PackageFiles(self.root)
        names = [name for name in files.texts if name.upper().startswith("LICEN")]
        return files.read(names[0]).decode("utf-8", errors="replace") if names else ""

    def _entry(self, fold: int) -> WeightFile:
        for weight in self.card.weights:
            if weight.fold == fold:
                return weight
        raise ModelError(f"Model '{self.card.id}' has no fold {fold}.", f"Its folds are {list(self.folds)}.")


def open_package(root: Path, source: Source = "file") -> ModelPackage:
    """Open the package at `root` and check every file that its card lists. Raises ModelError."""
    files = PackageFiles(root)
    card = files.card()
    check_files(files, card)
    return ModelPackage(card, root, source)


def check_files(files: PackageFiles, card: ModelCard) -> list[str]:
    """Check presence, hash and type of every file that the card lists; the names of the files. Raises ModelError."""
    if len({weight.fold for weight in card.weights}) != len(card.weights):
        raise ModelError(f"Model '{card.id}' lists a fold twice.", "Give each weight file a fold of its own.")
    for weight in card.weights:
        files.check_hash(weight.file, weight.sha256)
        types = {tensor.get("dtype") for tensor in files.tensor_header(weight.file).values()}
        if _FILE_TYPES[weight.dtype] not in types:
            raise ModelError(
                f"'{weight.file}' of model '{card.id}' holds {sorted(map(str, types))}, not the listed {weight.dtype}.",
                "Write the package again.",
            )
    names = [weight.file for weight in card.weights]
    if card.anomaly is not None:
        files.check_hash(card.anomaly.file, card.anomaly.sha256)
        files.tensor_header(card.anomaly.file)
        names.append(card.anomaly.file)
    return names

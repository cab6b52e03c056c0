"""The files of a model package, in a folder or inside a .medai zip, read in place without extracting them.

A package comes from somewhere and is not trusted: names are plain, sizes are bounded, links are refused, and every
listed file must have the hash that model.json gives.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from medai.config.model_card import CARD_NAME, ModelCard
from medai.config.validation import from_json
from medai.errors import ConfigError, ModelError

ARCHIVE_TIME = (2000, 1, 1, 0, 0, 0)
"""Of all files in an archive: equal content gives equal archives."""
ARCHIVE_SUFFIX = ".medai"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TEXT_NAME = re.compile(r"(LICEN[CS]E|README|NOTICE|CITATION)[A-Za-z0-9._-]*")
_LARGEST_CARD_BYTES = 16 << 20
_LARGEST_FILE_BYTES = 8 << 30
_LARGEST_TEXT_BYTES = 4 << 20
_MOST_ENTRIES = 1000
_CHUNK_BYTES = 1 << 20
_AGAIN = "Get the package again from its source."


class PackageFiles:
    """Reads the files of the package at `root`, a folder or a zip archive. Raises ModelError for what is unsafe."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sizes = _folder_sizes(root) if root.is_dir() else _archive_sizes(root)
        if CARD_NAME not in self._sizes:
            raise ModelError(
                f"'{root}' is no model package: it has no {CARD_NAME}.", "Give a folder or .medai file of a model."
            )

    def __contains__(self, name: str) -> bool:
        return name in self._sizes

    @property
    def texts(self) -> tuple[str, ...]:
        """Licence, readme and similar files that travel with the model."""
        return tuple(
            sorted(n for n, size in self._sizes.items() if _TEXT_NAME.fullmatch(n) and size <= _LARGEST_TEXT_BYTES)
        )

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A file of the package, for reading."""
        if name not in self._sizes:
            raise ModelError(f"The model package '{self.root}' lacks its file '{name}'.", _AGAIN)
        try:
            if self.root.is_dir():
                with open(self.root / name, "rb") as stream:
                    yield stream
            else:
                with zipfile.ZipFile(self.root) as archive, archive.open(name) as stream:
                    yield stream
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            raise ModelError(f"Cannot read '{name}' of the model package '{self.root}': {error}.", _AGAIN) from error

    def read(self, name: str) -> bytes:
        """The whole content of a file."""
        with self.open(name) as stream:
            return stream.read()

    def card(self) -> ModelCard:
        """model.json, checked; ModelError names the key that is wrong."""
        if self._sizes[CARD_NAME] > _LARGEST_CARD_BYTES:
            raise ModelError(f"{CARD_NAME} of '{self.root}' has {self._sizes[CARD_NAME]} bytes.", _AGAIN)
        where = f"{self.root / CARD_NAME}:"
        try:
            return from_json(ModelCard, json.loads(self.read(CARD_NAME).decode("utf-8")), where)
        except ConfigError as error:
            raise ModelError(error.message, error.remedy) from error
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ModelError(f"{where} it is not JSON: {error}.", _AGAIN) from error

    def check_hash(self, name: str, sha256: str) -> None:
        """ModelError where the file is missing or is not the one that model.json lists."""
        digest = hashlib.sha256()
        with self.open(name) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
        if digest.hexdigest() != sha256:
            raise ModelError(
                f"'{name}' of the model package '{self.root}' is damaged or was changed: its sha256 is "
                f"{digest.hexdigest()[:12]}..., {CARD_NAME} lists {sha256[:12]}....",
                _AGAIN,
            )

    def tensor_header(self, name: str) -> dict[str, Any]:
        """Tensor name -> {dtype, shape, data_offsets} of a safetensors file; ModelError if it is none."""
        problem = ModelError(f"'{name}' of the model package '{self.root}' is no safetensors file.", _AGAIN)
        with self.open(name) as stream:
            start = stream.read(8)
            if len(start) < 8:
                raise problem
            (length,) = struct.unpack("<Q", start)
            if not 2 <= length <= min(self._sizes[name], 100 << 20):
                raise problem
            try:
                header = json.loads(stream.read(length))
            except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
                raise problem from error
        if not isinstance(header, dict) or not all(isinstance(v, dict) for v in header.values()):
            raise problem
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
        ends = [value.get("data_offsets", [0, -1])[1] for value in tensors.values()]
        if not tensors or 8 + length + max(ends) != self._sizes[name]:
            raise problem
        return tensors


def _folder_sizes(root: Path) -> dict[str, int]:
    sizes = {}
    for entry in root.iterdir():
        if _PLAIN_NAME.fullmatch(entry.name) and not entry.is_symlink() and entry.is_file():
            sizes[entry.name] = entry.stat().st_size
    return sizes


def _archive_sizes(root: Path) -> dict[str, int]:
    try:
        with zipfile.ZipFile(root) as archive:
            entries = archive.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise ModelError(f"'{root}' is no readable .medai file: {error}.", _AGAIN) from error
    sizes: dict[str, int] = {}
    for entry in entries[: _MOST_ENTRIES + 1]:
        _check_entry(root, entry)
        if entry.filename in sizes:
            raise ModelError(f"'{root}' holds '{entry.filename}' twice.", _AGAIN)
        sizes[entry.filename] = entry.file_size
    if len(entries) > _MOST_ENTRIES:
        raise ModelError(f"'{root}' holds {len(entries)} files, more than {_MOST_ENTRIES}.", _AGAIN)
    return sizes


def _check_entry(root: Path, entry: zipfile.ZipInfo) -> None:
    mode = entry.external_attr >> 16
    if not _PLAIN_NAME.fullmatch(entry.filename):
        problem = "its name is not a plain file name"
    elif mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        problem = "it is a link or another special file"
    elif entry.flag_bits & 1:
        problem = "it is encrypted"
    elif entry.file_size > _LARGEST_FILE_BYTES:
        problem = f"it has {entry.file_size} bytes, more than {_LARGEST_FILE_BYTES}"
    elif entry.file_size > 1000 * max(entry.compress_size, 1000):
        problem = "it is packed suspiciously small"
    else:
        return
    raise ModelError(f"'{root}' holds the unsafe entry '{entry.filename}': {problem}.", _AGAIN)

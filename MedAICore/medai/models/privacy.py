"""What must not get into a package: paths of the training machine, DICOM UIDs, names of patients."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from medai.config.model_card import ModelCard
from medai.config.validation import to_json
from medai.errors import ModelError

_FORBIDDEN = {
    # Not after a word, a colon or a slash: "https://a/b" and "mm/min" are no paths.
    "an absolute path": re.compile(r"(?<![\w:/.)])(?:~?/(?:[\w.~ -]+/)+[\w.-]*|/(?:home|tmp|mnt|data|work|Users)\b)"),
    "a Windows path": re.compile(r"(?<![A-Za-z])[A-Za-z]:[\\/](?!/)|\\\\\w+\\"),
    "a file URL": re.compile(r"\bfile:/", re.IGNORECASE),
    "a DICOM UID": re.compile(r"(?<![\d.])[0-2](?:\.\d+){5,}(?![\d.])"),
    "a name as DICOM writes it": re.compile(r"[^\W\d_]{2,}\^[^\W\d_]{2,}"),
}


def check_privacy(card: ModelCard) -> None:
    """ModelError where a text of the card (key or value) is an absolute path, a DICOM UID or a DICOM person name.

    It cannot recognise a patient's name in plain words: nothing that comes from a case belongs in a card.
    """
    for key, text in _texts(to_json(card), ""):
        for what, pattern in _FORBIDDEN.items():
            found = pattern.search(text)
            if found:
                raise ModelError(
                    f"{key} of model '{card.id}' holds {what}: '{found.group()}'.",
                    "Take it out: a model package must not tell where or on whom it was trained.",
                )


def _texts(data: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(data, str):
        yield key, data
    elif isinstance(data, dict):
        for name, value in data.items():
            inner = f"{key}.{name}" if key else name
            yield inner, name
            yield from _texts(value, inner)
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from _texts(value, f"{key}[{number}]")

"""``qt.QTextCodec``: Slicer's Qt 5 has it, Qt 6 does not."""

from __future__ import annotations

import codecs
from typing import Any

_MARKS = (
    (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF8, "utf-8-sig"),
)  # fmt: skip


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return bytes(value if isinstance(value, (bytes, bytearray)) else value.data())


class QTextCodec:
    """Converts between bytes and text; made by its static functions only."""

    def __init__(self) -> None:
        raise ValueError("QTextCodec has no public constructor: use codecForName or codecForUtfText.")

    @classmethod
    def _of(cls, encoding: str) -> QTextCodec:
        made = object.__new__(cls)
        made._encoding = encoding
        return made

    @staticmethod
    def codecForName(name: Any) -> QTextCodec | None:
        """The codec of this name; None when there is none."""
        try:
            return QTextCodec._of(codecs.lookup(_bytes(name).decode("ascii", "replace")).name)
        except LookupError:
            return None

    @staticmethod
    def codecForLocale() -> QTextCodec:
        """UTF-8, as in Slicer."""
        return QTextCodec._of("utf-8")

    @staticmethod
    def codecForUtfText(text: Any, default: QTextCodec | None = None) -> QTextCodec:
        """The codec that the byte order mark names; without a mark the default, else the locale's."""
        start = _bytes(text)[:4]
        for mark, encoding in _MARKS:
            if start.startswith(mark):
                return QTextCodec._of(encoding)
        return default or QTextCodec.codecForLocale()

    def toUnicode(self, text: Any) -> str:
        """Decode; wrong bytes become replacement characters."""
        return _bytes(text).decode(self._encoding, "replace")

    def fromUnicode(self, text: str) -> Any:
        """Encode; characters that the codec lacks become question marks."""
        from . import wrapper

        return wrapper.class_for("QByteArray")(text.encode(self._encoding, "replace"))

"""The fixture objects of the recording: ``emitter`` and ``cppWidget``."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from host.binding import convert, surface, wrapper
from host.standins.stored import stored


class Emitter(QtCore.QObject):
    """A QObject with one property, slot and signal of each kind."""

    numberChanged = QtCore.Signal((int,), (int, str))
    sigVoid = QtCore.Signal()
    sigString = QtCore.Signal(str)
    sigVariant = QtCore.Signal("QVariant")
    sigBool = QtCore.Signal(bool)
    sigDouble = QtCore.Signal(float)
    sigObject = QtCore.Signal(QtCore.QObject)
    sigWidget = QtCore.Signal(QtWidgets.QWidget)
    sigTwo = QtCore.Signal(int, str)
    sigMode = QtCore.Signal(int)
    sigBytes = QtCore.Signal(QtCore.QByteArray)
    sigStrings = QtCore.Signal("QStringList")

    def setNumber(self, number: int) -> None:
        if number != self._number:
            self._number = number
            self.numberChanged[int].emit(number)
            self.numberChanged[int, str].emit(number, str(number))

    _number = 3
    number = QtCore.Property(int, lambda self: self._number, setNumber)
    real = stored(float, 1.5)
    flag = stored(bool, False)
    word = stored(str, "w")
    words = stored("QStringList", ["a", "b"])
    any = stored("QVariant", None)
    map = stored("QVariant", {})
    list = stored("QVariant", [])
    mode = stored(int, 1)
    readOnly = QtCore.Property(int, lambda self: 7)

    def fireVoid(self) -> None:
        self.sigVoid.emit()

    def fireString(self, value: str) -> None:
        self.sigString.emit(value)

    def fireVariant(self, value: Any) -> None:
        self.sigVariant.emit(value)

    def fireBool(self, value: bool) -> None:
        self.sigBool.emit(value)

    def fireDouble(self, value: float) -> None:
        self.sigDouble.emit(value)

    def fireObject(self, value: Any) -> None:
        self.sigObject.emit(value)

    def fireWidget(self, value: Any) -> None:
        self.sigWidget.emit(value)

    def fireTwo(self, number: int, text: str) -> None:
        self.sigTwo.emit(number, text)

    def fireMode(self, mode: int) -> None:
        self.sigMode.emit(mode)

    def fireBytes(self, value: bytes) -> None:
        self.sigBytes.emit(value)

    def fireStrings(self, value: list[str]) -> None:
        self.sigStrings.emit(value)

    def takesInt(self, value: int) -> str:
        return "int"

    def takesDouble(self, value: float) -> str:
        return "double"

    def takesBool(self, value: bool) -> str:
        return "bool"

    def takesVariant(self, value: Any) -> str:
        kind, shown = _variant(value)
        return f"variant:{kind}:{shown}"

    def takesString(self, value: str) -> str:
        return f"string:{value}"

    def takesStrings(self, value: list[str]) -> str:
        return "strings:" + "|".join(value)

    def takesObject(self, value: QObject) -> str:  # noqa: F821 - name looked up by the binding
        return f"object:{type(value).__name__ if value is not None else 'null'}"

    def takesWidget(self, value: QWidget) -> str:  # noqa: F821
        return f"widget:{type(value).__name__ if value is not None else 'null'}"

    def over(self, value: Any) -> str:
        if wrapper.is_native(value):
            raise ValueError("Could not find matching overload")
        for loose in (False, True):
            for kind, name in ((int, "int"), (float, "double"), (bool, "bool"), (str, "QString")):
                if loose and kind is not str:
                    continue
                try:
                    convert.convert(value, kind, loose)
                    return f"over({name})"
                except convert.Refused:
                    continue
        raise TypeError(value)

    def retVariant(self, number: int) -> Any:
        values = [None, 5, 2.5, True, "s", ["a", "b"], [1, "x", 2.5], {"a": 1}, QtCore.QByteArray(b"by")]
        return values[number]

    def retStrings(self) -> Any:
        return ["a", "b"]

    def retBytes(self) -> Any:
        return QtCore.QByteArray(b"bytes")

    def retInts(self) -> Any:
        return [1, 2]

    def retSelf(self) -> Any:
        return self

    def retNull(self) -> None:
        return None

    def invokable(self, value: int) -> int:
        return value + 1


def _variant(value: Any) -> tuple[str, str]:
    """Name the QVariant type that a value arrives as."""
    if value is None:
        return "invalid", ""
    if isinstance(value, bool):
        return "bool", str(value).lower()
    if isinstance(value, int):
        return ("int" if -(2**31) <= value < 2**31 else "qlonglong"), str(value)
    for kind, name in ((float, "double"), (str, "QString")):
        if type(value) is kind:
            return name, str(value)
    if isinstance(value, bytes):
        return "QByteArray", value.decode()
    if isinstance(value, QtCore.QObject):
        return "QObject*", ""
    names = {"list": "QVariantList", "dict": "QVariantMap"}
    return names.get(type(value).__name__, "PythonQtSafeObjectPtr"), ""


_PROPERTIES = {
    "number": "int", "real": "double", "flag": "bool", "word": "QString", "words": "QStringList", "any": "QVariant",
    "map": "QVariantMap", "list": "QVariantList", "mode": "Mode", "readOnly": "int",
}  # fmt: skip
_SIGNALS = (
    "numberChanged(int)", "numberChanged(int,QString)", "sigVoid()", "sigString(QString)", "sigVariant(QVariant)",
    "sigBool(bool)", "sigDouble(double)", "sigObject(QObject*)", "sigWidget(QWidget*)", "sigTwo(int,QString)",
    "sigBytes(QByteArray)", "sigStrings(QStringList)",
)  # fmt: skip


def register() -> None:
    """Make the class known to the binding."""
    base = surface.surface_of("QObject")
    signals: dict[str, tuple[str, ...]] = dict(base.signals)
    for text in _SIGNALS:
        signals[text.split("(")[0]] = (*signals.get(text.split("(")[0], ()), text)
    slots = {n for n in vars(Emitter) if n.startswith(("fire", "takes", "ret", "over", "set", "invokable"))}
    properties = {n: (t, n != "readOnly") for n, t in _PROPERTIES.items()}
    surface.REGISTERED["Emitter"] = surface.Surface(
        "Emitter", {**base.properties, **properties}, base.slots | slots, signals, known=True
    )
    wrapper.implementations["Emitter"] = Emitter


def make_cpp_widget() -> Any:
    """Make the widget that the recording's host program made in C++."""
    widget = QtWidgets.QWidget()
    widget.setObjectName("cppWidget")
    QtWidgets.QLabel("cpp label", widget).setObjectName("cppLabel")
    QtWidgets.QPushButton("cpp button", widget).setObjectName("cppButton")
    return convert.wrap(widget)

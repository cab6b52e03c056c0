"""CTK's input widgets: numbers, paths, combo boxes, search."""

from __future__ import annotations

import os
from enum import IntFlag
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .stored import stored


class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a default text."""

    returnRelease = QtCore.Signal()
    defaultText = stored(str, "", lambda self, text: self.setPlaceholderText(text))
    defaultIcon = stored("QIcon", QtGui.QIcon())
    forceDefault = stored(bool, False)
    elideMode = stored(int, 3)
    scrollWheelEffect = stored(int, 1)

    def _user_data(self) -> str:
        value = self.currentData()
        return "" if value is None else str(value)

    def setCurrentUserDataAsString(self, text: str) -> None:
        self.setCurrentIndex(self.findData(text))

    currentUserDataAsString = QtCore.Property(str, _user_data, setCurrentUserDataAsString)


class ctkCheckableComboBox(QtWidgets.QComboBox):
    """A combo box whose entries have check boxes."""

    checkedIndexesChanged = QtCore.Signal()
    returnRelease = QtCore.Signal()

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.model().dataChanged.connect(lambda *_: self.checkedIndexesChanged.emit())
        self.model().rowsInserted.connect(self._make_checkable)

    def _make_checkable(self, _parent: Any, first: int, last: int) -> None:
        blocked = self.model().blockSignals(True)
        for row in range(first, last + 1):
            item = self.model().item(row)
            if item is not None:
                item.setFlags(item.flags() | QtCore.Qt.ItemFlag.ItemIsUserCheckable)
                item.setCheckState(QtCore.Qt.CheckState.Unchecked)
        self.model().blockSignals(blocked)

    def checkableModel(self) -> QtCore.QAbstractItemModel:
        return self.model()

    def _states(self) -> list[int]:
        return [self.model().item(row).checkState().value for row in range(self.count())]

    def checkedIndexes(self) -> list[QtCore.QModelIndex]:
        return [self.model().index(row, 0) for row, state in enumerate(self._states()) if state == 2]

    def allChecked(self) -> bool:
        return bool(self._states()) and all(s == 2 for s in self._states())

    def noneChecked(self) -> bool:
        return all(s == 0 for s in self._states())

    def checkState(self, index: Any) -> int:
        return int(self.model().item(index.row()).checkState().value)

    def setCheckState(self, index: Any, state: Any) -> None:
        self.model().item(index.row()).setCheckState(QtCore.Qt.CheckState(int(state)))


class ctkSearchBox(QtWidgets.QLineEdit):
    """A line edit for searching."""

    showSearchIcon = stored(bool, False)
    searchIcon = stored("QIcon", QtGui.QIcon())
    clearIcon = stored("QIcon", QtGui.QIcon())

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText("Search...")
        self.setClearButtonEnabled(True)


class ctkDoubleSpinBox(QtWidgets.QWidget):
    """A spin box for real numbers with CTK's interface."""

    valueChanged = QtCore.Signal(float)
    decimalsChanged = QtCore.Signal(int)
    editingFinished = QtCore.Signal()

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._box = QtWidgets.QDoubleSpinBox(self)
        layout.addWidget(self._box)
        self._box.valueChanged.connect(self.valueChanged)
        self._box.editingFinished.connect(self.editingFinished)

    def setValue(self, value: float) -> None:
        self._box.setValue(value)

    def stepUp(self) -> None:
        self._box.stepUp()

    def stepDown(self) -> None:
        self._box.stepDown()

    def selectAll(self) -> None:
        self._box.selectAll()

    def setDecimals(self, decimals: int) -> None:
        self._box.setDecimals(decimals)
        self.decimalsChanged.emit(decimals)

    value = QtCore.Property(float, lambda self: self._box.value(), setValue)
    minimum = QtCore.Property(float, lambda self: self._box.minimum(), lambda self, v: self._box.setMinimum(v))
    maximum = QtCore.Property(float, lambda self: self._box.maximum(), lambda self, v: self._box.setMaximum(v))
    singleStep = QtCore.Property(float, lambda self: self._box.singleStep(), lambda self, v: self._box.setSingleStep(v))
    decimals = QtCore.Property(int, lambda self: self._box.decimals(), setDecimals)
    prefix = QtCore.Property(str, lambda self: self._box.prefix(), lambda self, v: self._box.setPrefix(v))
    suffix = QtCore.Property(str, lambda self: self._box.suffix(), lambda self, v: self._box.setSuffix(v))
    cleanText = QtCore.Property(str, lambda self: self._box.cleanText())
    readOnly = QtCore.Property(bool, lambda self: self._box.isReadOnly(), lambda self, v: self._box.setReadOnly(v))
    frame = QtCore.Property(bool, lambda self: self._box.hasFrame(), lambda self, v: self._box.setFrame(v))
    setMode = stored(int, 1)
    decimalsOption = stored(int, 0x80 | 0x10 | 0x08 | 0x04 | 0x02 | 0x01)
    invertedControls = stored(bool, False)
    alignment = stored(int, 1)
    sizeHintPolicy = stored(int, 0)


class ctkDoubleSlider(QtWidgets.QWidget):
    """A slider over real numbers."""

    valueChanged = QtCore.Signal(float)
    sliderMoved = QtCore.Signal(float)
    sliderPressed = QtCore.Signal()
    sliderReleased = QtCore.Signal()
    rangeChanged = QtCore.Signal(float, float)
    STEPS = 10000

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._slider.setRange(0, self.STEPS)
        layout.addWidget(self._slider)
        self._minimum, self._maximum, self._value = 0.0, 99.99, 0.0
        self._slider.sliderMoved.connect(self._moved)

    def _moved(self, position: int) -> None:
        self.setValue(self._minimum + (self._maximum - self._minimum) * position / self.STEPS)
        self.sliderMoved.emit(self._value)

    def setValue(self, value: float) -> None:
        value = min(max(value, self._minimum), self._maximum)
        span = self._maximum - self._minimum
        self._slider.setValue(round((value - self._minimum) / span * self.STEPS) if span > 0 else 0)
        if value != self._value:
            self._value = value
            self.valueChanged.emit(value)

    def _set_range(self, minimum: float, maximum: float) -> None:
        self._minimum, self._maximum = minimum, max(minimum, maximum)
        self.rangeChanged.emit(self._minimum, self._maximum)
        self.setValue(self._value)

    value = QtCore.Property(float, lambda self: self._value, setValue)
    minimum = QtCore.Property(float, lambda self: self._minimum, lambda self, v: self._set_range(v, self._maximum))
    maximum = QtCore.Property(
        float, lambda self: self._maximum, lambda self, v: self._set_range(min(self._minimum, v), v)
    )
    singleStep = stored(float, 1.0)
    pageStep = stored(float, 10.0)
    tracking = stored(bool, True)


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider with a spin box."""

    valueChanged = QtCore.Signal(float)
    valueIsChanging = QtCore.Signal(float)
    decimalsChanged = QtCore.Signal(int)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setObjectName("hboxLayout")
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider = ctkDoubleSlider(self)
        self._slider.setObjectName("Slider")
        self._spin = ctkDoubleSpinBox(self)
        self._spin.setObjectName("SpinBox")
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._spin)
        self._spin._box.setMaximum(99.99)
        self._minimum, self._maximum, self._value = 0.0, 99.99, 0.0
        self._slider.valueChanged.connect(self.setValue)
        self._spin.valueChanged.connect(self._from_spin)

    def _from_spin(self, value: float) -> None:
        if abs(value - self._value) > 0.5 * 10**-self._spin.decimals:
            self.setValue(value)

    def setValue(self, value: float) -> None:
        value = min(max(value, self._minimum), self._maximum)
        if value == self._value:
            return
        self._value = value
        self._slider.setValue(value)
        self._spin.setValue(value)
        self.valueChanged.emit(value)

    def _set_range(self, minimum: float, maximum: float) -> None:
        self._minimum, self._maximum = minimum, max(minimum, maximum)
        self._slider._set_range(self._minimum, self._maximum)
        self._spin._box.setRange(self._minimum, self._maximum)
        self.setValue(self._value)

    def reset(self) -> None:
        self.setValue(0.0)

    def setDecimals(self, decimals: int) -> None:
        self._spin.setDecimals(decimals)
        self.decimalsChanged.emit(decimals)

    def spinBox(self) -> ctkDoubleSpinBox:
        return self._spin

    def slider(self) -> ctkDoubleSlider:
        return self._slider

    value = QtCore.Property(float, lambda self: self._value, setValue)
    minimum = QtCore.Property(float, lambda self: self._minimum, lambda self, v: self._set_range(v, self._maximum))
    maximum = QtCore.Property(
        float, lambda self: self._maximum, lambda self, v: self._set_range(min(self._minimum, v), v)
    )
    decimals = QtCore.Property(int, lambda self: self._spin.decimals, setDecimals)
    prefix = QtCore.Property(str, lambda self: self._spin.prefix, lambda self, v: self._spin._box.setPrefix(v))
    suffix = QtCore.Property(str, lambda self: self._spin.suffix, lambda self, v: self._spin._box.setSuffix(v))
    singleStep = stored(float, 1.0, lambda self, v: self._spin._box.setSingleStep(v))
    pageStep = stored(float, 10.0)
    tracking = stored(bool, True)
    tickInterval = stored(float, 0.0)
    tickPosition = stored(int, 0)
    invertedAppearance = stored(bool, False)
    invertedControls = stored(bool, False)
    popupSlider = stored(bool, False)
    spinBoxAlignment = stored(int, 2)
    synchronizeSiblings = stored(int, 1)
    spinBoxVisible = stored(bool, True, lambda self, v: self._spin.setVisible(v))


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path with a browse button and a history."""

    class Filters(IntFlag):
        """Values of `filters`, those of QDir's."""

        Dirs = 0x001
        Files = 0x002
        Drives = 0x004
        NoSymLinks = 0x008
        AllEntries = 0x007
        Readable = 0x010
        Writable = 0x020
        Executable = 0x040
        Modified = 0x080
        Hidden = 0x100
        System = 0x200

    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setEditable(True)
        self._combo.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._browse = QtWidgets.QToolButton(self)
        self._browse.setText("...")
        layout.addWidget(self._combo, 1)
        layout.addWidget(self._browse)
        self._browse.clicked.connect(self.browse)
        self._combo.editTextChanged.connect(self._edited)
        self._path = ""

    def _edited(self, path: str) -> None:
        if path != self._path:
            self._path = path
            self.currentPathChanged.emit(path)
            self.validInputChanged.emit(os.path.exists(path))

    def setCurrentPath(self, path: str) -> None:
        self._combo.setEditText(path)

    def addCurrentPathToHistory(self) -> None:
        if self._path and self._combo.findText(self._path) < 0:
            self._combo.insertItem(0, self._path)

    def retrieveHistory(self) -> None:
        """Read the history from the settings (the host keeps none)."""

    def comboBox(self) -> QtWidgets.QComboBox:
        return self._combo

    def browse(self) -> None:
        """Open the file dialog."""
        only_folders = not int(self.property("filters")) & 0x002
        chosen = (
            QtWidgets.QFileDialog.getExistingDirectory(self, "", self._path)
            if only_folders
            else QtWidgets.QFileDialog.getOpenFileName(self, "", self._path)[0]
        )
        if chosen:
            self.setCurrentPath(chosen)

    currentPath = QtCore.Property(str, lambda self: self._path, setCurrentPath)
    filters = stored(int, 24663)
    options = stored(int, 0)
    nameFilters = stored("QStringList", [])
    settingKey = stored(str, "")
    label = stored(str, "")
    showBrowseButton = stored(bool, True, lambda self, v: self._browse.setVisible(v))
    showHistoryButton = stored(bool, True)
    minimumContentsLength = stored(int, 0)
    sizeAdjustPolicy = stored(int, 3)


class ctkDirectoryButton(QtWidgets.QWidget):
    """A button that shows and chooses a folder."""

    directoryChanged = QtCore.Signal(str)
    directorySelected = QtCore.Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._button = QtWidgets.QPushButton(self)
        layout.addWidget(self._button)
        self._button.clicked.connect(self.browse)
        self._directory = os.getcwd()
        self._button.setText(self._directory)

    def _set_directory(self, path: str) -> None:
        path = os.path.abspath(path) if path else os.getcwd()
        changed = path != self._directory
        self._directory = path
        self._button.setText(path)
        self.directorySelected.emit(path)
        if changed:
            self.directoryChanged.emit(path)

    def browse(self) -> None:
        """Open the folder dialog."""
        chosen = QtWidgets.QFileDialog.getExistingDirectory(self, "", self._directory)
        if chosen:
            self._set_directory(chosen)

    directory = QtCore.Property(str, lambda self: self._directory, _set_directory)
    caption = stored(str, "")
    text = stored(str, "", lambda self, v: self._button.setText(v))
    icon = stored("QIcon", QtGui.QIcon())
    elideMode = stored(int, 3)
    acceptMode = stored(int, 0)


class ctkRangeWidget(QtWidgets.QWidget):
    """Two numbers, one not above the other."""

    valuesChanged = QtCore.Signal(float, float)
    minimumValueChanged = QtCore.Signal(float)
    maximumValueChanged = QtCore.Signal(float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._low, self._high = QtWidgets.QDoubleSpinBox(self), QtWidgets.QDoubleSpinBox(self)
        for box in (self._low, self._high):
            box.setRange(0.0, 99.0)
            layout.addWidget(box)
        self._high.setValue(99.0)
        self._low.valueChanged.connect(self.setMinimumValue)
        self._high.valueChanged.connect(self.setMaximumValue)
        self._values = (0.0, 99.0)
        self._bounds = (0.0, 99.0)

    def setValues(self, low: float, high: float) -> None:
        low, high = sorted(min(max(v, self._bounds[0]), self._bounds[1]) for v in (low, high))
        if (low, high) == self._values:
            return
        before, self._values = self._values, (low, high)
        self._low.setValue(low)
        self._high.setValue(high)
        if before[0] != low:
            self.minimumValueChanged.emit(low)
        if before[1] != high:
            self.maximumValueChanged.emit(high)
        self.valuesChanged.emit(low, high)

    def setMinimumValue(self, low: float) -> None:
        self.setValues(low, max(low, self._values[1]))

    def setMaximumValue(self, high: float) -> None:
        self.setValues(min(high, self._values[0]), high)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._bounds = (min(minimum, maximum), max(minimum, maximum))
        for box in (self._low, self._high):
            box.setRange(*self._bounds)
        self.setValues(*self._values)

    def setDecimals(self, decimals: int) -> None:
        for box in (self._low, self._high):
            box.setDecimals(decimals)

    minimumValue = QtCore.Property(float, lambda self: self._values[0], setMinimumValue)
    maximumValue = QtCore.Property(float, lambda self: self._values[1], setMaximumValue)
    minimum = QtCore.Property(float, lambda self: self._bounds[0], lambda self, v: self.setRange(v, self._bounds[1]))
    maximum = QtCore.Property(float, lambda self: self._bounds[1], lambda self, v: self.setRange(self._bounds[0], v))
    decimals = QtCore.Property(int, lambda self: self._low.decimals(), setDecimals)
    singleStep = stored(float, 1.0)


class ctkColorPickerButton(QtWidgets.QPushButton):
    """A button that shows and chooses a colour."""

    colorChanged = QtCore.Signal(QtGui.QColor)
    colorNameChanged = QtCore.Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._color = QtGui.QColor(0, 0, 0)

    def setColor(self, color: Any) -> None:
        if color != self._color:
            self._color = QtGui.QColor(color)
            self.colorChanged.emit(self._color)

    color = QtCore.Property(QtGui.QColor, lambda self: self._color, setColor)
    colorName = stored(str, "")
    displayColorName = stored(bool, True)

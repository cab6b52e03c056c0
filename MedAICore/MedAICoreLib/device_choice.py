"""The box of a panel in which a person chooses where the networks run."""

from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _


class DeviceChoice:
    """Drives a combo box: "Automatic", then `devices`, which the worker tells (before that, the processor).

    `onChosen(deviceId)` is called when the person chose one.
    """

    def __init__(self, comboBox: qt.QComboBox, onChosen: Callable[[str], None]) -> None:
        self._box = comboBox
        self._onChosen = onChosen
        self._deviceId = "auto"
        self.devices: list[dict[str, Any]] = []
        self._box.connect("activated(int)", self._onActivated)
        self._fill()

    def setDevices(self, devices: Sequence[dict[str, Any]]) -> None:
        """List these devices, {id, kind, name, free_mb} each."""
        self.devices = list(devices)
        self._fill()

    def select(self, deviceId: str) -> None:
        """Show this device as the chosen one; one that is not there shows as "Automatic"."""
        self._deviceId = deviceId
        self._box.currentIndex = max(self._box.findData(deviceId), 0)

    def _fill(self) -> None:
        self._box.clear()
        self._box.addItem(_("Automatic"), "auto")
        for device in self.devices or [{"id": "cpu", "kind": "cpu", "name": _("Processor")}]:
            name = device["name"]
            if device.get("free_mb") and device["kind"] != "cpu":
                name = _("{name} ({free} GB free)").format(name=name, free=round(device["free_mb"] / 1024, 1))
            self._box.addItem(name, device["id"])
        self.select(self._deviceId)

    def _onActivated(self, row: int) -> None:
        self._onChosen(self._box.itemData(row))

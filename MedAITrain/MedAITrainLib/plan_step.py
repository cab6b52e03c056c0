"""Step 2 of the panel: what will be trained, how much memory and time that takes, and every value of it."""

import html

from slicer.i18n import tr as _

from medai.errors import MedAIError
from MedAICoreLib.device_choice import DeviceChoice
from MedAICoreLib.environment_setup import environmentProblem
from MedAICoreLib.progress_text import durationText
from MedAITrainLib.parameters import Task


def _normalizations():
    return [
        ("", _("Automatic")),
        ("zscore", _("Mean 0, standard deviation 1")),
        ("percentile", _("Between percentiles")),
        ("ct_window", _("Fixed window (CT)")),
        ("minmax", _("Between minimum and maximum")),
        ("none", _("As they are")),
    ]


def _crops():
    return [
        ("", _("Automatic")),
        ("none", _("Keep everything")),
        ("nonzero", _("Cut off what is 0")),
        ("body", _("Cut out the body")),
    ]


class PlanStep:
    """Shows and changes the options; `medai plan` runs in a process of its own and is polled."""

    def __init__(self, panel) -> None:
        self.panel, self.ui, self.logic = panel, panel.ui, panel.logic
        self.process = None
        self.summary = None
        self._plannedWith = None
        self._askedWith = None
        self._devicesAsked = self._closed = False
        ui = self.ui
        ui.planButton.connect("clicked(bool)", self.onPlan)
        ui.finetuneComboBox.connect("activated(int)", self.onFinetune)
        ui.normalizationComboBox.connect("activated(int)", self.onNormalization)
        ui.cropComboBox.connect("activated(int)", self.onCrop)
        for combo, choices in ((ui.normalizationComboBox, _normalizations()), (ui.cropComboBox, _crops())):
            for value, text in choices:
                combo.addItem(text, value)
        ui.planProgressBar.visible = False
        self.devices = DeviceChoice(ui.deviceComboBox, self.onDevice)

    # Showing

    def enter(self) -> None:
        """Models may have been installed meanwhile."""
        self._fillModels()

    def opened(self) -> None:
        """The step is seen: look for devices, and make a plan where there is none of these values."""
        self._fillModels()
        self._askDevices()
        parameters = self.panel.parameters
        isPlanned = parameters.task is not Task.SEGMENTATION or self.current or self.process is not None
        if not isPlanned and not self.logic.problem(parameters) and not environmentProblem():
            self.onPlan()

    def showParameters(self) -> None:
        """Show what the parameter node does not show by itself."""
        parameters, ui = self.panel.parameters, self.ui
        for combo, value in (
            (ui.finetuneComboBox, parameters.finetuneFrom),
            (ui.normalizationComboBox, parameters.normalization),
            (ui.cropComboBox, parameters.crop),
        ):
            combo.currentIndex = max(combo.findData(value), 0)
        self.devices.select(parameters.device)
        segments = parameters.task is Task.SEGMENTATION
        for widget in (ui.depthSpinBox, ui.blocksComboBox, ui.fusionComboBox, ui.lossComboBox):
            widget.enabled = segments
        ui.fusionComboBox.enabled = segments and parameters.channels > 1
        ui.freezeEncoderCheckBox.enabled = bool(parameters.finetuneFrom)

    def updateState(self, busy) -> None:
        """Enable and name the buttons for what can be done now."""
        ui = self.ui
        problem = self.logic.problem(self.panel.parameters)
        ui.planButton.text = _("Cancel") if self.process is not None else _("Work out the plan")
        ui.planButton.enabled = self.process is not None or not (problem or environmentProblem())
        ui.planProgressBar.visible = self.process is not None
        segments = self.panel.parameters.task is Task.SEGMENTATION
        ui.planButton.visible = segments
        ui.planBrowser.visible = segments and self.summary is not None
        if self.summary is not None:
            ui.planBrowser.setHtml(planHtml(self.summary, self.current))

    @property
    def current(self) -> bool:
        """Whether the summary is of the values as they are now."""
        return self.summary is not None and self._plannedWith == self._values()

    def _values(self):
        try:
            return tuple(self.logic.planArguments(self.panel.parameters))
        except MedAIError:
            return None

    def invitation(self) -> str:
        """What the panel says before this step."""
        return _("The data set is ready. Next: name the model and see what would be trained.")

    def nextStep(self):
        """(text, button text, action) of what this step misses, or None."""
        problem = self.logic.problem(self.panel.parameters)
        if problem:
            return problem, "", None
        if self.process is not None:
            return _("Looking at the data set and timing a few steps..."), "", None
        return None

    # Choices

    def _fillModels(self) -> None:
        parameters, combo = self.panel.parameters, self.ui.finetuneComboBox
        combo.clear()
        combo.addItem(_("nothing: random weights"), "")
        for entry in self.logic.installedModels(parameters):
            combo.addItem(entry.card.title, entry.card.id)
        if parameters is not None:
            combo.currentIndex = max(combo.findData(parameters.finetuneFrom), 0)

    def onFinetune(self, index) -> None:
        """The person chose a model to go on from."""
        self.panel.parameters.finetuneFrom = self.ui.finetuneComboBox.itemData(index)

    def onNormalization(self, index) -> None:
        """The person chose how intensities are made comparable."""
        self.panel.parameters.normalization = self.ui.normalizationComboBox.itemData(index)

    def onCrop(self, index) -> None:
        """The person chose what is cut off."""
        self.panel.parameters.crop = self.ui.cropComboBox.itemData(index)

    def onDevice(self, deviceId) -> None:
        """The person chose where the training runs."""
        if self.panel.parameters is not None:
            self.panel.parameters.device = deviceId

    def _askDevices(self) -> None:
        if self._devicesAsked or environmentProblem():
            return
        self._devicesAsked = True
        self.logic.requestDevices(self._onDevices)

    def _onDevices(self, devices) -> None:
        if not self._closed:
            self.devices.setDevices(devices)

    # The plan

    def onPlan(self, checked=False) -> None:
        """Ask for the plan, or cancel that."""
        if self.process is not None:
            self.process.cancel()
            self._ended()
            self.panel.showText(_("Cancelled."))
            return
        self._askedWith = self._values()
        try:
            self.process = self.logic.startPlan(self.panel.parameters)
        except MedAIError as error:
            self.panel.showError(error)
        self.panel.updateState()

    def watch(self) -> None:
        """Look whether the plan is there."""
        self.logic.pollWorker()
        if self.process is None or self.process.poll():
            return
        try:
            self.summary = self.process.value()
            self._plannedWith = self._askedWith
            self._showDefaults()
            self.panel.showText("")
        except MedAIError as error:
            self.summary = None
            self.panel.showError(error)
        self._ended()

    def _ended(self) -> None:
        self.process = None
        self.panel.updateState()

    def _showDefaults(self) -> None:
        """What "automatic" means for this data set, in the fields themselves."""
        plan, ui = self.summary, self.ui
        for edit, key in ((ui.spacingLineEdit, "spacing_mm"), (ui.patchLineEdit, "patch")):
            edit.placeholderText = _("automatic: {value}").format(value=_numbers(plan.get(key)))
        for box, key in (
            (ui.depthSpinBox, "depth"),
            (ui.widthSpinBox, "width"),
            (ui.batchSizeSpinBox, "batch_size"),
            (ui.learningRateSpinBox, "learning_rate"),
            (ui.stepsSpinBox, "steps"),
            (ui.foldsSpinBox, "folds"),
        ):
            if plan.get(key):
                box.specialValueText = _("automatic: {value}").format(value=f"{plan[key]:g}")

    def sceneClosed(self) -> None:
        """The plan was of that scene's values."""
        self._cancel()
        self.summary = self._plannedWith = None

    def close(self) -> None:
        """End what runs."""
        self._closed = True
        self._cancel()

    def _cancel(self) -> None:
        if self.process is not None:
            self.process.cancel()
            self.process = None


def planHtml(plan, current=True) -> str:
    """The plan as a table for a person; `plan` is a `PlanSummary` as plain data."""
    network = ", ".join(
        part
        for part in (
            _named(plan.get("network")),
            _named(plan.get("blocks")),
            _("{count} million parameters").format(count=f"{plan.get('parameters', 0) / 1e6:.1f}"),
        )
        if part
    )
    steps = _("{steps} steps of {batch} patches").format(steps=plan.get("steps", 0), batch=plan.get("batch_size", 0))
    if (plan.get("folds") or 1) > 1:
        steps += ", " + _("{folds} networks").format(folds=plan["folds"])
    rows = [
        (_("Time"), f"<b>{_esc(durationText(60 * plan.get('expected_minutes', 0)))}</b>"),
        (_("Memory"), _esc(_memory(plan.get("expected_memory_mb") or 0.0))),
        (_("Device"), _esc(plan.get("device", ""))),
        (_("Cases"), _esc(f"{plan.get('cases', 0)}: {', '.join(plan.get('labels') or ())}")),
        (_("Voxels"), _esc(_("{spacing} mm, patch {patch}").format(
            spacing=_numbers(plan.get("spacing_mm")), patch=_numbers(plan.get("patch"))))),
        (_("Network"), _esc(network)),
        (_("Training"), _esc(f"{steps}, {_named(plan.get('optimizer'))}, {_named(plan.get('loss'))}")),
    ]  # fmt: skip
    others = plan.get("preset_minutes") or {}
    if others:
        text = ", ".join(f"{_named(key)} {durationText(60 * value)}" for key, value in others.items())
        rows.append((_("Efforts"), _esc(text)))
    cells = "".join(f"<tr><td><b>{_esc(name)}</b>&nbsp;</td><td>{value}</td></tr>" for name, value in rows)
    notes = "".join(f"<li>{_esc(note)}</li>" for note in plan.get("notes") or ())
    warning = "" if current else f"<p><i>{_esc(_('Values were changed since: work out the plan again.'))}</i></p>"
    return f"{warning}<table>{cells}</table>" + (f"<ul>{notes}</ul>" if notes else "")


def _memory(megabytes) -> str:
    if megabytes < 1000:
        return _("{mb} MB").format(mb=round(megabytes))
    return _("{gb} GB").format(gb=f"{megabytes / 1024:.1f}")


def _esc(text) -> str:
    return html.escape(str(text))


def _named(value) -> str:
    return str(value or "").replace("_", " ")


def _numbers(values) -> str:
    return " x ".join(f"{value:g}" for value in values or ())

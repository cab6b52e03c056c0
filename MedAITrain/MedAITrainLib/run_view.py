"""One training run as the panel shows it: how far it is, its curves, its preview. No Qt, no dialogs."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from medai.client.training import TrainingRun
from medai.config.training_run import as_one_run
from medai.errors import FileFormatError, MedAIError
from medai.mrml.training_plots import TrainingPlots
from MedAICoreLib.progress_text import durationText
from MedAITrainLib.compared_case import ComparedNodes, readPreview
from MedAITrainLib.options import modelId


class RunView:
    """Follows a run folder; `update` is called from a timer and reads only what is new."""

    def __init__(self, run: TrainingRun, scene: Any) -> None:
        self.run = run
        self.state = run.state()
        self.events: list[dict[str, Any]] = []
        self.plots: TrainingPlots | None = None
        self.preview = ComparedNodes(scene, _("Training preview"))
        self._scene = scene
        self._previewStep = -1
        self._record: list[dict[str, Any]] = []

    @property
    def active(self) -> bool:
        """Whether a process works on it now."""
        return self.state in ("starting", "running", "pausing")

    def update(self) -> bool:
        """Read what is new; whether anything is."""
        state = self.run.state()
        new = self.run.new_events()
        changed = bool(new) or state != self.state
        self.state = state
        if new:
            self._record += new
            self.events = as_one_run(self._record)
        return changed

    def drawCurves(self) -> list[Any]:
        """Chart nodes of the curves so far, by the plots of the run."""
        if self.plots is None:
            self.plots = TrainingPlots(self._scene, self.run.name)
        return self.plots.update(self.events)

    def showPreview(self, colors: dict[str, tuple[float, float, float]]) -> bool:
        """Show the newest preview; whether there was a new one."""
        step = next((e.get("step", 0) for e in reversed(self.events) if e.get("event") == "preview"), -1)
        if step < 0 or (step == self._previewStep and self.preview.shown):
            return False
        try:
            case = readPreview(self.previewFile())
        except FileFormatError:  # just being replaced; the next look finds it
            return False
        self.preview.show(case, colors)
        self._previewStep = step
        return True

    def previewFile(self) -> Any:
        """The newest preview: of the run, or of the fold that is trained now."""
        files = [self.run.files, *self.run.files.folds()]
        return next((f.preview for f in reversed(files) if f.preview.is_file()), self.run.files.preview)

    def last(self, kind: str, key: str) -> Any:
        """The newest value of this key in events of this kind, or None."""
        return next((e[key] for e in reversed(self.events) if e.get("event") == kind and e.get(key) is not None), None)

    @property
    def fraction(self) -> float:
        """How much is done, 0 to 1; of all folds."""
        if self.state == "finished":
            return 1.0
        fold = self.last("step", "fold")
        done = float(self.last("step", "fraction") or 0.0)
        if fold is None:
            return done
        folds = max(1, self.run.config().folds)
        return (fold + done) / folds

    def statusText(self) -> str:
        """Where the run stands, for a person."""
        lines = [self._stateText()]
        if self.active or self.state == "paused":
            lines.append(self._figures())
        dice = self.last("validation", "mean_dice")
        if dice is not None:
            lines.append(_("Dice on held-back cases: {dice}").format(dice=f"{dice:.3f}"))
        error = self.run.error()
        if error is not None:
            lines += [error.message, error.remedy]
        return "\n".join(line for line in lines if line)

    def _stateText(self) -> str:
        stage = self.run.stage()
        texts = {
            "starting": _("Starting: libraries are loaded, the data set is prepared"),
            "running": _("Training"),
            "pausing": _("Pausing: the state is being saved"),
            "paused": _("Paused. Resume goes on exactly there; nothing runs meanwhile."),
            "finished": _("Finished."),
            "failed": _("Failed."),
            "killed": _("Interrupted: the process is gone."),
        }
        text = texts[self.state]
        if self.state == "running" and stage and stage != "training":
            text = {"evaluating": _("Evaluating"), "packaging": _("Writing the model")}.get(stage, stage)
        eta = self.last("step", "eta_s")
        if self.state == "running" and eta is not None and stage in ("", "training"):
            text += " - " + _("about {time} left").format(time=durationText(float(eta)))
        if self.state in ("running", "starting") and self.run.asked() == "stop":
            text += " - " + _("stopping early")
        return text

    def _figures(self) -> str:
        parts = []
        step, loss = self.last("step", "step"), self.last("step", "loss")
        if step is not None:
            parts.append(_("step {step}").format(step=step))
        if loss is not None:
            parts.append(_("loss {loss}").format(loss=f"{loss:.3f}"))
        memory = self.last("step", "memory_mb")
        if memory:
            parts.append(_("{gb} GB of memory").format(gb=f"{memory / 1024:.1f}"))
        return ", ".join(parts)

    def close(self) -> None:
        """The panel shows another run: the preview goes, the curves stay in the scene."""
        self.preview.remove()


def runTitle(run: TrainingRun) -> str:
    """How a run is listed."""
    try:
        title = run.config().title or run.name
    except MedAIError:
        title = run.name
    texts = {
        "starting": _("running"),
        "running": _("running"),
        "pausing": _("pausing"),
        "paused": _("paused"),
        "finished": _("finished"),
        "failed": _("failed"),
        "killed": _("interrupted"),
    }
    # A second run of a model has a number in its title already.
    named = title if modelId(title) == run.name else f"{title} ({run.name})"
    return f"{named}: {texts[run.state()]}"

"""The folder of a project: where its data sets, runs, models and evaluations lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from medai.errors import ConfigError


@dataclass(frozen=True)
class ProjectFolder:
    """Where the things of one undertaking lie; made only when something is written."""

    root: Path

    @property
    def runs(self) -> Path:
        """A folder for each run."""
        return self.root / "runs"

    @property
    def models(self) -> Path:
        """The trained models."""
        return self.root / "models"

    @property
    def reports(self) -> Path:
        """Evaluations."""
        return self.root / "evaluations"

    def new(self, parent: Path, name: str, suffix: str = "") -> Path:
        """A path in `parent` that does not exist yet: ``name``, ``name-2``, ..."""
        number, path = 1, parent / f"{name}{suffix}"
        while path.exists():
            number += 1
            path = parent / f"{name}-{number}{suffix}"
        return path


def makeFolder(path: Path) -> None:
    """Make the folder and those above it; ConfigError where that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            _("The folder '{path}' cannot be made: {error}.").format(path=path, error=error.strerror or error),
            _("Choose another project folder."),
        ) from error

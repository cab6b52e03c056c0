"""Where everything of the environment lies: one folder, so that removing it leaves nothing behind."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Names are short: below the packages' own paths the 260 characters of Windows are soon used up.
_ENVIRONMENT_NAME = re.compile(r"e\d+")


def default_root(variables: Mapping[str, str] | None = None) -> Path:
    """The environment's folder in the user's *local* application data (never a roaming or synchronised folder).

    `variables` stands for `os.environ`. It need not exist.
    """
    variables = os.environ if variables is None else variables
    if sys.platform == "win32":
        data = Path(variables.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    else:
        named = variables.get("XDG_DATA_HOME", "")
        # The XDG specification: a relative path is invalid and to be ignored.
        data = Path(named) if os.path.isabs(named) else Path.home() / ".local" / "share"
    return data / "MedAI" / "env"


@dataclass(frozen=True)
class Places:
    """The files and folders below `root`; nothing is written anywhere else."""

    root: Path

    @property
    def tools(self) -> Path:
        """uv, installed with pip's --target."""
        return self.root / "uv"

    @property
    def uv(self) -> Path:
        """uv's executable."""
        return self.tools / "bin" / ("uv.exe" if sys.platform == "win32" else "uv")

    @property
    def cache(self) -> Path:
        """uv's and pip's cache; packages in the environment are hard links to files in it where that is possible."""
        return self.root / "cache"

    @property
    def interpreters(self) -> Path:
        """The interpreters that uv manages."""
        return self.root / "python"

    @property
    def archives(self) -> Path:
        """The archives from which those interpreters were unpacked; they go into an offline pack."""
        return self.root / "archives"

    @property
    def temporary(self) -> Path:
        """What child processes see as TMPDIR."""
        return self.root / "tmp"

    @property
    def state(self) -> Path:
        """What is there: see `state`."""
        return self.root / "state.json"

    @property
    def lock(self) -> Path:
        """Which process changes the folder now."""
        return self.root / "lock"

    @property
    def log(self) -> Path:
        """What the tools of the last operation printed."""
        return self.root / "log.txt"

    def environment(self, name: str) -> Path:
        """A built environment by its name in the state file."""
        return self.root / name

    def environments(self) -> list[Path]:
        """The folders of environments, complete or not."""
        if not os.path.isdir(self.root):
            return []
        return sorted(path for path in self.root.iterdir() if _ENVIRONMENT_NAME.fullmatch(path.name))

    def next_name(self) -> str:
        """The name of an environment that does not exist yet."""
        taken = {path.name for path in self.environments()}
        return next(name for name in (f"e{number}" for number in range(1, len(taken) + 2)) if name not in taken)

    def ours(self) -> list[Path]:
        """Everything below the root that belongs to the environment and exists."""
        fixed = (self.tools, self.cache, self.interpreters, self.archives, self.temporary, self.state, self.log)
        leftovers = [path for name in ("uv-*", "state.json.*", "lock.*") for path in sorted(self.root.glob(name))]
        return [*self.environments(), *leftovers, *(path for path in fixed if path.exists() or path.is_symlink())]


def venv_python(folder: Path) -> Path:
    """The interpreter of a virtual environment."""
    return folder / "Scripts" / "python.exe" if sys.platform == "win32" else folder / "bin" / "python"


def site_packages(folder: Path) -> Path | None:
    """Where a virtual environment keeps its packages; None where it has no such folder."""
    if sys.platform == "win32":
        found = folder / "Lib" / "site-packages"
        return found if found.is_dir() else None
    return next(iter(sorted(folder.glob("lib/python3*/site-packages"))), None)

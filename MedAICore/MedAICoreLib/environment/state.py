"""What was built and what is being built (state.json), and which process may change it (the lock file)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from medai.errors import EnvironmentFailure
from medai.process_identity import ProcessIdentity
from MedAICoreLib.environment.places import Places, venv_python

FORMAT = 1
# A lock file is empty for the moment between its making and its writing.
_EMPTY_LOCK_S = 10.0

MANAGED, CHOSEN, SLICER = "managed", "chosen", "slicer"


@dataclass(frozen=True)
class Built:
    """A complete environment.

    `folder` is its name below the root. `route` is how it was built: with an interpreter that uv manages (managed),
    one that the person chose (chosen), or as a folder of packages for Slicer's own Python (slicer). `base` is the
    interpreter that it stands on, `packages` version by distribution, `pack` the offline pack that it came from.
    """

    folder: str
    route: str
    stamp: str
    base: str
    packages: dict[str, str] = field(default_factory=dict)
    size_bytes: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    pack: str = ""

    def python(self, places: Places) -> Path:
        """The interpreter that the worker runs in."""
        return Path(self.base) if self.route == SLICER else venv_python(places.environment(self.folder))

    def package_folder(self, places: Places) -> Path | None:
        """A folder that goes first on that interpreter's path; None where its own site-packages has everything."""
        return places.environment(self.folder) if self.route == SLICER else None


@dataclass(frozen=True)
class State:
    """`built` is usable; `building` is the name of a folder on which work was begun, empty where there is none."""

    built: Built | None = None
    building: str = ""


def read_state(places: Places) -> State:
    """The state file; a missing one is empty, an unreadable one means that nothing usable is there."""
    try:
        content: dict[str, Any] = json.loads(places.state.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            return State()
        built = content["built"]
        if built is not None:
            built = Built(**{**built, "devices": tuple(built["devices"]), "warnings": tuple(built["warnings"])})
        return State(built, str(content["building"]))
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, KeyError, TypeError):
        # Written whole or not at all, so somebody else damaged it; what it named is found by the folders' names.
        leftover = places.environments()
        return State(building=leftover[-1].name if leftover else "")


def write_state(places: Places, state: State) -> None:
    """Replace the state file as a whole."""
    built = None if state.built is None else asdict(state.built)
    content = {"format": FORMAT, "built": built, "building": state.building}
    temporary = places.state.with_name(f"state.json.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, places.state)


def change_state(places: Places, **changes: Any) -> State:
    """Write the state with these fields changed, and give it."""
    state = replace(read_state(places), **changes)
    write_state(places, state)
    return state


@dataclass(frozen=True)
class Holder:
    """Who holds the lock: the process that builds, and the child (uv, pip) that works for it now."""

    owner: ProcessIdentity | None
    child: ProcessIdentity | None = None


class FolderLock:
    """One process at a time changes the folder; a lock whose process is gone is taken over."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._own = ProcessIdentity.current()
        self._held = False

    def holder(self) -> Holder | None:
        """Who holds it, alive or not; None where nobody does."""
        try:
            lines = self._places.lock.read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return None
        except OSError:  # Windows: the moment in which another process replaces it
            return Holder(None)
        identities = [ProcessIdentity.parse(line) for line in lines[:2]] + [None, None]
        return Holder(identities[0], identities[1])

    def is_live(self) -> bool:
        """Whether a process that still runs holds it."""
        holder = self.holder()
        if holder is None:
            return False
        if holder.owner is None:
            try:
                return time.time() - self._places.lock.stat().st_mtime < _EMPTY_LOCK_S
            except OSError:
                return False
        return holder.owner.alive()

    def acquire(self) -> None:
        """Take the lock, after ending what a dead holder left running; EnvironmentFailure where somebody has it."""
        self._places.root.mkdir(parents=True, exist_ok=True)
        for _attempt in range(3):
            try:
                descriptor = os.open(self._places.lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            except FileExistsError:
                self._take_away_from_the_dead()
                continue
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(f"{self._own}\n")
            self._held = True
            return
        raise self._taken()

    def note_child(self, pid: int | None) -> None:
        """Remember the child process, so that it can be ended where this process is killed."""
        if not self._held:
            return
        child = ProcessIdentity.of(pid) if pid is not None else None
        temporary = self._places.root / f"lock.{os.getpid()}"
        temporary.write_text(f"{self._own}\n{child or ''}\n", encoding="utf-8")
        os.replace(temporary, self._places.lock)

    def release(self) -> None:
        """Give it back."""
        if self._held:
            self._places.lock.unlink(missing_ok=True)
            self._held = False

    @contextlib.contextmanager
    def hold(self) -> Iterator[FolderLock]:
        """Hold it for a ``with`` block."""
        self.acquire()
        try:
            yield self
        finally:
            self.release()

    def _take_away_from_the_dead(self) -> None:
        if self.is_live():
            raise self._taken()
        holder = self.holder()
        # Renaming succeeds for one of several that try; the others find no lock, or a new one.
        aside = self._places.root / f"lock.dead-{os.getpid()}"
        try:
            os.rename(self._places.lock, aside)
        except FileNotFoundError:
            return
        taken = aside.read_text(encoding="utf-8").split()
        if holder is not None and holder.owner is not None and taken[:1] != [str(holder.owner)]:
            os.rename(aside, self._places.lock)  # meanwhile another process had taken over and begun
            raise self._taken()
        aside.unlink(missing_ok=True)
        if holder is not None and holder.child is not None and holder.child.alive():
            _end_tree(holder.child.pid)

    def _taken(self) -> EnvironmentFailure:
        holder = self.holder()
        who = f"process {holder.owner.pid}" if holder and holder.owner else "another process"
        return EnvironmentFailure(
            f"The environment in '{self._places.root}' is being changed by {who}.",
            "Wait until it is done there (another Slicer?), then try again.",
        )


def _end_tree(leader: int) -> None:
    # The children of the tools lead process groups of their own; on Windows a Job Object ended them with their owner.
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)

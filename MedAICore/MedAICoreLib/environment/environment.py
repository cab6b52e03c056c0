"""The environment of MedAI's worker as the rest of the Slicer side sees it. No Qt, no torch: the standard library."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from medai.errors import EnvironmentFailure, MedAIError
from MedAICoreLib.environment.build import Workshop, build, check
from MedAICoreLib.environment.commands import Commands, Sources
from MedAICoreLib.environment.failures import DiagnosedFailure, diagnose_error
from MedAICoreLib.environment.lock import RESOURCES, Lock, load_lock
from MedAICoreLib.environment.machine import Machine, this_machine
from MedAICoreLib.environment.operation import Operation, Steps
from MedAICoreLib.environment.pack import install_pack, make_pack
from MedAICoreLib.environment.places import Places, default_root
from MedAICoreLib.environment.plan import Plan, make_plan
from MedAICoreLib.environment.probe import probe
from MedAICoreLib.environment.remove import remove, remove_empty
from MedAICoreLib.environment.repair import repair
from MedAICoreLib.environment.state import MANAGED, SLICER, Built, FolderLock, read_state


class Kind(Enum):
    """What there is."""

    ABSENT = "absent"
    READY = "ready"
    OUTDATED = "outdated"  # of another version of MedAI; usable until it is built anew
    BUSY = "busy"  # a process works on it now
    INTERRUPTED = "interrupted"
    BROKEN = "broken"  # its interpreter is gone
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class Status:
    """What there is, with the complete environment where there is one (also beside an interrupted new one)."""

    kind: Kind
    built: Built | None = None
    problem: MedAIError | None = None

    @property
    def usable(self) -> bool:
        """Whether the worker can be started in it."""
        return self.built is not None and self.kind is not Kind.BROKEN


class Environment:
    """The environment below `root` (default: the user's local application data).

        environment = Environment(slicer_python="/path/to/PythonSlicer")
        plan = environment.plan()  # the question: plan.items, plan.download_bytes, plan.folder, plan.problem
        operation = environment.build()
        while operation.advance():  # in Slicer: one call per tick of a timer
            show(operation.fraction, operation.stage, operation.detail)
        operation.error  # None, or what to tell the person: message and remedy

    Each long piece of work is an `Operation`. `lock`, `sources`, `machine` and `variables` (this process' environment
    variables) are replaced in tests.
    """

    def __init__(
        self,
        root: Path | None = None,
        slicer_python: str = sys.executable,
        sources: Sources | None = None,
        lock: Lock | None = None,
        machine: Machine | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.places = Places(default_root(variables) if root is None else Path(root))
        self.machine = this_machine() if machine is None else machine
        self.sources = sources or Sources()
        self._slicer_python = slicer_python
        self._lock = lock
        self._variables = None if variables is None else dict(variables)

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return self.places.root

    def lock(self) -> Lock:
        """The tested packages for this machine; EnvironmentFailure where there are none."""
        if self._lock is not None:
            return self._lock
        message, remedy = self.machine.problem()
        if message:
            raise DiagnosedFailure(message, remedy, "unsupported")
        return load_lock(self.machine.tag, RESOURCES)

    def status(self) -> Status:
        """What there is now. Quick: starts nothing, reads two small files."""
        try:
            stamp = self.lock().stamp
        except EnvironmentFailure as problem:
            return Status(Kind.UNSUPPORTED, problem=problem)
        state = read_state(self.places)
        if FolderLock(self.places).is_live():
            return Status(Kind.BUSY, state.built)
        if state.building:
            return Status(Kind.INTERRUPTED, state.built)
        if state.built is None:
            leftover = self.places.environments()
            return Status(Kind.INTERRUPTED if leftover else Kind.ABSENT)
        folder = self.places.environment(state.built.folder)
        if not folder.is_dir() or not state.built.python(self.places).is_file():
            return Status(Kind.BROKEN, state.built)
        return Status(Kind.READY if state.built.stamp == stamp else Kind.OUTDATED, state.built)

    def interpreter(self) -> tuple[Path, Path | None] | None:
        """(interpreter, folder of packages that goes first on its path or None) of the worker; None without one."""
        status = self.status()
        if not status.usable or status.built is None:
            return None
        return status.built.python(self.places), status.built.package_folder(self.places)

    def plan(self, route: str = MANAGED, base: str = "") -> Plan:
        """What building would load, from where, how much, into which folder, and what stands against it."""
        lock = None
        if not self.machine.problem()[0]:
            lock = self.lock()
        return make_plan(self.places, lock, self.machine, self.sources, route, base)

    def build(self, route: str = MANAGED, base: str = "") -> Operation:
        """Build it (`base`: the person's interpreter for the route "chosen"); an older one is used until then.

        An interrupted build is continued: its downloads are in the cache.
        """
        problem = self.plan(route, base).problem
        if problem is not None and not (isinstance(problem, DiagnosedFailure) and problem.kind == "policy"):
            return self._refused("build", problem)
        if problem is not None:  # no program may be started there: Slicer's own Python, whose packages are no programs
            route = SLICER
        return self._operation("build", lambda shop: build(shop, route, base))

    def check(self) -> Operation:
        """Import everything, infer on every device; the result is a `Built` with what was found."""
        built = read_state(self.places).built
        if built is None:
            return self._refused("check", EnvironmentFailure("There is no environment to check.", "Install it."))
        return self._operation("check", lambda shop: check(shop, built))

    def probe(self, python: str) -> Operation:
        """Try whether another interpreter has all that the worker needs; the result are its versions."""
        return self._operation("probe", lambda shop: probe(shop, python), after=lambda: remove_empty(self.places))

    def repair(self) -> Operation:
        """Compare every file, install again what is broken, check; the result lists what was damaged."""
        state = read_state(self.places)
        pack = Path(state.built.pack) if state.built and state.built.pack else None
        if pack is not None and pack.is_file():  # it was made without a network, so it is mended without one
            return self._operation("repair", lambda shop: install_pack(shop, pack, self._base(state.built)))
        return self._operation("repair", repair)

    def _base(self, built: Built | None) -> str:
        return built.base if built is not None and built.route == "chosen" else ""

    def remove(self) -> Operation:
        """Delete everything: environments, uv, its interpreters and its cache. End the worker before."""
        return self._operation("remove", lambda shop: remove(shop.places), after=lambda: remove_empty(self.places))

    def pack(self, path: Path) -> Operation:
        """Write an offline pack of what is installed."""
        return self._operation("pack", lambda shop: make_pack(shop, Path(path)))

    def install_pack(self, path: Path, base: str = "") -> Operation:
        """Build it from an offline pack, without any network."""
        return self._operation("install_pack", lambda shop: install_pack(shop, Path(path), base))

    def diagnose(self, error: BaseException) -> MedAIError:
        """The error as it is told to a person."""
        return diagnose_error(error, str(self.places.root))

    def with_sources(self, **changes: object) -> Environment:
        """The same environment, loaded from elsewhere."""
        sources = replace(self.sources, **changes)  # type: ignore[arg-type]
        return Environment(self.folder, self._slicer_python, sources, self._lock, self.machine, self._variables)

    def _operation(
        self, name: str, steps: Callable[[Workshop], Steps], after: Callable[[], None] | None = None
    ) -> Operation:
        try:
            lock = self.lock()
        except EnvironmentFailure as problem:
            if name != "remove":
                return self._refused(name, problem)
            return Operation(name, self.places, remove(self.places), after)
        commands = Commands(self.places, lock, self.sources, self.machine, self._slicer_python)
        return Operation(name, self.places, steps(Workshop(commands, self._variables)), after)

    def _refused(self, name: str, problem: MedAIError) -> Operation:
        return Operation(name, self.places, _fail(problem))


def _fail(problem: MedAIError) -> Steps:
    raise problem
    yield  # makes it a generator: the operation reports the problem like any other

"""How long the window stands still while MedAI Segmentation works, and what is left after many runs.

    python Testing/benchmarks/seg_panel_loop.py [--large 300 512 512] [--runs 50] [--cancels 10] [--kills 5]

On the test host (real MRML and Qt, a real worker, a small fitted network), in both modes of the event loop: giving
up the GIL while it waits, and holding it as Slicer's main loop does. Prints the longest pause of the event loop in each
phase of a run on a large volume, the times of cancel, kill -9 and recovery, that a second run loads no model, and the
memory, processes, files and nodes after many runs.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "MedAICore")]

import numpy as np  # noqa: E402
import psutil  # noqa: E402
from host import start  # noqa: E402
from host.event_loop import GilHeldLoop, StallMonitor, click, pump  # noqa: E402
from integration.cli.phantoms import fit  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from widgets import seg_panel  # noqa: E402
from widgets.seg_panel import SegPanel, install_model, open_panel  # noqa: E402

ROOT = HERE.parents[1]
LIMIT_S = 1200.0


class Person(SegPanel):
    """A person at the panel, in either mode of the event loop; the longest pause of each phase is kept."""

    gil_held = False

    def wait(self, until: Callable[[], bool] | None = None) -> None:
        done = until or (lambda: not self.widget.logic.busy)
        if self.gil_held:
            assert GilHeldLoop().wait_until(done, LIMIT_S), self.state
        else:
            seg_panel.LIMIT_S = LIMIT_S
            super().wait(done)

    def run_by_phase(self, volume: Any) -> dict[str, tuple[float, float]]:
        """{phase: (seconds, longest pause in ms)} of a whole run."""
        self.choose(volume)
        self.widget._parameterNode.segmentation = None
        phases: dict[str, tuple[float, float]] = {}
        logic = self.widget.logic
        with StallMonitor() as stalls:
            begun = time.perf_counter()
            click(self.ui.applyButton)
            phase = "starting"
            while phase:
                seen = len(stalls.gaps_ms)
                self.wait(lambda name=phase: self._phase(logic) != name)
                pause = max(stalls.gaps_ms[max(seen - 1, 0) :], default=0.0)
                now = time.perf_counter()
                seconds, worst = phases.get(phase, (0.0, 0.0))
                phases[phase] = (seconds + now - begun, max(worst, pause))
                begun, phase = now, self._phase(logic)
            pump(100)
            phases["after"] = (0.1, max(stalls.gaps_ms[-15:], default=0.0))
        return phases

    def _phase(self, logic: Any) -> str:
        if not logic.busy:
            return ""
        return logic.activeRun.state.value if logic.activeRun is not None else "starting"


def seconds_until(person: Person, until: Callable[[], bool]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    person.wait(until)
    return time.perf_counter() - begun


def large_volume(person: Person, shape: tuple[int, int, int]) -> Any:
    """Balls in noise, int16, (k, j, i)."""
    from medai.image import Image

    generator = np.random.default_rng(3)
    array = np.empty((1, *shape), np.int16)
    for k in range(shape[0]):
        array[0, k] = generator.integers(80, 120, shape[1:])
    k, j, i = shape
    array[0, k // 4 : k // 2, j // 4 : j // 2, i // 4 : i // 2] = 400
    array[0, k // 2 : 3 * k // 4, j // 2 : 3 * j // 4, i // 2 : 3 * i // 4] = 250
    return person.add_phantom("large", image=Image(array, np.diag([0.8, 0.8, 1.0, 1.0])))


def middle_region(shape: tuple[int, int, int]) -> Any:
    """An ROI of 40 % of each side: the whole volume travels, but the network need not run for many minutes."""
    import slicer

    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "middle")
    size = [0.8 * shape[2], 0.8 * shape[1], 1.0 * shape[0]]
    region.SetCenter(*(s / 2 for s in size))
    region.SetSize(*(0.4 * s for s in size))
    return region


def phases_table(person: Person, shape: tuple[int, int, int], console: Console) -> None:
    """Pauses of the event loop in a run on a large volume, both modes."""
    table = Table("phase", "s", "longest pause, ms", "s, GIL held", "longest pause, ms, GIL held")
    found = []
    for held in (False, True):
        person.gil_held = held
        volume = large_volume(person, shape)
        person.widget._parameterNode.roi = middle_region(shape)
        found.append(person.run_by_phase(volume))
        print(person.ui.statusLabel.text, flush=True)
        import slicer

        slicer.mrmlScene.Clear(0)
        person.widget.onModelChosen("balls")
    for name in found[0]:
        cells = [f"{value:.2f}" if n == 0 else f"{value:.0f}" for part in found for n, value in
                 enumerate(part.get(name, (0.0, 0.0)))]  # fmt: skip
        table.add_row(name, *cells)
    table.title = f"One run on {' x '.join(map(str, reversed(shape)))} int16, load {os.getloadavg()[0]:.1f}"
    console.print(table)


def answers_table(person: Person, volume: Any, console: Console) -> None:
    """Cancel, kill -9, recovery, warm model."""
    table = Table("what", "s")
    logic = person.widget.logic
    person.gil_held = False
    person.run(volume)
    table.add_row("load_model, first run", f"{person.widget._shownRun.result.seconds['load_model']:.3f}")
    person.run(volume)
    table.add_row("load_model, second run", f"{person.widget._shownRun.result.seconds['load_model']:.3f}")
    big = large_volume(person, (120, 256, 256))
    for what in ("cancel to ready", "kill -9 to message"):
        person.choose(big)
        person.apply()
        person.wait(lambda: logic.activeRun is not None and logic.activeRun.state.value == "computing")
        person.wait(lambda: person.ui.progressBar.value > 60)
        if what.startswith("cancel"):
            person.apply()
        else:
            os.kill(person.worker_pid() or 0, signal.SIGKILL)
        table.add_row(what, f"{seconds_until(person, lambda: not logic.busy):.3f}")
        print(person.ui.statusLabel.text, flush=True)
    begun = time.perf_counter()
    person.run(volume)
    table.add_row("next Apply with a new worker, whole run", f"{time.perf_counter() - begun:.3f}")
    console.print(table)


def endurance_table(person: Person, runs: int, cancels: int, kills: int, console: Console) -> None:
    """Memory, processes, files and nodes after many runs."""
    import slicer

    logic = person.widget.logic
    table = Table("runs", "Slicer side, MB", "worker, MB", "nodes", "array files")
    volume = person.add_phantom("many runs")
    segmentation = person.run(volume)
    pids: set[int] = set()
    for number in range(1, runs + 1):
        person.choose(volume)
        person.widget._parameterNode.segmentation = segmentation
        person.apply()
        if cancels and number % (runs // cancels) == 0:
            person.apply()
        elif kills and number % (runs // kills) == 1:
            person.wait(lambda: logic.activeRun is None or logic.activeRun.state.value == "computing")
            if person.worker_pid():
                os.kill(person.worker_pid() or 0, signal.SIGKILL)
        person.wait()
        pids |= {person.worker_pid() or 0}
        if number % 10 == 0 or number == 1:
            person.run(volume)
            worker = psutil.Process(person.worker_pid() or 0)
            table.add_row(
                str(number),
                f"{psutil.Process().memory_info().rss / 2**20:.0f}",
                f"{worker.memory_info().rss / 2**20:.0f}",
                str(slicer.mrmlScene.GetNumberOfNodes()),
                str(len(list(_session().glob("*.raw")))),
            )
    console.print(table)
    session = _session()
    from MedAICoreLib.worker import sharedWorker

    sharedWorker().close()
    alive = [pid for pid in pids if pid and psutil.pid_exists(pid)]
    console.print(f"After closing: {len(alive)} of {len(pids)} processes left, session folder left: {session.exists()}")


def _session() -> Path:
    from MedAICoreLib.worker import sharedWorker

    return sharedWorker().client.session.path


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", nargs=3, type=int, default=[300, 512, 512], metavar=("K", "J", "I"))
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--cancels", type=int, default=10)
    parser.add_argument("--kills", type=int, default=5)
    options = parser.parse_args()
    console = Console(width=110)
    host = start()
    with tempfile.TemporaryDirectory() as folder:
        models = install_model(Path(folder) / "models", fit(), patch=(48, 64, 64))
        panel = open_panel(host, lambda name: host.module_widget(ROOT / name / f"{name}.py"), models)
        person = Person(host, panel.widget)
        person.widget.onModelChosen("balls")
        answers_table(person, person.add_phantom(), console)
        phases_table(person, tuple(options.large), console)
        if options.runs:
            endurance_table(person, options.runs, options.cancels, options.kills, console)


if __name__ == "__main__":
    main()

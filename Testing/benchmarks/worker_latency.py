"""How long Slicer's main loop is held while it works with a worker, and how soon cancel, crash and rerun are over.

    python Testing/benchmarks/worker_latency.py [--rounds 10]

Prints one table: start to hello, cancel (obeyed and not), kill -9 to message, poll and slab times while a volume of
512 x 512 x 300 int16 goes out and comes back, and after 5 runs, 1 cancel and half a kill per round: memory, processes,
files.
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

import numpy as np
import psutil

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "MedAICore"))

from medai.client import ArrayReader, ArrayWriter, ChildProcessTransport, Client  # noqa: E402
from medai.config.requests import SegmentArgs  # noqa: E402
from medai.config.segment import SegmentConfig  # noqa: E402

STUB = HERE.parent / "integration" / "worker" / "stub_worker.py"
TICK_S = 0.010


class Bench:
    """A main loop with a timer; every tick's time is kept."""

    def __init__(self, parent: Path) -> None:
        self.transport = ChildProcessTransport(sys.executable, script=STUB)
        self.client = Client(self.transport, session_parent=parent)
        self.ticks: list[float] = []
        self.pids: set[int] = set()
        self.heard: list[object] = []

    def tick(self, work: Callable[[], object]) -> None:
        started = time.perf_counter()
        work()
        self.ticks.append(time.perf_counter() - started)
        if self.transport.pid:
            self.pids.add(self.transport.pid)
        time.sleep(max(0.0, TICK_S - self.ticks[-1]))

    def until(self, done: Callable[[], bool]) -> float:
        started = time.perf_counter()
        while not done():
            self.tick(self.client.poll)
        return time.perf_counter() - started

    def idle(self) -> float:
        return self.until(lambda: not self.client.busy)

    def send(self, array: np.ndarray) -> object:
        writer = ArrayWriter(self.client.session, array, np.eye(4))
        while not writer.done:
            self.tick(writer.step)
        return writer.ref

    def receive(self, ref: object) -> np.ndarray:
        reader = ArrayReader(self.client.session, ref)
        while not reader.done:
            self.tick(reader.step)
        return reader.array

    def ask(self, deed: str, array: np.ndarray) -> int:
        self.heard, progress = [], []
        args = SegmentArgs("stub", (self.send(array),), SegmentConfig(labels=(deed,)))
        number = self.client.request("segment", args, progress.append, self.heard.append, self.heard.append)
        if deed != "echo":
            self.until(lambda: bool(progress))
        return number


def ms(seconds: float) -> str:
    return f"{1000 * seconds:8.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    small = np.zeros((10, 20, 30), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.client.request("device.info", on_result=bench.heard.append, on_error=bench.heard.append)
        print(f"start to hello              {ms(bench.until(lambda: bench.client.hello is not None))}")
        bench.idle()

        for deed, text in (("cooperative", "obeyed"), ("stuck", "not obeyed: kill")):
            number = bench.ask(deed, small)
            bench.client.cancel(number)
            print(f"cancel, {text:<20}{ms(bench.idle())}")
        bench.ask("stuck", small)
        os.kill(bench.transport.pid or 0, signal.SIGKILL)
        print(f"kill -9 to message          {ms(bench.until(lambda: bool(bench.heard)))}")
        bench.ask("echo", small)
        print(f"next run, new worker        {ms(bench.idle())}")
        bench.receive(bench.heard[0].label_map)

        volume = np.random.default_rng(0).integers(-1000, 3000, (300, 512, 512)).astype(np.int16)
        bench.ticks.clear()
        started = time.perf_counter()
        bench.ask("echo", volume)
        bench.idle()
        back = bench.receive(bench.heard[0].label_map)
        total = time.perf_counter() - started
        assert np.array_equal(back[0], volume)
        print(f"512x512x300 int16 and back  {ms(total)}   longest tick {ms(max(bench.ticks))}")
        del volume, back

        memory = []
        for number in range(rounds):
            for _ in range(5):
                bench.ask("echo", np.zeros((50, 512, 512), np.uint8))
                bench.idle()
                bench.receive(bench.heard[0].label_map)
            worker = psutil.Process(bench.transport.pid).memory_info().rss / 2**20
            memory.append((psutil.Process().memory_info().rss / 2**20, worker))
            bench.client.cancel(bench.ask("cooperative" if number % 2 else "stuck", small))
            bench.idle()
            if number % 2:
                bench.ask("stuck", small)
                os.kill(bench.transport.pid or 0, signal.SIGKILL)
                bench.idle()
        for name, column in (("client", 0), ("worker", 1)):
            values = " ".join(f"{row[column]:.0f}" for row in memory)
            print(f"memory of the {name} (MiB), every 5 runs: {values}")
        left = [p.name for p in bench.client.session.path.iterdir() if not p.name.endswith(".log")]
        bench.client.close()
        alive = [pid for pid in bench.pids if psutil.pid_exists(pid)]
        print(
            f"after {5 * rounds} runs, {rounds} cancels, {rounds // 2} kills: {len(left)} array files while open, ",
            end="",
        )
        print(f"{len(os.listdir(folder))} files and {len(alive)} of {len(bench.pids)} processes after close")


if __name__ == "__main__":
    main()

"""A worker whose operations misbehave on command: the real server, started as Slicer starts it, without a model.

The operation is always `segment`; `config.labels[0]` says what to do.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "MedAICore"))

from medai.worker.bootstrap import take_over_pipes


def _echo(run, image):
    for step in range(100):
        run.progress(Progress(step / 100, "Counting", 1.0))
    return image


def _cooperative(run, image):
    run.progress(Progress(0.1, "Waiting"))
    while True:
        check_cancelled(run.cancelled)
        time.sleep(0.02)


def _stuck(run, image):
    run.put(image)  # half a result
    run.progress(Progress(0.1, "Stuck"))
    while True:
        time.sleep(1.0)


def _stuck_with_children(run, image):
    # A grandchild that outlives an ordinary kill of its parent, and holds stderr open.
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    run.progress(Progress(0.1, f"child {child.pid}"))
    while True:
        time.sleep(1.0)


def _stuck_holding_the_gil(run, image):
    run.progress(Progress(0.1, "Stuck in C"))
    ctypes.PyDLL(None).sleep(600)  # PyDLL: the GIL is kept, no other thread of the worker runs


def _killed(run, image):
    run.put(image)
    run.progress(Progress(0.1, "Dying"))
    os.kill(os.getpid(), signal.SIGKILL)


def _crash(run, image):
    ctypes.string_at(0)


def _noisy(run, image):
    print("to stdout")
    os.write(1, b'{"type": "result", "id": 1, "value": {}}\n')
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    sys.stdin.read()  # ends at once: the protocol's pipe is out of reach
    for _ in range(200):
        os.write(2, b"x" * 10_000 + b"\n")
    print("the last words", file=sys.stderr)
    return image


def _exit(run, image):
    sys.exit(3)


def _bug(run, image):
    return 1 / 0


def _out_of_memory(run, image):
    raise MemoryError("Unable to allocate 900 GiB")


def _too_long(run, image):
    raise InputError("x" * 3_000_000, "Be brief.")


DEEDS = {
    name[1:]: deed
    for name, deed in list(globals().items())
    if name.startswith("_") and callable(deed) and not name.startswith("__")
}


def segment(args, run):
    started = time.perf_counter()
    image = run.take(args.images[0])
    warm = run.models.get(args.model, lambda: (object(), WarmModel(args.model, "1", "cpu", 1.0)))
    result = DEEDS[args.config.labels[0]](run, image)
    return SegmentValue(
        run.put(result),
        (Label(1, "one", (1.0, 0.0, 0.0)),),
        warm.entry,
        {"load_model": warm.seconds, "total": time.perf_counter() - started},
        None,
        "none",
        "exact",
    )


if __name__ == "__main__":
    pipes = take_over_pipes()
    from medai.config.requests import SegmentValue, WarmModel
    from medai.errors import InputError
    from medai.labels import Label
    from medai.progress import Progress, check_cancelled
    from medai.worker import serve
    from medai.worker.operations import device_info

    serve(*pipes, sys.argv[1:], {"segment": segment, "device.info": device_info})

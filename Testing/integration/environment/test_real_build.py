"""The whole thing, once, with the real lock: torch built in, a real segmentation, repair, an offline pack, removal."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from medai.client import ArrayReader, ArrayWriter, ChildProcessTransport, Client
from medai.config.requests import SegmentArgs
from medai.config.segment import SegmentConfig
from MedAICoreLib.environment import Environment, Kind, Sources, megabytes
from MedAICoreLib.environment.lock import load_lock
from MedAICoreLib.environment.machine import this_machine
from MedAICoreLib.environment.places import site_packages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(this_machine().tag != "linux-x86_64", reason="the torch wheel is looked for on Linux only"),
]
LIMIT_S = 300.0


def cpu_torch(folder: Path) -> Path | None:
    """torch's wheel for the processor, from where pip is set up to look; None where only uv's backend can find it."""
    pin = load_lock("linux-x86_64").torch
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", f"torch=={pin}+cpu", "-d", str(folder)]
    subprocess.run(command, check=False, capture_output=True, timeout=600)
    return next(iter(folder.glob("torch-*.whl")), None)


def phantom_head() -> np.ndarray:
    """A smooth bright body with a darker bent tube in it: something that the hippocampus model may find."""
    k, j, i = np.meshgrid(*[np.linspace(-1, 1, n) for n in (48, 56, 44)], indexing="ij")
    body = 400.0 * np.exp(-(k**2 + j**2 + i**2))
    tube = 250.0 * np.exp(-(((k - 0.4 * j**2) ** 2 + i**2) / 0.03))
    return (body + tube + np.random.default_rng(3).normal(0, 8, k.shape)).astype(np.float32)


def segment(python: Path, packages: Path | None) -> np.ndarray:
    """Labels of the shipped model on the phantom, from a worker in this interpreter."""
    client = Client(ChildProcessTransport(python, packages=packages))
    results, errors = [], []
    try:
        writer = ArrayWriter(client.session, phantom_head(), np.eye(4), name="T1", modality="MR")
        while not writer.step():
            pass
        arguments = SegmentArgs("hippocampus-mr", (writer.ref,), SegmentConfig(device="cpu"))
        client.request("segment", arguments, on_result=results.append, on_error=errors.append)
        deadline = time.monotonic() + LIMIT_S
        while client.busy and time.monotonic() < deadline:
            client.poll()
            time.sleep(0.01)
        assert not errors, errors
        reader = ArrayReader(client.session, results[0].label_map)
        while not reader.step():
            pass
        return np.array(reader.array[0])
    finally:
        client.close()


def test_build_use_repair_pack_and_remove(tmp_path, capsys):
    def tell(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}", end="", flush=True)

    def timed(operation):
        start = time.monotonic()
        result = operation.finish()
        tell(f"{operation.name}: {time.monotonic() - start:.0f} s")
        return result

    wheel = cpu_torch(tmp_path)
    sources = Sources(find_links=(str(tmp_path),), torch_backend="") if wheel else Sources(torch_backend="cpu")
    environment = Environment(tmp_path / "data" / "MedAI" / "env", sys.executable, sources)
    plan = environment.plan("chosen", sys.executable)
    assert plan.problem is None
    tell(f"plan: {megabytes(plan.download_bytes)} to load, {megabytes(plan.disk_bytes)} on disk")

    built = timed(environment.build("chosen", sys.executable))
    tell(f"on disk: {megabytes(built.size_bytes)}; {built.versions}; {built.devices}")
    assert built.size_bytes < 1.3 * plan.disk_bytes
    assert built.devices == ("cpu",)
    assert timed(environment.check()).versions["monai"]
    longest = max(len(str(p.relative_to(environment.places.environment("e1")))) for p in
                  environment.places.environment("e1").rglob("*"))  # fmt: skip
    tell(f"longest path below the environment: {longest}")

    python, packages = environment.interpreter()
    labels = segment(python, packages)
    assert labels.shape == phantom_head().shape
    assert np.mean(labels != segment(Path(sys.executable), None)) < 1e-3, "another result than in the test environment"
    tell(f"segmented: {np.count_nonzero(labels)} voxels of {sorted(np.unique(labels).tolist())}")

    site = site_packages(environment.places.environment("e1"))
    (site / "torch" / "functional.py").unlink()
    (site / "monai" / "networks" / "__init__.py").write_text("raise ImportError('damaged')\n", encoding="utf-8")
    damaged = timed(environment.repair())
    assert {damage.name for damage in damaged} == {"torch", "monai"}
    assert np.array_equal(segment(python, packages), labels)

    pack = timed(environment.pack(tmp_path / "pack.zip"))
    tell(f"pack: {megabytes(pack.stat().st_size)}")
    timed(environment.remove())
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").rglob("*"))

    if shutil.which("unshare") and subprocess.run(["unshare", "-n", "true"], check=False).returncode == 0:
        program = (
            "import sys; from pathlib import Path; from MedAICoreLib.environment import *;"
            "e = Environment(Path(sys.argv[1]), sys.executable); e.install_pack(sys.argv[2], sys.executable).finish()"
        )
        start = time.monotonic()
        root = Path(__file__).resolve().parents[3] / "MedAICore"
        command = ["unshare", "-n", sys.executable, "-c", program, str(environment.folder), str(pack)]
        subprocess.run(command, check=True, cwd=root, timeout=600)
        tell(f"installed from the pack without a network: {time.monotonic() - start:.0f} s")
        assert environment.status().kind is Kind.READY
        python, packages = environment.interpreter()
        assert np.array_equal(segment(python, packages), labels)
        environment.remove().finish()
    tell("")

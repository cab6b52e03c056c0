"""Slicer's own Python has no torch: everything on its side must load without it, and quickly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = """
import importlib, pkgutil, sys, time
from pathlib import Path
root = Path(sys.argv[1])
sys.path[:0] = [str(root / "Testing"), str(root / "MedAICore")]
BLOCKED = {"torch", "monai", "SimpleITK", "typer", "rich", "scipy", "safetensors", "openvino"}


class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is not in Slicer's Python")


sys.meta_path.insert(0, Blocker())
from host import start

host = start()
for name in ("MedAICore", "MedAISeg", "MedAIClassify", "MedAITrain", "SegmentEditorMedAIClick"):
    begun = time.perf_counter()
    host.load_module(root / name / f"{name}.py")
    print(name, round(time.perf_counter() - begun, 3), "s")
    for folder in (root / name).glob("*Lib"):
        sys.path.append(str(root / name))
        loaded = sys.modules.get(folder.name)
        if loaded is not None and not hasattr(loaded, "__path__"):
            continue  # an effect: Slicer has loaded its file under the folder's name
        for module in pkgutil.walk_packages([str(folder)], f"{folder.name}."):
            importlib.import_module(module.name)
assert sys.modules["SegmentEditorMedAIClickLib"].SegmentEditorEffect
import medai.client, medai.models, medai.mrml

print("models", len(medai.models.list_models()))
assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}
print("ok")
"""


def test_slicer_side_loads_without_the_computing_side_s_packages(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program), str(ROOT)], capture_output=True, text=True, timeout=300, check=False
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("ok\n")

"""Slicer's Python has none of the worker's libraries: the client must not even try to import them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parents[3] / "MedAICore"
PROGRAM = """
import sys
for name in ("torch", "monai", "SimpleITK", "typer", "rich", "scipy", "safetensors", "openvino"):
    sys.modules[name] = None  # an import of it raises ImportError
import medai.client, medai.config.messages, medai.session
import threading
client = medai.client.Client(medai.client.ChildProcessTransport(sys.executable))
client.close()
assert threading.active_count() == 1
allowed = set(sys.stdlib_module_names) | {"medai", "numpy", "__main__"}
names = {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
# what the interpreter's own start-up (site, .pth files) has loaded is not ours
print(sorted(names - allowed - START))
"""


def test_client_needs_only_numpy_and_the_standard_library():
    program = "import sys\nSTART = {n.partition('.')[0] for n in sys.modules}\n" + PROGRAM
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PACKAGE_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"

"""The peers' environment, in the benchmarks' cache: nnU-Net, MONAI and the very torch of MedAI's environment.

nnU-Net depends, through dynamic-network-architectures and timm, on torchvision, whose ordinary wheel is built for
another torch than a CPU build (`operator torchvision::nms does not exist`). Its predictor and export never import
either, so both nnU-Net packages come without their dependencies, and what they do import is named here.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from benchmarks.child import REPOSITORY, BenchmarkError, cache_folder

FOLDER = cache_folder() / "peers"
NNUNET = "nnunetv2==2.8.1"
_NEEDED = (
    "monai==1.6.*",
    "safetensors",
    "psutil",
    "SimpleITK",
    "numpy",
    "scipy",
    "scikit-image",
    "scikit-learn",
    "nibabel",
    "pandas",
    "tqdm",
    "einops",
    "blosc2",
    "batchgenerators",
)
_WITHOUT_DEPENDENCIES = (
    NNUNET,
    "dynamic-network-architectures==0.4.4",
    "acvl-utils==0.2.6",
    "batchgeneratorsv2==0.3.6",
)
# What nnU-Net's training imports beside its prediction, and TorchIO; installed only where trainings are compared.
_FOR_TRAINING = ("connected-components-3d", "matplotlib", "seaborn", "requests", "tifffile", "graphviz", "torchio")
_TRAINING_CHECK = "import nnunetv2.training.nnUNetTrainer.nnUNetTrainer, torchio"
_CHECK = "from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor; import monai.inferers"


def python() -> Path:
    """The interpreter of the peers' environment, which need not exist."""
    return FOLDER / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def make() -> Path:
    """Make the environment unless it is complete; its interpreter. Raises BenchmarkError where that fails."""
    stamp = FOLDER / "medai-benchmarks.txt"
    wanted = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    if python().is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python()
    environment = _environment_script()
    try:
        environment.create_venv(FOLDER)
        environment.pip(python(), "install", *environment.torch_arguments(python()))
        environment.pip(python(), "install", *_NEEDED)
        environment.pip(python(), "install", "--no-deps", *_WITHOUT_DEPENDENCIES)
    except environment.EnvironmentProblem as problem:
        raise BenchmarkError(f"The peers' environment could not be made: {problem}") from problem
    check = subprocess.run([str(python()), "-c", _CHECK], capture_output=True, text=True, check=False)
    if check.returncode:
        raise BenchmarkError(f"nnU-Net cannot be imported in {FOLDER}:\n{check.stderr.strip()[-600:]}")
    stamp.write_text(wanted, encoding="utf-8")
    return python()


def make_for_training() -> Path:
    """As `make`, with what training takes; torch stays the one that is there."""
    interpreter = make()
    if subprocess.run([str(interpreter), "-c", _TRAINING_CHECK], capture_output=True, check=False).returncode == 0:
        return interpreter
    environment = _environment_script()
    code = "import torch; print(torch.__version__)"
    found = subprocess.run([str(interpreter), "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        constraint = Path(folder) / "constraints.txt"
        constraint.write_text(f"torch=={found}\n", encoding="utf-8")
        try:
            environment.pip(interpreter, "install", "-c", str(constraint), *_FOR_TRAINING)
        except environment.EnvironmentProblem as problem:
            raise BenchmarkError(f"The peers for training could not be installed: {problem}") from problem
    check = subprocess.run([str(interpreter), "-c", _TRAINING_CHECK], capture_output=True, text=True, check=False)
    if check.returncode:
        raise BenchmarkError(f"nnU-Net's trainer cannot be imported in {FOLDER}:\n{check.stderr.strip()[-600:]}")
    return interpreter


def versions() -> list[str]:
    """Names and versions of the peers in their environment."""
    code = (
        "import importlib.metadata as m\n"
        "for n in ('nnunetv2', 'monai', 'torch', 'scikit-image'): print(n, m.version(n))"
    )
    return subprocess.run([str(python()), "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()


def _environment_script() -> ModuleType:
    """`.ci/environment.py`, which knows how to get a CPU build of torch."""
    spec = importlib.util.spec_from_file_location("medai_environment", REPOSITORY / ".ci" / "environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(make())

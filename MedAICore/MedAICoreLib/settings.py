"""MedAI's entries in Slicer's settings file."""

import os

import qt

INTERPRETER_KEY = "MedAI/Interpreter"
MODEL_FOLDER_KEY = "MedAI/ModelFolder"
LAST_FOLDER_KEY = "MedAI/LastFolder"
DEVICE_KEY = "MedAI/Device"
MODEL_BUDGET_KEY = "MedAI/ModelBudgetMB"
ENVIRONMENT_FOLDER_KEY = "MedAI/EnvironmentFolder"
PACKAGE_INDEX_KEY = "MedAI/PackageIndex"
PYTHON_MIRROR_KEY = "MedAI/PythonMirror"
GPU_KEY = "MedAI/GPU"


class Settings:
    """Reads and writes what a person chose once for all scenes; QSettings gives text back, so all values are text."""

    def interpreter(self) -> str:
        """Path of a Python of the person's own in which the networks run; empty: MedAI's environment."""
        return self._text(INTERPRETER_KEY)

    def setInterpreter(self, path: str) -> None:
        """Remember the interpreter for the next start too."""
        qt.QSettings().setValue(INTERPRETER_KEY, path)

    def interpreterProblem(self) -> str:
        """Why the chosen interpreter cannot be started, for a person; empty where it can. Starts nothing."""
        path = self.interpreter()
        if not path:
            return "none was chosen"
        if not os.path.isfile(path):
            return f"'{path}' does not exist"
        if not os.access(path, os.X_OK):
            return f"'{path}' may not be executed"
        return ""

    def modelFolder(self) -> str:
        """Folder of the installed models; empty for the usual place."""
        return self._text(MODEL_FOLDER_KEY)

    def setModelFolder(self, path: str) -> None:
        """Keep installed models in another folder."""
        qt.QSettings().setValue(MODEL_FOLDER_KEY, path)

    def lastFolder(self) -> str:
        """Where the last file dialog was left."""
        return self._text(LAST_FOLDER_KEY)

    def setLastFolder(self, path: str) -> None:
        """Where the next file dialog starts."""
        qt.QSettings().setValue(LAST_FOLDER_KEY, path)

    def device(self) -> str:
        """What computes where a panel says "Automatic": ``auto`` or a device of the worker such as ``cpu``."""
        return self._text(DEVICE_KEY) or "auto"

    def modelBudgetMb(self) -> "float | None":
        """Memory that the worker may keep in loaded models; None: it decides."""
        text = self._text(MODEL_BUDGET_KEY)
        try:
            return float(text) or None
        except ValueError:
            return None

    def environmentFolder(self) -> str:
        """Where MedAI's environment lies; empty for the usual place."""
        return self._text(ENVIRONMENT_FOLDER_KEY)

    def packageIndex(self) -> str:
        """An index of packages that stands for PyPI (a mirror of an institution); empty for PyPI."""
        return self._text(PACKAGE_INDEX_KEY)

    def pythonMirror(self) -> str:
        """A site that stands for the download site of interpreters; empty for the usual one."""
        return self._text(PYTHON_MIRROR_KEY)

    def wantsGpu(self) -> bool:
        """Whether torch's build for the GPU is installed where there is a GPU."""
        return self._text(GPU_KEY).lower() not in ("false", "0")

    def setWantsGpu(self, wanted: bool) -> None:
        """Choose torch's build at the next installation."""
        qt.QSettings().setValue(GPU_KEY, "true" if wanted else "false")

    def _text(self, key: str) -> str:
        value = qt.QSettings().value(key, "")
        return "" if value is None else str(value)

"""MedAI's entries in Slicer's settings file."""

import os

import qt

INTERPRETER_KEY = "MedAI/Interpreter"
MODEL_FOLDER_KEY = "MedAI/ModelFolder"
LAST_FOLDER_KEY = "MedAI/LastFolder"


class Settings:
    """Reads and writes what a person chose once for all scenes; QSettings gives text back, so all values are text."""

    def interpreter(self) -> str:
        """Path of the Python in which the networks run; empty where none was chosen."""
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

    def _text(self, key: str) -> str:
        value = qt.QSettings().value(key, "")
        return str(value) if value else ""

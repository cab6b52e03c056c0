"""The tested set of packages for a platform: exact versions with hashes, torch apart, and how much there is to load."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import medai
from medai.errors import EnvironmentFailure

# From the source tree and where Slicer installs the module alike: Resources lies beside MedAICoreLib.
RESOURCES = Path(__file__).resolve().parents[2] / "Resources" / "Environment"
# In the self-check these must import; the distribution's name, and the module's where it differs.
_MODULES = {"simpleitk": "SimpleITK"}


@dataclass(frozen=True)
class Sizes:
    """Bytes to download: uv, the interpreter, the packages without torch, and torch for the processor or the GPU."""

    uv: int = 0
    interpreter: int = 0
    packages: int = 0
    torch_cpu: int = 0
    torch_gpu: int = 0
    unpacked_times: float = 4.0


@dataclass(frozen=True)
class Lock:
    """What gets installed: `requirements` and `uv` are files of pinned and hashed requirements, `torch` a version
    (empty: none). `imports` are the modules that the self-check imports."""

    platform: str
    requirements: Path
    uv: Path
    torch: str
    managed_python: str = "3.12"
    sizes: Sizes = field(default_factory=Sizes)
    imports: tuple[str, ...] = ()

    @property
    def stamp(self) -> str:
        """Names MedAI's version, the platform and the locked files' content: another stamp means build again."""
        digest = hashlib.sha256()
        for part in (self.requirements.read_bytes(), self.uv.read_bytes(), self.torch.encode()):
            digest.update(hashlib.sha256(part).digest())
        return f"{medai.__version__} {self.platform} {digest.hexdigest()[:16]}"

    def pins(self) -> dict[str, str]:
        """Version by distribution, torch included."""
        found = dict(re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^\s\\;]+)", self.requirements.read_text(encoding="utf-8")))
        return {**found, "torch": self.torch} if self.torch else found

    def block(self, name: str) -> str:
        """The requirement of one distribution with its hashes, as in the file; empty where it is not locked."""
        text = self.requirements.read_text(encoding="utf-8")
        match = re.search(rf"(?m)^{re.escape(name)}==(?:[^\n]*\\\n)*[^\n]*\n?", text)
        return match.group(0) if match else ""


def load_lock(platform: str, folder: Path = RESOURCES) -> Lock:
    """The lock for `platform` (``linux-x86_64``). EnvironmentFailure where there is none or it is damaged."""
    requirements = folder / f"{platform}.txt"
    try:
        content: dict[str, Any] = json.loads((folder / "sizes.json").read_text(encoding="utf-8"))
        entry = dict(content["platforms"][platform])
        torch = str(entry.pop("torch"))
        sizes = Sizes(**entry, unpacked_times=float(content["unpacked_times"]))
        managed_python = str(content["managed_python"])
        names = re.findall(r"(?m)^([A-Za-z][\w.-]*)", (folder / "requirements.in").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, error) from error
    if not requirements.is_file() or not (folder / "uv.txt").is_file():
        raise _damaged(folder, f"{requirements.name} or uv.txt is missing")
    imports = tuple(_MODULES.get(name.lower(), name.lower()) for name in names)
    return Lock(platform, requirements, folder / "uv.txt", torch, managed_python, sizes, imports)


def _damaged(folder: Path, reason: object) -> EnvironmentFailure:
    return EnvironmentFailure(f"The list of packages in '{folder}' is damaged ({reason}).", "Install MedAI again.")

"""Make the locks of the environment that MedAI builds on a user's machine: MedAICore/Resources/Environment.

    python .ci/lock_environment.py [--uv PATH]

Needs network and uv (``pip install uv``). `requirements.in` mirrors pyproject.toml (a test compares them); for each
platform the script writes ``<platform>.txt``, pinned and hashed, without torch, whose builds differ by GPU, and
``sizes.json`` with what a person is told before the download. ``uv.txt`` pins uv itself. The versions are those of
the index at the time; run the whole test suite with them before they are committed.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "MedAICore" / "Resources" / "Environment"
INDEX = "https://pypi.org/simple"
# macOS: torch's wheels ask for macOS 14, uv would take 13 and an old torch.
PLATFORMS = {
    "linux-x86_64": ("x86_64-manylinux_2_28", {}, r"(manylinux|linux)\w*x86_64"),
    "windows-x86_64": ("x86_64-pc-windows-msvc", {}, r"win_amd64"),
    "macos-arm64": ("aarch64-apple-darwin", {"MACOSX_DEPLOYMENT_TARGET": "14.0"}, r"macosx\w*(arm64|universal2)"),
}
LOWEST_PYTHON = "3.11"
MANAGED_PYTHON = "3.12"
# Needed by torch only: they come with its build for the GPU, pinned by its own metadata.
WITH_TORCH = re.compile(r"torch|triton|nvidia-.*|cuda-.*")
# openvino's reporting of usage; openvino runs without it, and nothing is to be sent anywhere.
LEFT_OUT = ("openvino-telemetry",)
# What no registry tells: the archives of python-build-standalone, the CPU build of torch for Linux, and its CUDA
# build for Windows, which are on other servers. Rounded up.
ELSEWHERE = {
    "linux-x86_64": {"interpreter": 33_000_000, "torch_cpu": 192_000_000},
    "windows-x86_64": {"interpreter": 25_000_000, "torch_gpu": 2_600_000_000},
    "macos-arm64": {"interpreter": 20_000_000},
}
# Packages need about this many times their download once unpacked (measured: 3.4 for Linux, torch for CPU).
UNPACKED = 4


def main() -> int:
    """Write the locks; 1 where uv is missing or a package has no wheel for one of the platforms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uv", default=shutil.which("uv") or "")
    uv = parser.parse_args().uv
    if not uv:
        print("uv was not found: pip install uv, or name it with --uv", file=sys.stderr)
        return 1
    source = FOLDER / "requirements.in"
    index = _Index()
    uv_version = subprocess.run([uv, "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    (FOLDER / "uv.txt").write_text(_compile(uv, f"uv=={uv_version}\n", "linux-x86_64"), encoding="utf-8")
    sizes: dict[str, Any] = {"managed_python": MANAGED_PYTHON, "unpacked_times": UNPACKED, "platforms": {}}
    for platform in PLATFORMS:
        everything = _compile(uv, source.read_text(encoding="utf-8"), platform)
        blocks = [block for block in re.split(r"\n(?=\S)", everything.strip()) if block]
        pins = dict(re.match(r"(\S+)==(\S+)", block).groups() for block in blocks)  # type: ignore[union-attr]
        locked = [b for b in blocks if not WITH_TORCH.fullmatch(b.split("==")[0]) and b.split("==")[0] not in LEFT_OUT]
        (FOLDER / f"{platform}.txt").write_text("\n".join(locked) + "\n", encoding="utf-8")
        sizes["platforms"][platform] = _sizes(index, platform, pins, uv_version)
        print(platform, json.dumps(sizes["platforms"][platform]))
    (FOLDER / "sizes.json").write_text(json.dumps(sizes, indent=2) + "\n", encoding="utf-8")
    return 0


def _compile(uv: str, requirements: str, platform: str) -> str:
    triple, variables, _tag = PLATFORMS[platform]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "requirements.in"
        source.write_text(requirements, encoding="utf-8")
        command = [uv, "pip", "compile", str(source), "--python-version", LOWEST_PYTHON, "--python-platform", triple]
        command += ["--generate-hashes", "--no-header", "--no-annotate", "--only-binary", ":all:", "--no-config"]
        command += ["--default-index", INDEX, "--no-emit-index-url", "--no-emit-find-links", "--cache-dir", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **variables})
    return done.stdout


def _sizes(index: _Index, platform: str, pins: dict[str, str], uv_version: str) -> dict[str, Any]:
    elsewhere = ELSEWHERE[platform]
    locked = {name: v for name, v in pins.items() if not WITH_TORCH.fullmatch(name) and name not in LEFT_OUT}
    torch_wheel = index.size("torch", pins["torch"], platform)
    on_gpu = sum(index.size(name, version, platform) for name, version in pins.items() if WITH_TORCH.fullmatch(name))
    has_gpu_build = platform != "macos-arm64"
    return {
        "torch": pins["torch"],
        "uv": index.size("uv", uv_version, platform),
        "interpreter": elsewhere["interpreter"],
        "packages": sum(index.size(name, version, platform) for name, version in locked.items()),
        "torch_cpu": elsewhere.get("torch_cpu", torch_wheel),
        "torch_gpu": elsewhere.get("torch_gpu", on_gpu) if has_gpu_build else 0,
    }


class _Index:
    """Sizes of the wheels on the index."""

    def __init__(self) -> None:
        self._links: dict[str, list[str]] = {}

    def size(self, name: str, version: str, platform: str) -> int:
        """Bytes of the wheel of this version for the managed Python on `platform`."""
        if name not in self._links:
            with urllib.request.urlopen(f"{INDEX}/{name}/", timeout=60) as answer:
                page = answer.read().decode("utf-8")
            links = re.findall(r'href="([^"#]+)', page)
            self._links[name] = [urllib.parse.urljoin(answer.url, html.unescape(link)) for link in links]
        stem = f"{name.replace('-', '_')}-{version}-".casefold()
        python = MANAGED_PYTHON.replace(".", "")
        abi = rf"(cp{python}-cp{python}|cp3\d+-abi3|py2\.py3-none|py3-none)"
        fits = re.compile(rf"-{abi}-.*({PLATFORMS[platform][2]}|any)\.whl$")
        names = {link.rpartition("/")[2]: link for link in self._links[name]}
        fitting = [link for file, link in names.items() if file.casefold().startswith(stem) and fits.search(file)]
        fitting = [link for link in fitting if "musllinux" not in link]
        if not fitting:
            raise SystemExit(f"{name} {version} has no wheel for {platform} and Python {MANAGED_PYTHON}")
        return max(self._length(link) for link in fitting)

    def _length(self, link: str) -> int:
        with urllib.request.urlopen(urllib.request.Request(link, method="HEAD"), timeout=60) as answer:
            return int(answer.headers["Content-Length"])


if __name__ == "__main__":
    sys.exit(main())

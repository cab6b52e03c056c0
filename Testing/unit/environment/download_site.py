"""A stand-in of python-build-standalone's download site: the running interpreter in an archive of the same layout."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What an interpreter can do without, to keep the archive small.
_LEFT_OUT = ("site-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "__pycache__", "share")
_BUILD = "20260101"
_ADDRESS = "https://github.com/astral-sh/python-build-standalone/releases/download"


def make_site(folder: Path) -> tuple[Path, str, str]:
    """Write the archive and uv's list of downloads; gives (list, folder for the mirror, version of the interpreter)."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    name = f"cpython-{version}+{_BUILD}-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
    site = folder / "site" / _BUILD
    site.mkdir(parents=True)
    base = Path(sys.base_prefix)
    with tarfile.open(site / name, "w:gz", compresslevel=1) as archive:
        archive.add(base, "python", filter=lambda entry: None if _is_left_out(entry.name) else entry)
        archive.add(base / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}", "python/bin/python3")
    digest = hashlib.sha256((site / name).read_bytes()).hexdigest()
    major, minor, patch = sys.version_info[:3]
    listed = {
        f"cpython-{version}-linux-x86_64-gnu": {
            "name": "cpython",
            "arch": {"family": "x86_64", "variant": None},
            "os": "linux",
            "libc": "gnu",
            "major": major,
            "minor": minor,
            "patch": patch,
            "prerelease": "",
            "url": f"{_ADDRESS}/{_BUILD}/{name.replace('+', '%2B')}",
            "sha256": digest,
            "variant": None,
            "build": _BUILD,
        }
    }
    downloads = folder / "downloads.json"
    downloads.write_text(json.dumps(listed), encoding="utf-8")
    return downloads, str(folder / "site"), f"{major}.{minor}"


def _is_left_out(name: str) -> bool:
    parts = name.split("/")[1:]
    return any(part in _LEFT_OUT for part in parts) or name.endswith((".a", ".o"))


@contextmanager
def serve(folder: str) -> Iterator[tuple[str, list[str]]]:
    """Serve the folder on loopback; gives the address and the list of paths that were asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, _format: str, *_arguments: object) -> None:
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

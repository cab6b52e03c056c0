"""Labelled cases of scene files: each file is loaded into a scene of its own, which is closed and freed afterwards."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import slicer

from medai.errors import FileFormatError, output_error
from medai.mrml.labelled_find import find_cases
from medai.mrml.labelled_nodes import shown_subject
from medai.mrml.labelled_table import LabelledCase

SCENE_SUFFIXES = (".mrb", ".mrml")
# Modules register these with Slicer's scene; a scene of our own may know only those of MRML's core.
_MODULE_NODES = (
    "vtkMRMLSegmentationNode",
    "vtkMRMLSegmentationDisplayNode",
    "vtkMRMLSegmentationStorageNode",
    "vtkMRMLSequenceNode",
    "vtkMRMLSequenceBrowserNode",
    "vtkMRMLSequenceStorageNode",
    "vtkMRMLVolumeSequenceStorageNode",
)


def scene_files(path: Path) -> list[Path]:
    """The scene file `path`, or the .mrb and .mrml files of the folder `path` and the folders in it."""
    if path.is_file():
        return [path] if path.suffix.lower() in SCENE_SUFFIXES else []
    found = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in SCENE_SUFFIXES and file.is_file()]
    return [file for file in found if not file.name.startswith(".")]


def find_scene_cases(path: str | Path, like: Any = None) -> list[LabelledCase]:
    """The labelled cases of a scene file; the scene is closed again. See `scene_cases`."""
    with scene_cases(path, like) as (_scene, cases):
        return cases


@contextmanager
def scene_cases(path: str | Path, like: Any = None) -> Iterator[tuple[Any, list[LabelledCase]]]:
    """Load a .mrb or .mrml file into a scene of its own; gives that scene and its cases, whose `source` is the file.

    No other scene is touched. `like` is a scene whose kinds of nodes are to be known too (Slicer's, with all modules).
    A case is named after the file; its patient is that of the subject hierarchy, else the file's name. The nodes are
    gone when the block ends. Raises FileFormatError (no scene, damaged) and OutputError (no room to unpack it).
    """
    with loaded_scene(path, like) as scene:
        yield scene, _named_after(Path(path), scene, find_cases(scene))


@contextmanager
def loaded_scene(path: str | Path, like: Any = None) -> Iterator[Any]:
    """The scene of a .mrb or .mrml file, in a vtkMRMLScene of its own; see `scene_cases`."""
    path = Path(path).absolute()
    if not path.is_file():
        raise FileFormatError(f"There is no scene '{path}'.", "Check the path.")
    with tempfile.TemporaryDirectory(prefix="medai-scene-") as folder:
        file = _unpacked(path, _made(Path(folder) / "scene")) if path.suffix.lower() == ".mrb" else path
        scene = _new_scene(like)
        # Sequences are stored as bundles within the bundle: these are unpacked into the scene's cache folder. Handlers
        # of remote files are left out on purpose: reading a scene must not download anything.
        cache = slicer.vtkCacheManager()
        cache.SetRemoteCacheDirectory(_made(Path(folder) / "cache").as_posix())
        data_io = slicer.vtkDataIOManager()
        data_io.SetCacheManager(cache)
        scene.SetCacheManager(cache)
        scene.SetDataIOManager(data_io)
        try:
            scene.SetURL(file.as_posix())
            scene.SetRootDirectory(file.parent.as_posix())
            if not _connected(scene) and not scene.GetNumberOfNodes():
                raise FileFormatError(f"'{path}' cannot be read as a scene.", "Open and save it again in 3D Slicer.")
            yield scene
        finally:
            scene.SetDataIOManager(None)
            scene.SetCacheManager(None)
            remove_singletons = True
            scene.Clear(remove_singletons)


def _connected(scene: Any) -> bool:
    """Read the scene's file without VTK's texts: its slice nodes miss presets that only the application brings, and
    what cannot be read is told by the check report.
    """
    shown = slicer.vtkMRMLScene.GetGlobalWarningDisplay()
    slicer.vtkMRMLScene.SetGlobalWarningDisplay(0)
    try:
        return bool(scene.Connect())
    finally:
        slicer.vtkMRMLScene.SetGlobalWarningDisplay(shown)


def _new_scene(like: Any) -> Any:
    scene = slicer.vtkMRMLScene()
    if like is not None:
        like.CopyRegisteredNodesToScene(scene)
    for name in _MODULE_NODES:
        if not scene.GetTagByClassName(name):
            scene.RegisterNodeClass(getattr(slicer, name)())
    return scene


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _unpacked(path: Path, folder: Path) -> Path:
    """Unpack a bundle into the folder; gives its .mrml file."""
    try:
        with zipfile.ZipFile(path) as bundle:
            for entry in bundle.infolist():
                _unpack_entry(bundle, entry, folder, path)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise FileFormatError(f"'{path}' is not a scene bundle, or is damaged: {error}.", "Copy it again.") from error
    except OSError as error:
        raise output_error(folder, error) from error
    found = sorted(folder.rglob("*.mrml"), key=lambda file: (len(file.parts), file.name))
    if not found:
        raise FileFormatError(f"The bundle '{path}' holds no scene.", "Save it again in 3D Slicer.")
    return found[0]


def _unpack_entry(bundle: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, path: Path) -> None:
    parts = PurePosixPath(entry.filename.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in entry.filename:
        raise FileFormatError(
            f"The bundle '{path}' has a file outside of itself: '{entry.filename}'.", "Do not open it."
        )
    target = folder / parts
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with bundle.open(entry) as source, target.open("wb") as stream:
        shutil.copyfileobj(source, stream)


def _named_after(path: Path, scene: Any, cases: list[LabelledCase]) -> list[LabelledCase]:
    named = []
    for case in cases:
        own = path.stem if len(cases) == 1 else f"{path.stem} {case.name}"
        subject = shown_subject(scene, case)
        named.append(
            replace(
                case,
                name=own,
                patient=subject.key or own,
                patient_name=subject.name or own,
                source=path.as_posix(),
            )
        )
    return named

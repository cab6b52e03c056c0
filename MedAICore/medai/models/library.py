"""The models on this machine: those that come with MedAI, and those in the user's folder."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import uuid
import zipfile
from pathlib import Path

from medai.config.model_card import CARD_NAME
from medai.errors import ModelError
from medai.imageio.atomic import atomic_output, output_error
from medai.models.files import ARCHIVE_SUFFIX, ARCHIVE_TIME, PackageFiles
from medai.models.package import ModelPackage, Source, check_files, open_package

_log = logging.getLogger(__name__)


def user_folder() -> Path:
    """Where installed models lie: the user's local data folder of this platform. It need not exist."""
    home = Path.home()
    if sys.platform == "win32":
        data = home / "AppData" / "Local"
    elif sys.platform == "darwin":
        data = home / "Library" / "Application Support"
    else:
        data = home / ".local" / "share"
    return data / "MedAI" / "models"


def shipped_folder() -> Path:
    """Where the models that come with MedAI lie."""
    return Path(__file__).resolve().parent.parent / "resources" / "models"


def list_models(root: Path | None = None) -> list[ModelPackage]:
    """The models that come with MedAI and those in the user's folder (or `root`), by id; newest version first.

    Only cards are read: hashes are checked when a model is opened. A folder whose card is broken is logged and
    passed over.
    """
    found = _in_folder(shipped_folder(), "shipped") + _in_folder(root or user_folder(), "user")
    found.sort(key=lambda m: (m.source == "user", version_key(m.card.version)), reverse=True)
    found.sort(key=lambda m: version_key(m.card.version), reverse=True)
    found.sort(key=lambda m: m.card.id)
    return found


def open_model(path_or_id: Path | str, root: Path | None = None) -> ModelPackage:
    """Open a model by the path of its folder or .medai file, or by its id, and check its files.

    Of several models with one id the newest version is taken, and of equal versions the user's. Raises ModelError.
    """
    path = _path(path_or_id)
    if path is not None:
        return open_package(path)
    known = list_models(root)
    for model in known:
        if model.card.id == str(path_or_id):
            return open_package(model.root, model.source)
    raise ModelError(
        f"There is no model '{path_or_id}'.",
        f"Known models: {', '.join(sorted({m.card.id for m in known})) or 'none'}; or give the path of a .medai file.",
    )


def verify(path_or_id: Path | str, root: Path | None = None) -> list[str]:
    """Check every file that a package lists (sha256, safetensors); the files' names. Raises ModelError."""
    package = open_model(path_or_id, root)
    return check_files(PackageFiles(package.root), package.card)


def install(path: Path | str, root: Path | None = None) -> ModelPackage:
    """Copy a package (a folder or .medai file) into the user's folder, checked, whole or not at all.

    Another version of the same model is replaced. Raises ModelError where the same version is there with other weights,
    and OutputError where the folder cannot be written.
    """
    source = _path(path)
    if source is None:
        raise ModelError(f"There is no model package '{path}'.", "Give the path of a .medai file or a model's folder.")
    package = open_package(source)
    folder = root or user_folder()
    target = folder / package.card.id
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    if target.is_dir():
        if target.resolve() == source.resolve() or _same_version(target, package):
            return open_package(target, "user")
        _replace(target, package)
    else:
        with atomic_output(target) as temporary:
            _copy(package, temporary)
    return open_package(target, "user")


def export_package(path_or_id: Path | str, output: Path, root: Path | None = None) -> Path:
    """Write a model as one .medai file, whole or not at all: its card, the files that it lists, the licence texts.

    Raises ModelError (no such model, damaged) and OutputError (the file cannot be written).
    """
    package = open_model(path_or_id, root)
    files = PackageFiles(package.root)
    names = [CARD_NAME, *check_files(files, package.card), *files.texts]
    with atomic_output(Path(output)) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, ARCHIVE_TIME)
            entry.external_attr = 0o100644 << 16
            # Half-precision weights do not shrink; stored, they can be read in place.
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
            with files.open(name) as source, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, 1 << 20)
    return Path(output)


def remove(model_id: str, root: Path | None = None) -> Path:
    """Remove an installed model from the user's folder; the folder that was removed. Raises ModelError."""
    folder = root or user_folder()
    installed = [m for m in _in_folder(folder, "user") if m.card.id == model_id]
    if not installed:
        if any(m.card.id == model_id for m in _in_folder(shipped_folder(), "shipped")):
            raise ModelError(f"Model '{model_id}' comes with MedAI.", "Only models that were installed can be removed.")
        known = ", ".join(sorted(m.card.id for m in _in_folder(folder, "user"))) or "none"
        raise ModelError(f"No model '{model_id}' is installed.", f"Installed models: {known}.")
    target = installed[0].root
    try:
        _set_aside(target)
    except OSError as error:
        raise output_error(target, error) from error
    return target


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """An order of version texts in which 1.10 comes after 1.9, and 1.0-rc1 before 1.0."""
    parts = re.findall(r"\d+|[a-zA-Z]+", version)
    return (*((1, int(p), "") if p.isdigit() else (-1, 0, p) for p in parts), (0, 0, ""))


def _path(path_or_id: Path | str) -> Path | None:
    """The path that was meant, where it exists; None for an id. ModelError for a path that does not exist."""
    path = Path(path_or_id)
    text = str(path_or_id)
    is_path = isinstance(path_or_id, Path) or path.name != text or text.endswith(ARCHIVE_SUFFIX)
    if path.is_file() or (path / CARD_NAME).is_file() or (path.is_dir() and is_path):
        return path
    if is_path:
        raise ModelError(f"There is no model package '{path}'.", "Check the path.")
    return None


def _in_folder(folder: Path, source: Source) -> list[ModelPackage]:
    if not folder.is_dir():
        return []
    models = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or not (entry / CARD_NAME).is_file():
            continue
        try:
            models.append(ModelPackage(PackageFiles(entry).card(), entry, source))
        except ModelError as error:
            _log.warning("A model is passed over: %s", error)
    return models


def _same_version(target: Path, package: ModelPackage) -> bool:
    """Whether exactly this package is installed. ModelError where it is the same version with other files."""
    try:
        installed = open_package(target)
    except ModelError:
        _log.warning("The installed model in %s is broken and is replaced", target)
        return False
    if installed.card.version != package.card.version:
        _log.info("Version %s of %s replaces %s", package.card.version, package.card.id, installed.card.version)
        return False
    if installed.card == package.card:
        return True
    raise ModelError(
        f"Model '{package.card.id}' {package.card.version} is installed already, with other content.",
        f"Remove it first (medai models remove {package.card.id}), or give the new one another version.",
    )


def _copy(package: ModelPackage, folder: Path) -> None:
    """Write the card, the listed files and the licence texts into a new folder; nothing else is copied."""
    files = PackageFiles(package.root)
    folder.mkdir()
    for name in (CARD_NAME, *check_files(files, package.card), *files.texts):
        with files.open(name) as source, open(folder / name, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)


def _replace(target: Path, package: ModelPackage) -> None:
    """Put the package in the place of the folder `target`; the old one stays until the new one is whole."""
    fresh = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.new")
    with atomic_output(fresh) as temporary:
        _copy(package, temporary)
    try:
        _set_aside(target)
        os.replace(fresh, target)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise output_error(target, error) from error


def _set_aside(target: Path) -> None:
    """Remove a folder in one step for every reader: renamed first, then deleted."""
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
    os.replace(target, aside)
    shutil.rmtree(aside, ignore_errors=True)

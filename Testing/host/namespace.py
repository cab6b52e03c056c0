"""Modules of Slicer's Python that are in no wheel: base classes, parameter nodes, translation, packaging, samples."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import slicer


def _module(name: str, members: dict[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


def tr(text: str) -> str:
    """``slicer.i18n.tr``: no translation is loaded."""
    return text


def translate(_context: str, text: str) -> str:
    """``slicer.i18n.translate``."""
    return text


@dataclass
class PackagingRecorder:
    """``slicer.packaging``: records what would be installed and installs nothing."""

    requests: list[tuple[str, list[str]]] = field(default_factory=list)

    def pip_install(self, requirements: str | Iterable[str], **_options: Any) -> None:
        names = requirements.split() if isinstance(requirements, str) else [str(r) for r in requirements]
        self.requests.append(("install", names))

    def pip_uninstall(self, requirements: str | Iterable[str], **_options: Any) -> None:
        names = requirements.split() if isinstance(requirements, str) else [str(r) for r in requirements]
        self.requests.append(("uninstall", names))

    def pip_ensure(self, requirements: Iterable[Any], **_options: Any) -> None:
        """In testing mode Slicer installs nothing and returns None."""
        self.requests.append(("ensure", [str(r) for r in requirements]))

    def pip_check(self, requirements: Any) -> bool:
        from importlib import metadata

        from packaging.requirements import Requirement

        wanted = requirements if isinstance(requirements, list) else [requirements]
        for entry in wanted:
            requirement = entry if isinstance(entry, Requirement) else Requirement(str(entry))
            try:
                if not requirement.specifier.contains(metadata.version(requirement.name), prereleases=True):
                    return False
            except metadata.PackageNotFoundError:
                return False
        return True

    def load_requirements(self, path: str) -> list[Any]:
        from pathlib import Path

        from packaging.requirements import Requirement

        lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
        return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


packaging_recorder = PackagingRecorder()


@dataclass(frozen=True)
class SampleSource:
    """One entry of the Sample Data module."""

    category: str
    values: dict[str, Any]

    @property
    def sampleName(self) -> str | None:
        """The name in the menu, as Slicer's own entries have it."""
        return self.values["sampleName"]


class SampleDataLogic:
    """``SampleData.SampleDataLogic``: keeps what is registered (in ``slicer.modules``), downloads nothing."""

    sources: ClassVar[dict[str, list[SampleSource]]] = {}
    categories: ClassVar[dict[str, str]] = {}

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str | None = None) -> None:
        SampleDataLogic.categories[category] = title or category

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFiles: Any = None,
        loadFileProperties: Any = None,
        checksums: Any = None,
        sampleDescription: str | None = None,
    ) -> None:
        values = dict(locals())
        SampleDataLogic.sources.setdefault(category, []).append(SampleSource(category, values))


def _run_unit_test(folders: Any, name: str) -> None:
    import unittest

    for folder in [folders] if isinstance(folders, str) else folders:
        if folder not in sys.path:
            sys.path.append(folder)
    suite = unittest.TestLoader().loadTestsFromName(name)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    if not result.wasSuccessful():
        raise RuntimeError(f"Unit test {name} failed.")


def install(host: Any) -> None:
    """Put the modules where Slicer's Python has them."""
    from . import parameter_node, scripted, segment_editor

    scripted_members = {
        name: getattr(scripted, name)
        for name in (
            "ScriptedLoadableModule",
            "ScriptedLoadableModuleWidget",
            "ScriptedLoadableModuleLogic",
            "ScriptedLoadableModuleTest",
        )
    }
    # "from slicer.ScriptedLoadableModule import *" gives modules these names as well.
    import logging
    import os
    import unittest

    import ctk
    import qt
    import vtk

    extra = {"qt": qt, "ctk": ctk, "vtk": vtk, "slicer": slicer, "os": os, "unittest": unittest, "logging": logging}
    slicer.ScriptedLoadableModule = _module("slicer.ScriptedLoadableModule", {**scripted_members, **extra})
    slicer.i18n = _module("slicer.i18n", {"tr": tr, "translate": translate})
    recorder = packaging_recorder
    packaging = {n: getattr(recorder, n) for n in dir(recorder) if n.startswith(("pip_", "load_"))}
    slicer.packaging = _module("slicer.packaging", packaging)
    slicer.testing = _module("slicer.testing", {"runUnitTest": _run_unit_test})
    slicer.parameterNodeWrapper = _module("slicer.parameterNodeWrapper", dict(parameter_node.PUBLIC))
    slicer.util.VTKObservationMixin = scripted.observation_mixin()
    slicer.util.pip_install = recorder.pip_install
    slicer.util.pip_uninstall = recorder.pip_uninstall
    slicer.qSlicerScriptedLoadableModule = scripted.ModuleParent
    segment_editor.install()
    _module("SampleData", {"SampleDataLogic": SampleDataLogic})

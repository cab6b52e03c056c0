"""A model of the library as one file."""

from __future__ import annotations

import pytest

from medai.errors import ModelError, OutputError
from medai.models import export_package, install, list_models, open_package


def test_exported_model_is_the_same_and_can_be_installed(tmp_path):
    shipped = next(model for model in list_models(root=tmp_path / "none") if model.root.is_dir())
    exported = export_package(shipped.root, tmp_path / "copy.medai")
    copy = open_package(exported)
    assert copy.card == shipped.card
    assert copy.licence_text() == shipped.licence_text()
    again = export_package(exported, tmp_path / "again.medai")
    assert again.read_bytes() == exported.read_bytes()
    (tmp_path / "library").mkdir()
    assert install(exported, root=tmp_path / "library").card == shipped.card


def test_what_stands_against_it_is_told_and_nothing_is_left(tmp_path):
    with pytest.raises(ModelError):
        export_package(tmp_path / "none.medai", tmp_path / "copy.medai")
    shipped = next(model for model in list_models(root=tmp_path / "none") if model.root.is_dir())
    with pytest.raises(OutputError, match="no folder"):
        export_package(shipped.root, tmp_path / "no folder" / "copy.medai")
    assert list(tmp_path.iterdir()) == []

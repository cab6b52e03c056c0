"""Parameter packs and paths in the host's ``parameterNodeWrapper``.

Annotations are evaluated here (no ``from __future__``): the classes are local and the wrapper reads their types.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest


@pytest.fixture
def wrapped(host: Any) -> Any:
    """A wrapper class with a pack in a pack, and a scene node for it."""
    import slicer
    from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper, parameterPack

    @parameterPack
    class Margin:
        voxels: Annotated[int, WithinRange(0, 9)] = 2

    @parameterPack
    @dataclass
    class Settings:
        model: Path = Path("weights")
        device: Annotated[str, Choice(["cpu", "cuda"])] = "cuda"
        margin: Margin = Margin()  # noqa: RUF009

    @parameterNodeWrapper
    class Parameters:
        volume: slicer.vtkMRMLScalarVolumeNode
        settings: Settings

    return Parameters, Settings


@pytest.fixture
def node(host: Any) -> Any:
    import slicer

    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")


def test_members_are_stored_under_dotted_names(wrapped: Any, node: Any) -> None:
    parameters = wrapped[0](node)
    assert node.GetParameter("settings.model") == "weights"
    parameters.settings.device = "cpu"
    parameters.settings.margin.voxels = 5
    assert (node.GetParameter("settings.device"), node.GetParameter("settings.margin.voxels")) == ("cpu", "5")
    again = wrapped[0](node)
    assert again.getValue("settings.margin.voxels") == 5
    assert again.settings.model == Path("weights")


def test_whole_pack_is_written_at_once_and_compared_by_value(wrapped: Any, node: Any) -> None:
    cls, settings = wrapped
    parameters = cls(node)
    wanted = settings(model=Path("/models/liver"), device="cpu")
    changes = []
    tag = node.AddObserver("ModifiedEvent", lambda *_: changes.append(1))
    parameters.settings = wanted
    node.RemoveObserver(tag)
    assert len(changes) == 1
    assert parameters.settings == wanted
    assert parameters.settings != settings()


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("settings.device", "abacus", ValueError),
        ("settings.margin.voxels", 10, ValueError),
        ("settings.model", "text", TypeError),
        ("settings.missing", 1, ValueError),
        ("missing", 1, ValueError),
    ],
)
def test_wrong_values_and_names_raise(wrapped: Any, node: Any, name: str, value: Any, error: type) -> None:
    parameters = wrapped[0](node)
    with pytest.raises(error):
        parameters.setValue(name, value)


def test_observed_pack_takes_no_new_attributes(wrapped: Any, node: Any) -> None:
    with pytest.raises(AttributeError, match="devise"):
        wrapped[0](node).settings.devise = "cpu"


def test_widgets_bind_to_members(wrapped: Any, node: Any) -> None:
    import ctk
    import qt

    parameters = wrapped[0](node)
    path, device, folder = ctk.ctkPathLineEdit(), qt.QComboBox(), ctk.ctkDirectoryButton()
    tag = parameters.connectParametersToGui({"settings.model": path, "settings.device": device})
    assert (path.currentPath, device.currentText, device.count) == ("weights", "cuda", 2)
    path.currentPath = "/models/lung"
    device.setCurrentIndex(0)
    assert (parameters.settings.model, parameters.settings.device) == (Path("/models/lung"), "cpu")
    parameters.settings.device = "cuda"
    assert device.currentText == "cuda"
    parameters.disconnectGui(tag)
    device.setCurrentIndex(0)
    assert parameters.settings.device == "cuda"
    parameters.connectParametersToGui({"settings.model": folder})
    assert folder.directory == "/models/lung"
    with pytest.raises(ValueError, match="connector"):
        parameters.connectParametersToGui({"settings.model": qt.QSpinBox()})

"""The host refuses what Slicer refuses: each of these mistakes must fail."""

from __future__ import annotations

from typing import Any

import pytest

FORM = """<?xml version="1.0" encoding="UTF-8"?><ui version="4.0"><class>F</class>
<widget class="qMRMLWidget" name="F"><layout class="QVBoxLayout" name="l"><item>{widget}</item></layout></widget>
<connections>{connection}</connections></ui>"""
SELECTOR = (
    '<widget class="qMRMLNodeComboBox" name="selector"><property name="nodeTypes"><stringlist>'
    "<string>vtkMRMLScalarVolumeNode</string></stringlist></property></widget>"
)
CONNECTION = (
    "<connection><sender>F</sender><signal>{signal}</signal><receiver>selector</receiver><slot>{slot}</slot>"
    "</connection>"
)


def load(widget: str, connection: str = "") -> Any:
    import qt

    buffer = qt.QBuffer()
    buffer.setData(FORM.format(widget=widget, connection=connection).encode())
    buffer.open(qt.QIODevice.ReadOnly)
    return qt.QUiLoader().load(buffer)


def test_wrong_property_raises(host: Any) -> None:
    import ctk
    import qt

    with pytest.raises(AttributeError, match="txet"):
        qt.QLabel().txet = "x"
    with pytest.raises(AttributeError, match="colapsed"):
        ctk.ctkCollapsibleButton().colapsed = True


def test_property_of_wrong_type_raises(host: Any) -> None:
    import qt

    with pytest.raises(AttributeError, match="does not accept"):
        qt.QSpinBox().value = "3"


def test_getter_called_as_method_raises(host: Any) -> None:
    import qt
    import slicer

    with pytest.raises(TypeError, match="not callable"):
        qt.QLabel("x").text()
    with pytest.raises(TypeError, match="not callable"):
        slicer.qMRMLNodeComboBox().currentNodeID()


def test_misspelt_signal_is_an_error_of_the_test(host: Any) -> None:
    import qt

    assert qt.QPushButton().connect("clickt()", print) is False
    assert any("clickt()" in text for text in host.log.take())
    with pytest.raises(AttributeError):
        qt.QPushButton().clickt.connect(print)


@pytest.mark.parametrize("setter", ["setNodeTypes", "setNoneEnabled", "setAddEnabled", "nodes", "nodeFactory"])
def test_cpp_only_members_of_a_selector_do_not_exist(host: Any, setter: str) -> None:
    import slicer

    with pytest.raises(AttributeError, match=setter):
        getattr(slicer.qMRMLNodeComboBox(), setter)


@pytest.mark.parametrize(
    ("name", "setter"),
    [
        ("ctkCollapsibleButton", "setCollapsed"),
        ("ctkSliderWidget", "setMinimum"),
        ("ctkSliderWidget", "setRange"),
        ("ctkPathLineEdit", "setFilters"),
        ("ctkDirectoryButton", "setDirectory"),
        ("ctkDoubleSpinBox", "setMaximum"),
    ],
)
def test_cpp_only_setters_of_ctk_do_not_exist(host: Any, name: str, setter: str) -> None:
    import ctk

    with pytest.raises(AttributeError, match=setter):
        getattr(getattr(ctk, name)(), setter)


def test_unknown_ui_class_raises(host: Any) -> None:
    from host.ui_loader import UiError

    with pytest.raises(UiError, match="ctkNoSuchWidget"):
        load('<widget class="ctkNoSuchWidget" name="w"/>')


def test_unknown_ui_property_raises(host: Any) -> None:
    from host.ui_loader import UiError

    with pytest.raises(UiError, match="colour"):
        load('<widget class="QLabel" name="w"><property name="colour"><string>red</string></property></widget>')


def test_ui_property_that_a_stand_in_lacks_raises(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from host.binding import wrapper
    from PySide6 import QtWidgets

    class ctkCheckBox(QtWidgets.QCheckBox):
        """A stand-in without the properties of ctkCheckBox."""

    monkeypatch.setitem(wrapper.implementations, "ctkCheckBox", ctkCheckBox)
    size = '<property name="indicatorIconSize"><size><width>9</width><height>9</height></size></property>'
    with pytest.raises(NotImplementedError, match="indicatorIconSize"):
        load(f'<widget class="ctkCheckBox" name="c">{size}</widget>')


def test_unknown_ui_slot_or_signal_raises(host: Any) -> None:
    from host.ui_loader import UiError

    wrong_slot = CONNECTION.format(signal="mrmlSceneChanged(vtkMRMLScene*)", slot="setScene(vtkMRMLScene*)")
    with pytest.raises(UiError, match="setScene"):
        load(SELECTOR, wrong_slot)
    wrong_signal = CONNECTION.format(signal="sceneChanged(vtkMRMLScene*)", slot="setMRMLScene(vtkMRMLScene*)")
    with pytest.raises(UiError, match="sceneChanged"):
        load(SELECTOR, wrong_signal)


def test_selector_without_scene_connection_fails(host: Any) -> None:
    import slicer
    from host import HostError
    from host.module_factory import check_scene_connections

    connected = load(
        SELECTOR, CONNECTION.format(signal="mrmlSceneChanged(vtkMRMLScene*)", slot="setMRMLScene(vtkMRMLScene*)")
    )
    connected.setMRMLScene(slicer.mrmlScene)
    check_scene_connections(connected)
    forgotten = load(SELECTOR)
    forgotten.setMRMLScene(slicer.mrmlScene)
    with pytest.raises(HostError, match="selector"):
        check_scene_connections(forgotten)


def test_unknown_attribute_of_the_application_raises(host: Any) -> None:
    import ctk
    import qt
    import slicer

    for owner in (slicer.app, slicer.modules, qt, ctk):
        with pytest.raises(AttributeError):
            owner.noSuchThing  # noqa: B018


def test_vtk_error_and_slot_exception_are_collected(host: Any) -> None:
    import qt
    import slicer

    slicer.mrmlScene.RemoveNode(None)
    reader = __import__("vtk").vtkXMLImageDataReader()
    reader.SetFileName("/no/such/file.vti")
    reader.Update()
    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    errors = "\n".join(host.log.take())
    assert "VTK" in errors
    assert "ZeroDivisionError" in errors


def test_super_of_a_qt_method_raises(host: Any) -> None:
    import qt

    class Label(qt.QLabel):
        def rename(self) -> None:
            super().setText("x")

    with pytest.raises(AttributeError, match="setText"):
        Label().rename()


def test_stand_ins_invent_nothing(host: Any) -> None:
    """Every property and signal that a stand-in declares is one that the facts list."""
    from host.binding import surface, wrapper
    from PySide6 import QtCore

    invented = []
    for name, cls in wrapper.implementations.items():
        allowed = surface.surface_of(name)
        for member, value in vars(cls).items():
            if isinstance(value, QtCore.Property) and member not in allowed.properties:
                invented.append(f"{name}.{member}")
            if isinstance(value, QtCore.Signal) and member not in allowed.signals:
                invented.append(f"{name}.{member}()")
    assert not invented

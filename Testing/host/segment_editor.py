"""The Segment Editor for scripted effects: Slicer's own editor logic behind the interface that effects have.

`vtkSlicerSegmentEditorLogic` of the slicer-core wheel does the masking, the writing and the undo; here is only what the
application's widget and the C++ base class of effects add. Members that the headers do not name raise AttributeError,
those that the headers name and this file lacks raise NotImplementedError.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import slicer

_CLASS = "qSlicerSegmentEditorScriptedEffect"
_FACTS = json.loads((Path(__file__).parent / "facts" / "slicer.json").read_text(encoding="utf-8"))[_CLASS]
_MODES = {name: value for value, name in enumerate(_FACTS["enums"]["ModificationMode"])}
_ANSWERS = {name: value for value, name in enumerate(_FACTS["enums"]["ConfirmationResult"])}


class ScriptedEffect:
    """``qSlicerSegmentEditorScriptedEffect``: what an effect calls ``self.scriptedEffect``."""

    ModificationModeSet = _MODES["ModificationModeSet"]
    ModificationModeAdd = _MODES["ModificationModeAdd"]
    ModificationModeRemove = _MODES["ModificationModeRemove"]
    ModificationModeRemoveAll = _MODES["ModificationModeRemoveAll"]
    NotConfirmed = _ANSWERS["NotConfirmed"]
    ConfirmedWithoutDialog = _ANSWERS["ConfirmedWithoutDialog"]
    ConfirmedWithDialog = _ANSWERS["ConfirmedWithDialog"]

    def __init__(self, parent: Any) -> None:
        values = {"name": "", "title": "", "perSegment": True, "requireSegments": True}
        values |= {"showEffectCursorInSliceView": True, "showEffectCursorInThreeDView": False}
        self.__dict__.update(values, _source="", _python=None, _editor=None, _frame=None, _layout=None)

    def __getattr__(self, name: str) -> Any:
        if name in _FACTS["slots"] or name in _FACTS["properties"]:
            raise NotImplementedError(f"The test host's {_CLASS} does not implement '{name}'.")
        raise AttributeError(f"{_CLASS} has no attribute named '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _FACTS["properties"]:
            raise AttributeError(f"'{name}' does not exist on {_CLASS} and creating new attributes is not allowed")
        self.__dict__[name] = value

    # The Python side

    def setPythonSource(self, path: str) -> bool:
        """Load the file under the name of its folder, as Slicer does, and make the effect."""
        if not path.endswith(".py"):
            return False
        folder, name = Path(path).parent.name, Path(path).stem
        name += "" if name.endswith("Effect") else "Effect"
        module = sys.modules.get(folder)
        if module is None or not hasattr(module, name):
            spec = importlib.util.spec_from_file_location(folder, path)
            if spec is None or spec.loader is None:
                return False
            module = importlib.util.module_from_spec(spec)
            sys.modules[folder] = module
            spec.loader.exec_module(module)
        self.__dict__["_python"] = getattr(module, name)(self)
        self.__dict__["_source"] = path
        return True

    def pythonSource(self) -> str:
        return str(self._source)

    def self(self) -> Any:
        return self._python

    # Options

    def optionsFrame(self) -> Any:
        if self._frame is None:
            import qt

            self.__dict__["_frame"] = qt.QFrame()
            self.__dict__["_layout"] = qt.QFormLayout(self._frame)
        return self._frame

    def optionsLayout(self) -> Any:
        self.optionsFrame()
        return self._layout

    def addOptionsWidget(self, widget: Any) -> None:
        self.optionsLayout().addRow(widget)

    def addLabeledOptionsWidget(self, label: str, widget: Any) -> Any:
        import qt

        text = qt.QLabel(label)
        self.optionsLayout().addRow(text, widget)
        return text

    # Parameters

    def parameterSetNode(self) -> Any:
        return self._editor.node

    def _key(self, name: str) -> str:
        return f"{self.name}.{name}"

    def parameterDefined(self, name: str) -> bool:
        return self._editor.node.GetAttribute(self._key(name)) is not None

    def parameter(self, name: str) -> str:
        return self._editor.node.GetAttribute(self._key(name)) or ""

    def integerParameter(self, name: str) -> int:
        return int(self.parameter(name) or 0)

    def doubleParameter(self, name: str) -> float:
        return float(self.parameter(name) or 0.0)

    def setParameter(self, name: str, value: Any) -> None:
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise ValueError(f"Could not find matching overload for given arguments: setParameter({name!r}, {value!r})")
        self._editor.node.SetAttribute(self._key(name), str(value))

    def setParameterDefault(self, name: str, value: Any) -> None:
        if not self.parameterDefined(name):
            self.setParameter(name, value)

    # Voxels

    def referenceGeometryImage(self) -> Any:
        self._editor.logic.UpdateReferenceGeometryImage()
        return self._editor.logic.GetReferenceGeometryImage()

    def saveStateForUndo(self) -> None:
        self._editor.logic.SaveStateForUndo()

    def modifySegmentByLabelmap(
        self, node: Any, segment_id: str, labelmap: Any, mode: int, bypass: bool = False
    ) -> None:
        logic = self._editor.logic
        kind = next(getattr(logic, name) for name, value in _MODES.items() if value == mode)
        logic.ModifySegmentByLabelmap(node, segment_id, labelmap, kind, bool(self.perSegment), bool(bypass))

    def modifySelectedSegmentByLabelmap(self, labelmap: Any, mode: int, bypass: bool = False) -> None:
        node = self._editor.node
        self.modifySegmentByLabelmap(node.GetSegmentationNode(), node.GetSelectedSegmentID(), labelmap, mode, bypass)

    def confirmCurrentSegmentVisible(self) -> int:
        node = self._editor.node
        display = node.GetSegmentationNode().GetDisplayNode()
        visible = display is None or display.GetSegmentVisibility(node.GetSelectedSegmentID())
        return self.ConfirmedWithoutDialog if visible else self.ConfirmedWithDialog

    def viewNode(self, view_widget: Any) -> Any:
        return view_widget.mrmlSliceNode()


class AbstractScriptedSegmentEditorEffect:
    """``SegmentEditorEffects.AbstractScriptedSegmentEditorEffect``: the base class of effects in Python."""

    def __init__(self, scriptedEffect: Any) -> None:
        self.scriptedEffect = scriptedEffect

    def register(self) -> None:
        """Make the effect known to all editors."""
        EffectFactory.instance().registerEffect(self.scriptedEffect)

    def cleanup(self) -> None:
        """Nothing to let go of."""


class EffectFactory:
    """``slicer.qSlicerSegmentEditorEffectFactory``."""

    _instance: ClassVar[EffectFactory | None] = None

    def __init__(self) -> None:
        self._effects: dict[str, ScriptedEffect] = {}

    @classmethod
    def instance(cls) -> EffectFactory:
        if cls._instance is None:
            cls._instance = EffectFactory()
        return cls._instance

    def registerEffect(self, effect: ScriptedEffect) -> bool:
        """Slicer refuses a second effect of the same name."""
        if not effect.name or effect.name in self._effects:
            return False
        self._effects[effect.name] = effect
        return True

    def registeredEffects(self) -> tuple[ScriptedEffect, ...]:
        return tuple(self._effects.values())


class SliceWidget:
    """``qMRMLSliceWidget`` as an effect sees it."""

    def __init__(self, node: Any, interactor: Any) -> None:
        self._node, self.interactor = node, interactor

    def className(self) -> str:
        return "qMRMLSliceWidget"

    def mrmlSliceNode(self) -> Any:
        return self._node


class SegmentEditor:
    """``qMRMLSegmentEditorWidget`` as a person uses it: segmentation, source volume, segment, one active effect."""

    _EVENTS = ("LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent", "RightButtonPressEvent")

    def __init__(self, scene: Any) -> None:
        self.node = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.logic = slicer.vtkSlicerSegmentEditorLogic()
        self.logic.SetMRMLScene(scene)
        self.logic.SetSegmentEditorNode(self.node)
        # The widget has a history of its own making; so has this one.
        self._history = slicer.vtkSegmentationHistory()
        self.logic.SetSegmentationHistory(self._history)
        self.active: ScriptedEffect | None = None
        self._tags: list[tuple[Any, int]] = []

    def setNodes(self, segmentation: Any, volume: Any) -> None:
        """Choose segmentation and source volume."""
        self.logic.SetSegmentationNode(segmentation)
        self.logic.SetSourceVolumeNode(volume)
        self._history.SetSegmentation(segmentation.GetSegmentation())

    def setCurrentSegmentID(self, segment_id: str) -> None:
        """Select a segment."""
        self.node.SetSelectedSegmentID(segment_id)

    def setActiveEffectByName(self, name: str) -> Any:
        """Make a copy of the registered effect, build its options, and activate it; gives the Python object."""
        self.setNoEffect()
        registered = {effect.name: effect for effect in EffectFactory.instance().registeredEffects()}
        effect = registered[name].self().clone()
        effect.__dict__["_editor"] = self
        effect.self().setupOptionsFrame()
        effect.self().setMRMLDefaults()
        self.active = effect
        effect.self().activate()
        effect.self().updateGUIFromMRML()
        return effect.self()

    def setNoEffect(self) -> None:
        """Deactivate the effect."""
        if self.active is not None:
            self.active.self().deactivate()
            self.active.self().cleanup()
            self.active = None

    def observe(self, widget: SliceWidget) -> None:
        """Pass the events of a slice view on to the active effect, before the view's own widgets."""
        for name in self._EVENTS:
            tags: list[int] = []

            def told(caller: Any, event: str, tags: list[int] = tags) -> None:
                number = getattr(__import__("vtk").vtkCommand, event)
                if self.active is not None and self.active.self().processInteractionEvents(caller, number, widget):
                    caller.GetCommand(tags[0]).SetAbortFlag(1)

            tags.append(widget.interactor.AddObserver(name, told, 10.0))
            self._tags.append((widget.interactor, tags[0]))

    def close(self) -> None:
        """Let go of effect and views."""
        self.setNoEffect()
        for interactor, tag in self._tags:
            interactor.RemoveObserver(tag)
        self._tags = []


def install() -> None:
    """Put the modules and classes where Slicer's Python has them."""
    effects = types.ModuleType("qSlicerSegmentationsEditorEffectsPythonQt")
    effects.qSlicerSegmentEditorScriptedEffect = ScriptedEffect  # type: ignore[attr-defined]
    sys.modules[effects.__name__] = effects
    base = types.ModuleType("SegmentEditorEffects")
    base.AbstractScriptedSegmentEditorEffect = AbstractScriptedSegmentEditorEffect  # type: ignore[attr-defined]
    sys.modules[base.__name__] = base
    slicer.qSlicerSegmentEditorEffectFactory = EffectFactory

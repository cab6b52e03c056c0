"""Hidden module that brings the effect "MedAI Click" to the Segment Editor."""

import os

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest


class SegmentEditorMedAIClick(ScriptedLoadableModule):
    """Registers the effect once Slicer is up."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "MedAI Click"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "Markups"]
        parent.contributors = ["SlicerMedAI contributors"]
        parent.helpText = _(
            "This hidden module brings the effect MedAI Click to the Segment Editor: it segments what is clicked on."
        )
        parent.acknowledgementText = _("Not a medical device: results are for research and have to be checked.")
        parent.hidden = True
        slicer.app.connect("startupCompleted()", self.registerEditorEffect)

    def registerEditorEffect(self):
        """Make the effect known to all Segment Editors."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        instance = effects.qSlicerSegmentEditorScriptedEffect(None)
        path = os.path.join(os.path.dirname(__file__), f"{self.__class__.__name__}Lib", "SegmentEditorEffect.py")
        instance.setPythonSource(path.replace("\\", "/"))
        instance.self().register()


class SegmentEditorMedAIClickTest(ScriptedLoadableModuleTest):
    """The effect is there, and it is what this folder has."""

    def runTest(self):
        self.setUp()
        self.test_effect_is_registered()

    def test_effect_is_registered(self):
        self.assertTrue(slicer.modules.segmenteditormedaiclick.hidden)
        names = [effect.name for effect in slicer.qSlicerSegmentEditorEffectFactory.instance().registeredEffects()]
        self.assertIn("MedAI Click", names)

"""Hidden module that owns what MedAI's modules share: the packages `medai` and `MedAICoreLib`, and sample data."""

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class MedAICore(ScriptedLoadableModule):
    """Registers the sample data and the settings page; it is in no menu."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "MedAI Core"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["SlicerMedAI contributors"]
        parent.helpText = _("Shared parts of MedAI. Open MedAI Segmentation to segment a volume.")
        parent.acknowledgementText = _("Not a medical device: results are for research and have to be checked.")
        parent.hidden = True
        slicer.app.connect("startupCompleted()", registerSampleData)
        slicer.app.connect("startupCompleted()", registerSettings)


def registerSampleData():
    """Offer the volume of the tutorial in the Sample Data module."""
    from MedAICoreLib.sample_data import register

    register()


def registerSettings():
    """Add MedAI's page to the application's settings."""
    from MedAICoreLib.settings_page import registerSettingsPage

    registerSettingsPage()


class MedAICoreWidget(ScriptedLoadableModuleWidget):
    """The module is hidden; its panel has only the developer section of the base class."""

    def onReload(self):
        from MedAICoreLib.reload import forget_packages

        forget_packages()
        ScriptedLoadableModuleWidget.onReload(self)


class MedAICoreLogic(ScriptedLoadableModuleLogic):
    """The shared logic is in MedAICoreLib and medai."""


class MedAICoreTest(ScriptedLoadableModuleTest):
    """Checks in the running application that the shared packages were installed."""

    def runTest(self):
        self.setUp()
        self.test_packages_are_installed()
        self.test_sample_data_is_registered()

    def test_packages_are_installed(self):
        import medai.config.model_card
        import medai.labels
        import MedAICoreLib

        self.assertTrue(MedAICoreLib.__file__)
        self.assertTrue(medai.__version__)

    def test_sample_data_is_registered(self):
        from MedAICoreLib.sample_data import CATEGORY, SAMPLES, register

        register()
        register()
        registered = [source.sampleName for source in slicer.modules.sampleDataSources[CATEGORY]]
        self.assertEqual(registered, [sample.name for sample in SAMPLES])

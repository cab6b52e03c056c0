"""What the self-tests of MedAI's modules have in common, in Slicer and outside of it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from MedAICoreLib.standin_worker import StandinWorker
from MedAICoreLib.worker import WorkerHandle

SPACING_IJK = (0.8, 1.1, 2.5)
SHAPE_KJI = (14, 31, 37)


class RunLogicTest(ScriptedLoadableModuleTest):
    """Tests of a module's `RunLogic` with a stand-in for the worker.

    `setUp` of a module's test calls `begin`; each of its methods `test_...` runs in a scene of its own.
    """

    def begin(self, standin: StandinWorker, logicClass: Any) -> None:
        """An empty scene, a folder (`folder`), a worker (`standin`, `worker`), and a logic of its own (`logic`)."""
        slicer.mrmlScene.Clear(0)
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.standin = standin
        self.worker = WorkerHandle(standin.makeTransport)
        self.addCleanup(self.worker.close)
        self.logic = logicClass(worker=self.worker)

    def runTest(self):
        """All tests, one after the other."""
        for name in sorted(name for name in dir(self) if name.startswith("test_")):
            self.setUp()
            getattr(self, name)()
            self.doCleanups()

    def finish(self):
        """Advance until nothing is left to do; a hundred thousand slices are far more than any of these runs needs."""
        for _count in range(100_000):
            if not self.logic.advance():
                return
        self.fail("The run did not end.")

    def sessionFiles(self):
        """Array files that are left in the session folder."""
        return [path.name for path in self.worker.client.session.path.glob("*.raw")]

    def transform(self, kind):
        """A parent transform node of this kind (linear, thin-plate, grid), or None for "none"."""
        if kind == "none":
            return None
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", kind)
        made = {"linear": _linearTransform, "thin-plate": _thinPlateTransform, "grid": _gridTransform}[kind]()
        node.SetAndObserveTransformToParent(made)
        return node


def obliqueMatrix(leftHanded=False):
    """ijk_to_ras of an oblique, anisotropic grid with spacings `SPACING_IJK`."""
    a, b = np.cos(0.4), np.sin(0.4)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[a, -b, 0], [b, a, 0], [0, 0, 1]]) * SPACING_IJK
    if leftHanded:
        matrix[:3, 0] *= -1
    matrix[:3, 3] = (-11.0, 5.0, 3.0)
    return matrix


def _linearTransform():
    transform = vtk.vtkTransform()
    transform.RotateWXYZ(33, 1, 2, 3)
    transform.Translate(7, -8, 9)
    return transform


def _thinPlateTransform():
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for corner in range(8):
        point = [60.0 * (corner >> axis & 1) - 30 for axis in range(3)]
        source.InsertNextPoint(point)
        target.InsertNextPoint([c + 3.0 * ((corner + axis) % 3) for axis, c in enumerate(point)])
    transform = vtk.vtkThinPlateSplineTransform()
    transform.SetSourceLandmarks(source)
    transform.SetTargetLandmarks(target)
    transform.SetBasisToR()
    return transform


def _gridTransform():
    """Displacements of a few mm, drawn once, on a grid of 8 x 8 x 8 points."""
    grid = vtk.vtkImageData()
    grid.SetDimensions(8, 8, 8)
    grid.SetSpacing(12, 12, 12)
    grid.SetOrigin(-40, -40, -40)
    scalars = vtk.vtkDoubleArray()
    scalars.SetNumberOfComponents(3)
    for displacement in np.random.default_rng(5).normal(0, 3, (8 * 8 * 8, 3)):
        scalars.InsertNextTuple3(*displacement)
    grid.GetPointData().SetScalars(scalars)
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(grid)
    return transform

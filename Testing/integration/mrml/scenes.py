"""Volumes, transforms and readings by Slicer itself, for the tests of medai.mrml."""

from __future__ import annotations

import numpy as np
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from medai.labels import Label, LabelScheme, distinct_color

SHAPE = (13, 37, 41)


def grid_matrix(left_handed: bool = False) -> np.ndarray:
    """ijk_to_ras of a triple-rotated grid with spacings .37/.91/4.3 mm, far from the origin."""
    transform = vtk.vtkTransform()
    transform.Translate(-123.456, 77.7, -1000.123)
    transform.RotateX(17)
    transform.RotateY(-31)
    transform.RotateZ(52)
    transform.Scale(-0.37 if left_handed else 0.37, 0.91, 4.3)
    matrix = transform.GetMatrix()
    return np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])


def scheme_of(*values: int) -> LabelScheme:
    return LabelScheme(tuple(Label(v, f"organ {v}", distinct_color(v)) for v in values))


def add_transform(scene, kind: str):
    """A transform node of a kind: none, linear, thin-plate or grid; strong enough to move every voxel."""
    if kind == "none":
        return None
    node = slicer.vtkMRMLTransformNode()
    node.SetName(kind)
    if kind == "linear":
        transform = vtk.vtkTransform()
        transform.Translate(5, -20, 30)
        transform.RotateWXYZ(25, 1, 2, 3)
        transform.Scale(1.1, 1.1, 1.1)
    elif kind == "thin-plate":
        generator = np.random.default_rng(1)
        source, target = vtk.vtkPoints(), vtk.vtkPoints()
        for point in generator.uniform((-160, 20, -1060), (-90, 110, -930), (8, 3)):
            source.InsertNextPoint(point)
            target.InsertNextPoint(point + generator.normal(0, 4, 3))
        transform = _thin_plate(source, target)
    else:
        grid = vtk.vtkImageData()
        grid.SetOrigin(-190, 0, -1090)
        grid.SetSpacing(20, 20, 25)
        grid.SetDimensions(8, 8, 8)
        grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
        vectors = vtk_to_numpy(grid.GetPointData().GetScalars())
        vectors[...] = np.random.default_rng(2).normal(0, 3, vectors.shape)
        transform = slicer.vtkOrientedGridTransform()
        transform.SetDisplacementGridData(grid)
        transform.SetInterpolationModeToCubic()
    node.SetAndObserveTransformToParent(transform)
    return scene.AddNode(node)


def corner_warp(half_mm: float, step_mm: float):
    """A thin-plate spline around the origin: the corners of a cube move by 0, 1 or 2 steps along each axis."""
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for corner in range(8):
        point = [half_mm * (2 * (corner >> axis & 1) - 1) for axis in range(3)]
        source.InsertNextPoint(point)
        target.InsertNextPoint([c + step_mm * ((corner + axis) % 3) for axis, c in enumerate(point)])
    return _thin_plate(source, target)


def _thin_plate(source, target):
    transform = vtk.vtkThinPlateSplineTransform()
    transform.SetSourceLandmarks(source)
    transform.SetTargetLandmarks(target)
    transform.SetBasisToR()
    return transform


def segment_mask(segmentation_node, segment_id: str, volume_node) -> np.ndarray:
    """A segment's voxels (0 or 1) on the volume's grid (k, j, i), exported by Slicer itself."""
    scene = volume_node.GetScene()
    exported = scene.AddNode(slicer.vtkMRMLLabelMapVolumeNode())
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.ExportSegmentsToLabelmapNode(segmentation_node, [segment_id], exported, volume_node)
    mask = slicer.util.arrayFromVolume(exported).copy()
    scene.RemoveNode(exported)
    return mask

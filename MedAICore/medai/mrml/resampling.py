"""One volume on the grid of another, where both may lie under parent transforms of any kind; a few rows at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from medai.image import Affine, Array
from medai.mrml.transforms import transform_between
from medai.mrml.volumes import array_from_matrix, check_volume, matrix_from_array, volume_matrix


def linear_between(volume_node: Any, reference_node: Any) -> Affine | None:
    """The 4x4 matrix from the volume's own coordinates to those of the reference, both RAS mm without their parents.

    None where the parent transforms of the two differ by a warp.
    """
    between, linear = transform_between(volume_node, reference_node), vtk.vtkTransform()
    if not slicer.vtkOrientedImageDataResample.IsTransformLinear(between, linear):
        return None
    return array_from_matrix(linear.GetMatrix())


class GridResampler:
    """Interpolates a volume linearly at the voxels of a reference volume, by their places in the world.

    The parent transforms of both are followed, also warps. Places outside of the volume get its smallest value. Both
    nodes' voxels must not change while this is used.
    """

    def __init__(self, volume_node: Any, reference_node: Any) -> None:
        check_volume(volume_node)
        check_volume(reference_node)
        data = volume_node.GetImageData()
        self.shape: tuple[int, int, int] = tuple(reference_node.GetImageData().GetDimensions()[::-1])
        self._transform = vtk.vtkGeneralTransform()
        self._transform.PostMultiply()
        self._transform.Concatenate(matrix_from_array(volume_matrix(reference_node)))
        self._transform.Concatenate(transform_between(reference_node, volume_node))
        from_volume = np.linalg.inv(volume_matrix(volume_node)).astype(np.float64)
        self._transform.Concatenate(matrix_from_array(from_volume))
        # A copy that shares the voxels: its grid is the index of the array, whatever the node's image says.
        self._input = vtk.vtkImageData()
        self._input.SetDimensions(data.GetDimensions())
        self._input.GetPointData().SetScalars(data.GetPointData().GetScalars())
        self._reslice = vtk.vtkImageReslice()
        self._reslice.SetInputData(self._input)
        self._reslice.SetResliceTransform(self._transform)
        self._reslice.SetInterpolationModeToLinear()
        self._reslice.SetOutputScalarType(vtk.VTK_FLOAT)
        self._reslice.SetOutputSpacing(1, 1, 1)
        self._reslice.SetOutputOrigin(0, 0, 0)
        self._reslice.SetBackgroundLevel(float(data.GetPointData().GetScalars().GetRange()[0]))
        # As the worker does for linear differences: beyond the centres of the outermost voxels is outside.
        self._reslice.BorderOff()

    def rows(self, k: int, start: int, stop: int) -> Array:
        """The rows `start` to `stop` of slice `k` of the reference grid: float32, (stop - start, i)."""
        columns = self.shape[2]
        self._reslice.SetOutputExtent(0, columns - 1, start, stop - 1, k, k)
        self._reslice.Update()
        scalars = self._reslice.GetOutput().GetPointData().GetScalars()
        return numpy_support.vtk_to_numpy(scalars).reshape(stop - start, columns)

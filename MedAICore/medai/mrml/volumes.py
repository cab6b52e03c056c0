"""Volume nodes and images: the same voxels, the same place, in either direction."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util import numpy_support

from medai.errors import GeometryError, InputError
from medai.image import Image


def image_from_volume(volume_node: Any, copy: bool = True) -> Image:
    """The voxels and the geometry of a volume node; axes (channel, k, j, i), a vector volume gives several channels.

    The geometry is the node's own IJK-to-RAS matrix: a parent transform is not applied. With `copy=False` the array is
    a read-only view of the node's voxels, for a caller that copies it in slabs. Raises InputError for a node without
    voxels or of another kind.
    """
    check_volume(volume_node)
    data = volume_node.GetImageData()
    i, j, k = data.GetDimensions()
    scalars = numpy_support.vtk_to_numpy(data.GetPointData().GetScalars())
    channels = data.GetNumberOfScalarComponents()
    array = np.moveaxis(scalars.reshape(k, j, i, channels), -1, 0)
    if copy:
        array = np.ascontiguousarray(array) if channels > 1 else array.copy()
    else:
        array = array.view()
        array.flags.writeable = False
    return Image(array, volume_matrix(volume_node), name=volume_node.GetName() or "")


def check_volume(volume_node: Any, scene: Any = None) -> None:
    """Raise InputError where the node is no volume with voxels or, with `scene`, is no longer in that scene."""
    if volume_node is None or not volume_node.IsA("vtkMRMLScalarVolumeNode"):
        what = "nothing" if volume_node is None else f"a {volume_node.GetClassName()}"
        raise InputError(f"A volume is needed, got {what}.", "Choose a scalar or label map volume.")
    if scene is not None and volume_node.GetScene() is not scene:
        raise InputError(
            f"The volume '{volume_node.GetName()}' is no longer in the scene.",
            "It was removed while the computation ran; load it again and rerun.",
        )
    data = volume_node.GetImageData()
    if data is None or data.GetNumberOfPoints() == 0 or data.GetPointData().GetScalars() is None:
        raise InputError(f"The volume '{volume_node.GetName()}' has no voxels.", "Load its image data first.")


def volume_matrix(volume_node: Any) -> npt.NDArray[np.float64]:
    """The 4x4 matrix from the index of a voxel in the array (i, j, k) to RAS mm, without the parent transform."""
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    ijk_to_ras = array_from_matrix(matrix)
    extent = volume_node.GetImageData().GetExtent()
    if any(extent[::2]):  # arrays start at index 0, the node's matrix is that of the extent's indices
        ijk_to_ras[:, 3] = ijk_to_ras @ np.array([*extent[::2], 1.0])
    return ijk_to_ras


def volume_from_image(scene: Any, image: Image, name: str = "") -> Any:
    """Add the image (one channel) to the scene as a vtkMRMLScalarVolumeNode, shown with an automatic window.

    The voxels are copied. float16 becomes float32 and booleans uint8, as VTK has no such types; 64-bit integers become
    32-bit ones where they fit and are refused otherwise.
    """
    if image.channels != 1:
        raise InputError(
            f"Image '{image.name}' has {image.channels} channels; a scalar volume has one.",
            "Add one volume per channel.",
        )
    if not _is_orthogonal(image.ijk_to_ras):
        raise GeometryError(
            f"Image '{image.name}': the axes of the voxel grid are sheared; a volume node cannot hold that.",
            "Resample it to a rectangular grid.",
        )
    voxels = _vtk_voxels(image)
    data = vtk.vtkImageData()
    data.SetDimensions(image.shape[::-1])
    data.AllocateScalars(numpy_support.get_vtk_array_type(voxels.dtype), 1)
    numpy_support.vtk_to_numpy(data.GetPointData().GetScalars()).reshape(image.shape)[...] = voxels
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(scene.GenerateUniqueName(name or image.name or "Volume"))
    node.SetIJKToRASMatrix(matrix_from_array(image.ijk_to_ras))
    node.SetAndObserveImageData(data)
    node = scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    return node


def _is_orthogonal(ijk_to_ras: npt.NDArray[np.float64]) -> bool:
    axes = ijk_to_ras[:3, :3] / np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() < 1e-3)


def _vtk_voxels(image: Image) -> npt.NDArray[Any]:
    voxels = image.channel(0)
    if voxels.dtype == np.float16:
        return voxels.astype(np.float32)
    if voxels.dtype == bool:
        return voxels.astype(np.uint8)
    if voxels.dtype.kind in "ui" and voxels.dtype.itemsize == 8:
        limits = np.iinfo(np.int32)
        if voxels.size and (voxels.min() < limits.min or voxels.max() > limits.max):
            raise InputError(
                f"Image '{image.name}' has values from {voxels.min()} to {voxels.max()}, beyond 32-bit integers.",
                "Convert it to floating point.",
            )
        return voxels.astype(np.int32)
    if voxels.dtype.kind not in "uif":
        raise InputError(f"Image '{image.name}' has voxels of type {voxels.dtype}.", "Give real numbers.")
    return voxels.astype(voxels.dtype.newbyteorder("="), copy=False)


def matrix_from_array(array: npt.NDArray[np.float64]) -> Any:
    """A vtkMatrix4x4 with the values of a 4x4 array."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=np.float64).ravel().tolist())
    return matrix


def array_from_matrix(matrix: Any) -> npt.NDArray[np.float64]:
    """A 4x4 array with the values of a vtkMatrix4x4."""
    return np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])

"""Labels into segmentation nodes, surfaces and files: by Slicer's own classes (slicer-core), by MedAI."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from benchmarks import volumes
from benchmarks.measurement import measure
from medai.image import Image
from medai.imageio import write_label_map
from medai.labels import LabelScheme, unnamed_scheme
from medai.mrml import create_surfaces, volume_from_image, write_segmentation
from medai.mrml.headless import HeadlessScene, headless_scene

_AFFINE = np.diag([0.75, 0.75, 1.0, 1.0])


def write_by_medai(shape: list[int], count: int) -> dict[str, Any]:
    """`write_segmentation` into a new node, then twice into the same; whether the voxels are the labels."""
    labels, scheme = _labels(shape, count)
    with _quiet_scene() as host:
        volume = _volume(host.scene, shape)
        _, first = measure(lambda: write_segmentation(host.scene, labels, scheme, volume, run_id="first"))
        node = host.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")

        def rerun() -> None:
            write_segmentation(host.scene, labels, scheme, volume, node, run_id="again")

        again = [measure(rerun)[1] for _ in range(2)]
        identical = _equal(_by_segment(node), labels, scheme)
        _let_go(host.scene)
    return {"first": first, "again": min(again, key=lambda f: f["seconds"]), "identical": identical}


def write_by_slicer(shape: list[int], count: int) -> dict[str, Any]:
    """`ImportLabelmapToSegmentationNode` into a new node, then into the same once its segments are removed.

    The label map volume is there already: handing the voxels to VTK is not in the time.
    """
    labels, scheme = _labels(shape, count)
    with _quiet_scene() as host:
        label_volume = host.scene.AddNode(slicer.vtkMRMLLabelMapVolumeNode())
        image = vtk.vtkImageData()
        image.SetDimensions(labels.shape[::-1])
        image.GetPointData().SetScalars(numpy_to_vtk(labels.ravel(), deep=True))
        label_volume.SetAndObserveImageData(image)
        label_volume.SetSpacing(0.75, 0.75, 1.0)
        node = host.scene.AddNode(slicer.vtkMRMLSegmentationNode())
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        _, first = measure(lambda: logic.ImportLabelmapToSegmentationNode(label_volume, node))

        def rerun() -> None:
            node.GetSegmentation().RemoveAllSegments()
            logic.ImportLabelmapToSegmentationNode(label_volume, node)

        _, again = measure(rerun)
        identical = _equal(_by_segment(node), labels, scheme)
        _let_go(host.scene)
    return {"first": first, "again": again, "identical": identical}


def surfaces(shape: list[int], count: int, ours: bool) -> dict[str, Any]:
    """Closed surfaces of all segments: `create_surfaces`, or Slicer's conversion; with the number of points."""
    labels, scheme = _labels(shape, count)
    with _quiet_scene() as host:
        result = write_segmentation(host.scene, labels, scheme, _volume(host.scene, shape), run_id="surfaces")
        node = host.scene.GetNodeByID(result.segmentation_node_id)
        node.RemoveClosedSurfaceRepresentation()
        _, figures = measure(lambda: create_surfaces(node) if ours else node.CreateClosedSurfaceRepresentation())
        segmentation = node.GetSegmentation()
        points = 0
        for n in range(segmentation.GetNumberOfSegments()):
            surface = segmentation.GetNthSegment(n).GetRepresentation("Closed surface")
            points += surface.GetNumberOfPoints()
        _let_go(host.scene)
    return {**figures, "points": points}


def file_by_medai(shape: list[int], count: int, path: str) -> dict[str, Any]:
    """`write_label_map` as .seg.nrrd; with the file's size in bytes."""
    labels, scheme = _labels(shape, count)
    image = Image(labels[None], _AFFINE, "labels")
    tiny = Image(labels[None, :2, :2, :2], _AFFINE, "tiny")
    first = Path(path).with_name("first.seg.nrrd")  # what is imported late is imported now, as in a running worker
    _, figures = measure(
        lambda: write_label_map(Path(path), image, scheme), lambda: write_label_map(first, tiny, scheme)
    )
    return {**figures, "bytes": Path(path).stat().st_size}


def file_by_slicer(shape: list[int], count: int, path: str) -> dict[str, Any]:
    """Slicer's storage node with its default compression; with the file's size in bytes."""
    labels, scheme = _labels(shape, count)
    with _quiet_scene() as host:
        result = write_segmentation(host.scene, labels, scheme, _volume(host.scene, shape), run_id="file")
        node = host.scene.GetNodeByID(result.segmentation_node_id)
        node.RemoveClosedSurfaceRepresentation()
        storage = host.scene.AddNode(slicer.vtkMRMLSegmentationStorageNode())
        storage.SetFileName(path)
        written, figures = measure(lambda: storage.WriteData(node))
        _let_go(host.scene)
    return {**figures, "written": bool(written), "bytes": Path(path).stat().st_size}


def read_back(shape: list[int], count: int, paths: list[str]) -> dict[str, Any]:
    """Both files read by Slicer's storage node: are names, colours, geometry and voxels those that were written?"""
    labels, scheme = _labels(shape, count)
    found = []
    for path in paths:
        with _quiet_scene() as host:
            node = host.scene.AddNode(slicer.vtkMRMLSegmentationNode())
            storage = host.scene.AddNode(slicer.vtkMRMLSegmentationStorageNode())
            storage.SetFileName(path)
            read = bool(storage.ReadData(node))
            segmentation = node.GetSegmentation()
            segments = [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]
            voxels = _by_segment(node)
            matrix = vtk.vtkMatrix4x4()
            segments[0].GetRepresentation("Binary labelmap").GetImageToWorldMatrix(matrix)
            found.append(
                {
                    "read": read,
                    "names": [s.GetName() for s in segments] == list(scheme.names),
                    "colours": bool(
                        np.allclose([s.GetColor() for s in segments], [x.color for x in scheme], atol=1e-6)
                    ),
                    "spacing": bool(np.allclose([matrix.GetElement(n, n) for n in range(3)], np.diag(_AFFINE)[:3])),
                    "layers": segmentation.GetNumberOfLayers("Binary labelmap"),
                    "voxels": _equal(voxels, labels, scheme),
                }
            )
            _let_go(host.scene)
        gc.collect()
    return {"files": found, "identical": all(all(f.values()) for f in found)}


def _labels(shape: list[int], count: int) -> tuple[np.ndarray, LabelScheme]:
    return volumes.organs((shape[0], shape[1], shape[2]), count), unnamed_scheme(range(1, count + 1))


def _quiet_scene() -> HeadlessScene:
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    return headless_scene()


def _volume(scene: Any, shape: list[int]) -> Any:
    return volume_from_image(scene, Image(np.zeros((1, *shape), np.uint8), _AFFINE), "ct")


def _by_segment(node: Any) -> list[tuple[np.ndarray, tuple[int, ...], int]]:
    """(voxels (k, j, i) of the segment's layer, the layer's extent, the segment's value in it) for each segment."""
    segmentation, arrays = node.GetSegmentation(), {}
    found = []
    for n in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(n)
        layer = segment.GetRepresentation("Binary labelmap")
        key = layer.GetAddressAsString("")
        if key not in arrays:
            shape = layer.GetDimensions()[::-1]
            arrays[key] = vtk_to_numpy(layer.GetPointData().GetScalars()).reshape(shape).copy()
        found.append((arrays[key], layer.GetExtent(), segment.GetLabelValue()))
    return found


def _equal(segments: list[tuple[np.ndarray, tuple[int, ...], int]], labels: np.ndarray, scheme: LabelScheme) -> bool:
    """Whether segment n holds exactly the voxels of the scheme's n-th label."""
    if len(segments) != len(scheme.values):
        return False
    rebuilt = np.zeros_like(labels)
    for (layer, extent, value), label in zip(segments, scheme.values, strict=True):
        box = tuple(slice(extent[2 * a], extent[2 * a + 1] + 1) for a in (2, 1, 0))
        np.copyto(rebuilt[box], label, where=layer == value)
    return bool(np.array_equal(rebuilt, labels))


def _let_go(scene: Any) -> None:
    """Take the voxels off all segments; else closing the scene looks through the shared layer once per segment."""
    for node in scene.GetNodesByClass("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        for n in range(segmentation.GetNumberOfSegments()):
            segmentation.GetNthSegment(n).RemoveAllRepresentations()

"""Labels into a segmentation node: MedAI's write-back beside Slicer's import, and surfaces beside Slicer's conversion.

    PYTHONPATH=MedAICore python Testing/benchmarks/write_back.py

Seconds are of the processor (all threads of this process), so that other work on the machine does not count, with the
wall clock in brackets; the best of three.
"""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable

import numpy as np
import slicer
import vtk

from medai.image import Image
from medai.labels import unnamed_scheme
from medai.mrml import create_surfaces, volume_from_image, write_segmentation
from medai.mrml.headless import headless_scene

FULL_SHAPE = (300, 512, 512)
SURFACE_SHAPE = (100, 256, 256)


def organs(shape: tuple[int, int, int], count: int) -> np.ndarray:
    """`count` ellipsoids on a lattice, values 1 to `count`, about a fifth of the volume, uint8."""
    side = int(np.ceil(count ** (1 / 3)))
    labels = np.zeros(shape, np.uint8)
    for value in range(1, count + 1):
        place = np.unravel_index(value - 1, (side, side, side))
        box = tuple(slice(n * p // side, n * (p + 1) // side) for n, p in zip(shape, place, strict=True))
        axes = [np.linspace(-1.15, 1.15, s.stop - s.start) ** 2 for s in box]
        labels[box][axes[0][:, None, None] + axes[1][:, None] + axes[2] < 1] = value
    return labels


def best(work: Callable[[], object], repeats: int = 3) -> tuple[float, float]:
    """(processor, wall) seconds of the fastest of some runs."""
    times = []
    for _ in range(repeats):
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(times)


def row(name: str, ours: tuple[float, float], peer: tuple[float, float]) -> str:
    return f"| {name} | {ours[0]:.2f} ({ours[1]:.2f}) | {peer[0]:.2f} ({peer[1]:.2f}) | {peer[0] / ours[0]:.0f}x |"


def compare_write_back(scene: object, count: int) -> list[str]:
    labels = organs(FULL_SHAPE, count)
    scheme = unnamed_scheme(range(1, count + 1))
    volume = volume_from_image(scene, Image(np.zeros((1, *FULL_SHAPE), np.uint8), np.diag([0.7, 0.7, 1, 1])), "ct")
    first = best(lambda: write_segmentation(scene, labels, scheme, volume, run_id="a"), 1)
    node = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    rerun = best(lambda: write_segmentation(scene, labels, scheme, volume, node, run_id="b"))
    label_volume = scene.AddNode(slicer.vtkMRMLLabelMapVolumeNode())
    label_volume.SetAndObserveImageData(image_of(labels))
    label_volume.SetSpacing(0.7, 0.7, 1)
    peer_node = scene.AddNode(slicer.vtkMRMLSegmentationNode())
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    peer = best(lambda: logic.ImportLabelmapToSegmentationNode(label_volume, peer_node), 1)
    for segmentation in (node.GetSegmentation(), peer_node.GetSegmentation()):
        for n in range(segmentation.GetNumberOfSegments()):
            segmentation.GetNthSegment(n).RemoveAllRepresentations()
    scene.Clear(False)
    return [row(f"write, {count} labels", first, peer), row(f"rerun, {count} labels", rerun, peer)]


def image_of(labels: np.ndarray) -> vtk.vtkImageData:
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(labels.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(labels.ravel(), deep=True))
    return image


def compare_surfaces(scene: object, count: int) -> list[str]:
    labels = organs(SURFACE_SHAPE, count)
    volume = volume_from_image(scene, Image(np.zeros((1, *SURFACE_SHAPE), np.uint8), np.eye(4)), "ct")
    result = write_segmentation(scene, labels, unnamed_scheme(range(1, count + 1)), volume, run_id="a")
    node = scene.GetNodeByID(result.segmentation_node_id)
    ours = best(lambda: create_surfaces(node), 1)
    node.RemoveClosedSurfaceRepresentation()
    peer = best(lambda: node.CreateClosedSurfaceRepresentation(), 1)
    scene.Clear(False)
    return [row(f"surfaces, {count} labels, {'x'.join(map(str, SURFACE_SHAPE[::-1]))}", ours, peer)]


def main() -> None:
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    print(f"{platform.processor() or platform.machine()}, volume {'x'.join(map(str, FULL_SHAPE[::-1]))}")
    print("| what | MedAI, s | Slicer, s | faster |\n|---|---|---|---|")
    with headless_scene() as host:
        for count in (5, 100):
            print("\n".join(compare_write_back(host.scene, count)), flush=True)
        for count in (5, 100):
            print("\n".join(compare_surfaces(host.scene, count)), flush=True)


if __name__ == "__main__":
    main()

"""A Slicer scene file (.mrb) with the images and their segmentation, made with Slicer's own libraries."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from medai.errors import EnvironmentFailure
from medai.image import Image
from medai.labels import LabelScheme


def check_scenes_possible() -> None:
    """EnvironmentFailure where Slicer's libraries are not installed."""
    if importlib.util.find_spec("slicer") is None:
        raise EnvironmentFailure(
            "Scene files (.mrb) and pictures need Slicer's libraries, which are not installed here.",
            "Install the package slicer-core, or give an output that ends with .seg.nrrd.",
        )


def write_scene(
    path: Path, images: Sequence[Image], label_map: Image, scheme: LabelScheme, run_id: str, surfaces: bool = False
) -> None:
    """Write a scene with one volume per image, and the label map as a segmentation on the first one's grid.

    Written whole or not at all; with `surfaces` the segments bring their closed surfaces along. Raises OutputError.
    """
    from medai.mrml import create_surfaces, save_scene_mrb, volume_from_image, write_segmentation
    from medai.mrml.headless import headless_scene

    with quiet_vtk(), headless_scene() as host:
        nodes = [volume_from_image(host.scene, image, image.name) for image in images]
        name = f"{images[0].name} segmentation".strip()
        result = write_segmentation(host.scene, label_map, scheme, nodes[0], run_id=run_id, name=name)
        if surfaces:
            create_surfaces(host.scene.GetNodeByID(result.segmentation_node_id))
        save_scene_mrb(host.scene, path)


@contextmanager
def quiet_vtk() -> Iterator[None]:
    """Keep VTK's own reports off the terminal, unless MedAI's are wanted in detail: the errors here say enough."""
    import vtk

    if logging.getLogger("medai").isEnabledFor(logging.DEBUG):
        yield
        return
    before = vtk.vtkLogger.GetCurrentVerbosityCutoff()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        vtk.vtkLogger.SetStderrVerbosity(before)

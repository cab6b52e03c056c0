"""A Slicer scene file (.mrb) with the images and their segmentation, made with Slicer's own libraries."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from medai.errors import EnvironmentFailure, OutputError
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
    from medai.imageio import atomic_output
    from medai.mrml import create_surfaces, volume_from_image, write_segmentation
    from medai.mrml.headless import headless_scene

    with headless_scene() as host, atomic_output(path) as temporary:
        nodes = [volume_from_image(host.scene, image, image.name) for image in images]
        result = write_segmentation(
            host.scene, label_map, scheme, nodes[0], run_id=run_id, name=f"{images[0].name} segmentation"
        )
        if surfaces:
            create_surfaces(host.scene.GetNodeByID(result.segmentation_node_id))
        # Slicer names the folder inside the bundle after the file, and refuses suffixes that it does not know.
        if not host.scene.WriteToMRB(str(temporary)):
            raise OutputError(f"The scene '{path}' was not written.", "Check the free space and the permissions.")

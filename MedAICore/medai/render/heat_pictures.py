"""A heat map over its image as a picture: slices through its hottest voxel, drawn by Slicer's own views off-screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from medai.errors import GeometryError
from medai.image import Affine, Image
from medai.mrml import new_map_data, write_map
from medai.mrml.headless import HeadlessScene, headless_scene
from medai.mrml.volumes import matrix_from_array
from medai.render.opengl import quiet_vtk, require_opengl
from medai.render.pictures import ORIENTATIONS, shown_volume, slice_tile, slice_view
from medai.render.png import tiled, write_png


def heat_map_picture(
    image: Image,
    heat_map: Image,
    path: str | Path,
    *,
    parent: Affine | None = None,
    point_ras: Sequence[float] | None = None,
    tile: int = 400,
    opacity: float = 0.5,
) -> Path:
    """A PNG of an axial, a coronal and a sagittal slice with the heat map (0..1) over them, and the axial one without.

    The slices go through `point_ras` (mm in the world), by default through the hottest voxel. `parent` is a linear
    parent transform (4x4, image RAS to world) that both lie under. Raises GeometryError where the map does not lie on
    the image's grid, EnvironmentFailure where there is no OpenGL, and OutputError.
    """
    if not heat_map.same_grid(image):
        raise GeometryError(
            f"The heat map {heat_map.shape} does not lie on the grid of '{image.name}' {image.shape}.",
            "Give the heat map that was made for this image.",
        )
    require_opengl()
    point = tuple(point_ras) if point_ras is not None else _hottest(heat_map, parent)
    with quiet_vtk(), headless_scene() as host:
        volume = shown_volume(host, image)
        _put_under(host, volume, parent)
        data, voxels = new_map_data(heat_map.shape)
        voxels[...] = heat_map.channel(0)
        heat = write_map(host.scene, data, volume, "heat map", kind="heat", key="picture")
        tiles = []
        for orientation, shown in [(name, True) for name in ORIENTATIONS] + [("Axial", False)]:
            view = slice_view(host, volume, orientation, tile, name=orientation if shown else "Plain")
            if shown:
                view.set_foreground_volume_id(heat.GetID())
                view.set_foreground_opacity(opacity)
            tiles.append(slice_tile(view, orientation, point, point, None))
    return write_png(path, tiled([tiles[:2], tiles[2:]]))


def _put_under(host: HeadlessScene, volume: Any, parent: Affine | None) -> None:
    if parent is not None:
        node = host.scene.AddNode(slicer.vtkMRMLLinearTransformNode())
        node.SetMatrixTransformToParent(matrix_from_array(parent))
        volume.SetAndObserveTransformNodeID(node.GetID())


def _hottest(heat_map: Image, parent: Affine | None) -> tuple[float, ...]:
    k, j, i = np.unravel_index(int(heat_map.channel(0).argmax()), heat_map.shape)
    matrix = heat_map.ijk_to_ras if parent is None else parent @ heat_map.ijk_to_ras
    return tuple(float(x) for x in (matrix @ np.array([i, j, k, 1.0]))[:3])

"""A segmentation as a picture: three slices through it, or its surfaces, drawn by Slicer's own views off-screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from trame_slicer.views import SliceView, ThreeDView
from trame_slicer.views.render_scheduler import NoScheduleRendering

from medai.errors import InputError
from medai.image import Array, Image
from medai.label_statistics import label_extents, label_statistics
from medai.labels import LabelScheme
from medai.mrml import create_surfaces, volume_from_image, write_segmentation
from medai.mrml.headless import HeadlessScene, headless_scene
from medai.render.annotations import add_direction_letters, add_text, legend_tile
from medai.render.opengl import quiet_vtk, require_opengl
from medai.render.png import Pixels, pixels_of, tiled, write_png

ORIENTATIONS = ("Axial", "Coronal", "Sagittal")

# Side that is looked from: (direction to the camera, direction up in the picture), RAS. From below, not from above, as
# radiologists see axial slices: the patient's left is then at the right of the picture.
_SIDES = {"front": ((0, 1, 0), (0, 0, 1)), "left": ((-1, 0, 0), (0, 0, 1)), "below": ((0, 0, -1), (0, 1, 0))}


def slice_picture(
    image: Image,
    label_map: Image,
    scheme: LabelScheme,
    path: str | Path,
    *,
    point_ras: Sequence[float] | None = None,
    title: str = "",
    tile: int = 400,
    field_of_view_mm: float | None = None,
) -> Path:
    """A PNG of an axial, a coronal and a sagittal slice with the labels, and a legend with their volumes.

    The slices go through `point_ras` (mm); by default through the middle of the largest label, on its own voxels. The
    left of the patient is at the right of the picture, as in Slicer and in radiology. `field_of_view_mm` zooms to a
    square of that size around the point, or around the middle of all labels where no point is given; by default each
    slice is shown whole. Raises EnvironmentFailure where there
    is no OpenGL, OutputError, and InputError where image and label map do not fit.
    """
    require_opengl()
    statistics = label_statistics(label_map, scheme, image)
    point = tuple(point_ras) if point_ras is not None else _middle_of_labels(label_map)
    center = point if point_ras is not None else _center_of_all(label_map)
    with quiet_vtk(), headless_scene() as host:
        volume = shown_volume(host, image)
        views = [slice_view(host, volume, name, tile) for name in ORIENTATIONS]
        # After the views have their image: what is added to a view first is drawn first, and the labels lie on top.
        result = write_segmentation(host.scene, label_map, scheme, volume, run_id="picture")
        display = host.scene.GetNodeByID(result.segmentation_node_id).GetDisplayNode()
        display.SetOpacity2DFill(0.3)
        display.SetOpacity2DOutline(1.0)
        display.SetSliceIntersectionThickness(2)
        tiles = [
            slice_tile(view, name, point, center, field_of_view_mm)
            for view, name in zip(views, ORIENTATIONS, strict=True)
        ]
    tiles.append(legend_tile(scheme, statistics, tile, title or image.name))
    return write_png(path, tiled([tiles[:2], tiles[2:]]))


def surface_picture(
    label_map: Image, scheme: LabelScheme, path: str | Path, *, title: str = "", tile: int = 400
) -> Path:
    """A PNG of the labels' surfaces from the front, the patient's left and below, and a legend with their volumes.

    Only the surfaces of the labels are drawn, never the image: a head's skin would show who it is. Raises
    EnvironmentFailure where there is no OpenGL, OutputError, and InputError where all labels are empty.
    """
    require_opengl()
    statistics = label_statistics(label_map, scheme)
    if not any(row.voxels for row in statistics):
        raise InputError("There is no surface to draw: every label is empty.", "Check the label map.")
    with quiet_vtk(), headless_scene() as host:
        volume = volume_from_image(host.scene, label_map)
        result = write_segmentation(host.scene, label_map, scheme, volume, run_id="picture")
        node = host.scene.GetNodeByID(result.segmentation_node_id)
        create_surfaces(node)
        display = node.GetDisplayNode()
        display.SetPreferredDisplayRepresentationName3D("Closed surface")
        display.SetVisibility3D(True)
        tiles = [_surface_tile(host, side, tile) for side in _SIDES]
    tiles.append(legend_tile(scheme, statistics, tile, title or label_map.name))
    return write_png(path, tiled([tiles[:2], tiles[2:]]))


def shown_volume(host: HeadlessScene, image: Image) -> Any:
    """The volume node of the image's first channel, with a grey range that fits it."""
    volume = volume_from_image(host.scene, image.with_array(image.array[:1]))
    low, high = _window(image.channel(0))
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(low, high)
    return volume


def _window(voxels: Array) -> tuple[float, float]:
    """Grey range of a picture: the 1st to the 99.5th percentile of what is not background (the most common corner)."""
    step = max(1, round((voxels.size / 2e6) ** (1 / 3)))  # a sample of about two million voxels is enough
    sample = voxels[::step, ::step, ::step].astype(np.float64).ravel()
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 1.0
    inside = sample[sample > sample.min()]
    low, high = np.percentile(inside if inside.size > 100 else sample, (1.0, 99.5))
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1.0)


def _middle_of_labels(label_map: Image) -> tuple[float, ...]:
    """A voxel of the largest label in RAS mm: the one nearest to the middle of that label, so that slices meet it."""
    extents = label_extents(label_map.channel(0))
    if not extents:
        index = np.array(label_map.shape)[::-1] // 2
    else:
        value = max(extents, key=lambda v: extents[v].voxels)
        box = extents[value].box
        inside = np.argwhere(label_map.channel(0)[box] == value)
        nearest = inside[np.linalg.norm((inside - inside.mean(axis=0)) * label_map.spacing_mm, axis=1).argmin()]
        index = (nearest + [s.start for s in box])[::-1]
    ras = label_map.ijk_to_ras @ np.array([*index, 1.0])
    return tuple(float(x) for x in ras[:3])


def slice_view(host: HeadlessScene, volume: Any, orientation: str, tile: int, name: str = "") -> SliceView:
    """A slice view with the volume in it, fitted; it draws only when told to. Two views of a scene need two names."""
    view = SliceView(host.scene, host.application_logic, name or orientation, NoScheduleRendering())
    view.render_window().SetSize(tile, tile)
    view.set_orientation(orientation)
    view.set_background_volume_id(volume.GetID())
    view.fit_view_to_content()
    return view


def _center_of_all(label_map: Image) -> tuple[float, ...]:
    """The middle of the box that holds all labels, RAS mm; of the image where every label is empty."""
    boxes = [extent.box for extent in label_extents(label_map.channel(0)).values()]
    sides = [(0, n) for n in label_map.shape] if not boxes else [
        (min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in range(3)
    ]  # fmt: skip
    k, j, i = ((start + stop - 1) / 2 for start, stop in sides)
    ras = label_map.ijk_to_ras @ np.array([i, j, k, 1.0])
    return tuple(float(x) for x in ras[:3])


def slice_tile(
    view: SliceView,
    orientation: str,
    point: Sequence[float],
    center: Sequence[float],
    field_of_view_mm: float | None,
) -> Pixels:
    """The slice through `point`; where it is zoomed, with `center` in the middle."""
    node = view.get_view_node()
    if field_of_view_mm is not None:
        node.SetFieldOfView(field_of_view_mm, field_of_view_mm, node.GetFieldOfView()[2])
        node.JumpSliceByCentering(*center)
    node.JumpSliceByOffsetting(*point)
    matrix = node.GetSliceToRAS()
    right, up = ([matrix.GetElement(row, column) for row in range(3)] for column in range(2))
    add_direction_letters(view.renderer(), right, up)
    add_text(view.renderer(), orientation, (0.03, 0.96), size=14)
    view.render()
    pixels = pixels_of(view.render_window())
    view.finalize()
    return pixels


def _surface_tile(host: HeadlessScene, side: str, tile: int) -> Pixels:
    """The surfaces from one side, without perspective, filling most of the tile."""
    view = ThreeDView(host.scene, host.application_logic, side, NoScheduleRendering())
    view.render_window().SetSize(tile, tile)
    node = view.get_view_node()
    node.SetBoxVisible(False)
    node.SetAxisLabelsVisible(False)
    view.render()
    renderer = view.renderer()
    bounds = np.array(renderer.ComputeVisiblePropBounds()).reshape(3, 2)
    center, size = bounds.mean(axis=1), bounds[:, 1] - bounds[:, 0]
    toward, up = (np.array(direction) for direction in _SIDES[side])
    right = np.cross(up, toward)
    camera = renderer.GetActiveCamera()
    camera.ParallelProjectionOn()
    camera.SetFocalPoint(*center)
    camera.SetPosition(*(center + 2 * np.linalg.norm(size) * toward))
    camera.SetViewUp(*up)
    camera.SetParallelScale(0.5 * max(size @ np.abs(right), size @ np.abs(up)) / 0.8)
    renderer.ResetCameraClippingRange()
    add_direction_letters(renderer, right.tolist(), up.tolist())
    add_text(renderer, f"From {'' if side == 'below' else 'the '}{side}", (0.03, 0.96), size=14)
    view.render()
    pixels = pixels_of(view.render_window())
    view.finalize()
    return pixels

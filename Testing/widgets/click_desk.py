"""A click session on a synthetic volume, with the worker's real click operations, for the tests of the Slicer side."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SHAPE = (26, 44, 48)
SPACING_IJK = (1.1, 0.9, 2.0)
# Balls in voxels (k, j, i), radius mm, intensity: two touch each other, one lies apart.
BALLS = {"left": ((12, 22, 14), 9.0, 150), "right": ((12, 22, 31), 9.0, 90), "low": ((20, 34, 40), 5.0, 210)}


def grid_matrix(left_handed: bool = False) -> np.ndarray:
    """ijk_to_ras of an oblique, anisotropic grid."""
    a, b, c, d = np.cos(0.4), np.sin(0.4), np.cos(0.2), np.sin(0.2)
    turn = np.array([[a, -b, 0], [b, a, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -d], [0, d, c]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn * SPACING_IJK
    if left_handed:
        matrix[:3, 0] *= -1
    matrix[:3, 3] = (-20.0, 13.0, 40.0)
    return matrix


def balls() -> np.ndarray:
    """The phantom's voxels, int16 (k, j, i), with noise."""
    k, j, i = np.indices(SHAPE)
    voxels = np.full(SHAPE, 30.0)
    for center, radius, value in BALLS.values():
        distance = np.sqrt(
            ((k - center[0]) * SPACING_IJK[2]) ** 2
            + ((j - center[1]) * SPACING_IJK[1]) ** 2
            + ((i - center[2]) * SPACING_IJK[0]) ** 2
        )
        voxels[distance < radius] = value
    return (voxels + np.random.default_rng(4).normal(0, 4, SHAPE)).astype(np.int16)


def add_phantom(name: str = "phantom", left_handed: bool = False) -> Any:
    """A volume node of the phantom."""
    import slicer

    from medai.image import Image
    from medai.mrml import volume_from_image

    return volume_from_image(slicer.mrmlScene, Image(balls()[None], grid_matrix(left_handed)), name)


def add_transform(kind: str) -> Any:
    """A transform node: linear, or a warp of a few mm; None for "none"."""
    import slicer
    import vtk
    from integration.mrml.scenes import corner_warp

    if kind == "none":
        return None
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", kind)
    if kind == "linear":
        transform = vtk.vtkTransform()
        transform.RotateWXYZ(33, 1, 2, 3)
        transform.Translate(7, -8, 9)
    else:
        transform = corner_warp(45.0, 4.0)
    node.SetAndObserveTransformToParent(transform)
    return node


def world_of(volume: Any, kji: Any) -> tuple[float, float, float]:
    """World coordinates of a voxel: with every parent transform of the volume."""
    import slicer
    import vtk

    from medai.mrml.volumes import volume_matrix

    own = (volume_matrix(volume) @ np.array([kji[2], kji[1], kji[0], 1.0]))[:3]
    between = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volume.GetParentTransformNode(), None, between)
    x, y, z = between.TransformPoint(own)
    return float(x), float(y), float(z)


def point(volume: Any, kji: Any, positive: bool = True) -> Any:
    """A click on a voxel."""
    from MedAISegLib.click_prompts import PlacedPrompt

    return PlacedPrompt("point", positive, (world_of(volume, kji),))


class ClickWorker:
    """The worker's click operations in this process: `lose` forgets all sessions, as a new worker would."""

    def __init__(self) -> None:
        from medai.worker.click_operations import ClickSessions
        from medai.worker.warm_models import WarmModels

        self.requests: list[str] = []
        self._sessions = ClickSessions()
        self._models = WarmModels(1000.0)
        self.before: Callable[[Any], None] | None = None

    def lose(self) -> None:
        """Forget the sessions."""
        self._sessions._sessions.clear()

    @property
    def session(self) -> Any:
        """The session that was used last."""
        return next(reversed(self._sessions._sessions.values()))

    def transport(self) -> Any:
        """A transport to it."""
        import medai
        from medai.client import InProcessTransport
        from medai.config.messages import PROTOCOL_VERSION, Hello, encode
        from medai.config.requests import Device

        hello = Hello(PROTOCOL_VERSION, medai.__version__, os.getpid(), ("click.open",), (Device("cpu", "cpu", "x"),))
        return InProcessTransport(self._run, encode(hello))

    def _run(self, request: Any, emit: Any, cancelled: Any, session: Any) -> None:
        from medai.worker.run import run_request

        self.requests.append(request.op)
        if self.before is not None:
            self.before(request)
        run_request(request, self._sessions.operations(), emit, cancelled, session, self._models)


class ClickDesk:
    """A person who clicks, with a client of their own."""

    def __init__(self, worker: Any = None, transport: Any = None) -> None:
        from medai.client import Client

        self.worker = worker or ClickWorker()
        self.client = Client(transport or self.worker.transport())
        self.messages: list[str] = []

    def session(self, volume: Any, target: Any = None, **settings: Any) -> Any:
        """A started session that has been opened."""
        import slicer

        from MedAISegLib.click_session import ClickSession, ClickSettings
        from MedAISegLib.click_target import SegmentTarget

        target = target or SegmentTarget(slicer.mrmlScene)
        session = ClickSession(
            self.client, slicer.mrmlScene, volume.GetID(), target, ClickSettings(**settings), self._changed
        )
        session.start()
        self.finish(session)
        return session

    def finish(self, session: Any, limit_s: float = 240.0) -> None:
        """Advance to the end of all jobs."""
        until = time.monotonic() + limit_s
        while session.advance():
            assert time.monotonic() < until, f"still {session.state}: {session.message}"

    def click(self, session: Any, placed: Any) -> None:
        """Place a prompt and wait for its answer."""
        session.add(placed)
        self.finish(session)

    def files(self) -> list[str]:
        """Array files that are left in the session folder."""
        return sorted(path.name for path in self.client.session.path.glob("*.raw"))

    def _changed(self, session: Any) -> None:
        self.messages.append(session.message)


def mask_of(session: Any, volume: Any) -> np.ndarray:
    """The session's segment on the volume's grid, as Slicer exports it, bool (k, j, i)."""
    return segment_mask(session.target.node, session.target.segmentId, volume)


def segment_mask(node: Any, segment_id: str, volume: Any) -> np.ndarray:
    """A segment on the volume's grid, bool (k, j, i), exported by Slicer."""
    import slicer

    return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume).astype(bool)


def layers(node: Any) -> dict[str, tuple]:
    """Each segment's value, and the extent and bytes of its layer."""
    from medai.mrml.layers import LABELMAP, layer_array, segment_ids

    found = {}
    for segment_id in segment_ids(node.GetSegmentation()):
        segment = node.GetSegmentation().GetSegment(segment_id)
        layer = segment.GetRepresentation(LABELMAP)
        voxels = layer_array(layer).tobytes() if layer is not None else b""
        found[segment_id] = (segment.GetLabelValue(), tuple(layer.GetExtent()) if voxels else (), voxels)
    return found


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two masks."""
    return 2.0 * float((a & b).sum()) / max(1, int(a.sum() + b.sum()))

"""Real MRML scenes, volumes and transforms for the tests of medai.mrml; skipped where slicer-core is not installed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")
pytest.importorskip("vtk", reason="vtk is not installed")

from integration.mrml.scenes import SHAPE, grid_matrix, scheme_of

from medai.image import Image
from medai.labels import LabelScheme
from medai.mrml import volume_from_image
from medai.mrml.headless import headless_scene


@pytest.fixture(scope="session")
def host():
    """A scene with its logics; one for all tests, since its colour tables take longer than most tests."""
    with headless_scene() as host:
        yield host


@pytest.fixture
def scene(host):
    """An empty scene."""
    yield host.scene
    for node in host.scene.GetNodesByClass("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        for n in range(segmentation.GetNumberOfSegments()):  # else each removal scans the layer that all share
            segmentation.GetNthSegment(n).RemoveAllRepresentations()
    host.scene.Clear(False)


@pytest.fixture(params=[False, True], ids=["right-handed", "left-handed"])
def volume(scene, request):
    """An oblique, anisotropic volume of noise."""
    voxels = np.random.default_rng(3).normal(100, 30, (1, *SHAPE)).astype(np.int16)
    return volume_from_image(scene, Image(voxels, grid_matrix(request.param)), "head")


@pytest.fixture
def noise_labels() -> np.ndarray:
    """Random values 0 to 4 (k, j, i): no voxel's neighbour tells its value, so any shift or flip shows."""
    return np.random.default_rng(5).integers(0, 5, SHAPE).astype(np.uint8)


@pytest.fixture
def scheme() -> LabelScheme:
    return scheme_of(1, 2, 3, 4)

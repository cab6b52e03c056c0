"""Scenes (.mrb) with volumes and segmentations made of real data, as people save them: for tests and demonstrations.

build_scenes("sarcoma", folder, 6)  # MR and PET of a patient on different grids, tumour segmented
python Testing/integration/training/scenes.py hippocampus FOLDER 10
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import slicer
import vtk

from medai.imageio import read_image, read_label_map
from medai.labels import Code, Label, LabelScheme, Terminology
from medai.mrml import save_scene_mrb, volume_from_image, write_segmentation
from medai.mrml.headless import headless_scene

Kind = Literal["hippocampus", "sarcoma", "cord"]
SHARED_DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
_ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
_TUMOUR = Terminology(
    Code("SCT", "49755003", "Morphologically Altered Structure"), Code("SCT", "108369006", "Neoplasm")
)
_CORD = Terminology(_ANATOMY, Code("SCT", "2748008", "Spinal cord"))


@dataclass(frozen=True)
class Source:
    """One patient: volumes by name with their modality, and the label map on the grid of the first."""

    patient: str
    volumes: tuple[tuple[str, str, Path], ...]
    labels: Path
    scheme: LabelScheme


def sources(kind: Kind, count: int, data: Path = SHARED_DATA) -> list[Source]:
    """The first `count` patients of a kind; fewer where the data has no more."""
    return [source for source, _ in zip(_sources(kind, data), range(count), strict=False)]


def _sources(kind: Kind, data: Path) -> Iterator[Source]:
    if kind == "hippocampus":
        scheme = LabelScheme(
            (Label(1, "Anterior hippocampus", (0.9, 0.4, 0.2)), Label(2, "Posterior hippocampus", (0.2, 0.6, 0.9)))
        )
        for image in sorted((data / "msd_hippocampus" / "images").glob("*.nii.gz")):
            labels = data / "msd_hippocampus" / "labels" / image.name
            yield Source(image.name.split(".")[0], (("T1", "MR", image),), labels, scheme)
    elif kind == "sarcoma":
        # Two readers named the tumour differently; its code says that it is the same.
        for number, folder in enumerate(sorted((data / "sts_mr_pet").glob("STS_*"))):
            scheme = LabelScheme((Label(1, ("GTV", "Tumour mass")[number % 2], (0.8, 0.1, 0.3), _TUMOUR),))
            volumes = ("T1", "MR", folder / "MR_T1_image.nii.gz"), ("PET", "PT", folder / "PET_image.nii.gz")
            yield Source(folder.name, volumes, folder / "MR_T1_mask.nii.gz", scheme)
    else:
        folder = data / "sct_cord"
        cord = LabelScheme((Label(1, "Spinal cord", (0.9, 0.8, 0.4), _CORD),))
        grey = LabelScheme((Label(1, "Grey matter", (0.5, 0.5, 0.6)),))
        for image, labels, scheme in (
            ("t2/t2", "t2/t2_seg-manual", cord),
            ("t2s/t2s", "t2s/t2s_seg", cord),
            ("t2s/t2s_uncropped", "t2s/t2s_uncropped_gmseg_manual", grey),  # nobody drew the cord here
        ):
            paths = folder / f"{image}.nii.gz", folder / f"{labels}.nii.gz"
            yield Source(f"cord {Path(image).name}", (("T2", "MR", paths[0]),), paths[1], scheme)


def build_scenes(kind: Kind, folder: Path, count: int, transforms: bool = True, data: Path = SHARED_DATA) -> list[Path]:
    """Write up to `count` scenes, one per patient; with `transforms` every second lies under a parent transform.

    Volumes and segmentation are in the subject hierarchy under their patient and study, with the series' modality.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, source in enumerate(sources(kind, count, data)):
        with headless_scene() as host:
            transform = linear_transform(host.scene, number) if transforms and number % 2 else None
            fill_scene(host.scene, source, transform)
            written.append(save_scene_mrb(host.scene, folder / f"{source.patient}.mrb"))
    return written


def fill_scene(scene: Any, source: Source, transform: Any = None) -> tuple[list[Any], Any]:
    """Add a patient's volumes and segmentation to a scene, under `transform`; gives the nodes."""
    volumes = []
    for name, _, path in source.volumes:
        volumes.append(volume_from_image(scene, read_image(path), name))
    label_map, _ = read_label_map(source.labels)
    first = read_image(source.volumes[0][2])
    result = write_segmentation(
        scene, first.with_array(label_map.array), source.scheme, volumes[0], run_id="reader", name="Segmentation"
    )
    segmentation = scene.GetNodeByID(result.segmentation_node_id)
    if transform is not None:
        for node in (*volumes, segmentation):
            node.SetAndObserveTransformNodeID(transform.GetID())
    put_under_patient(scene, source.patient, volumes, [m for _, m, _ in source.volumes], segmentation)
    return volumes, segmentation


def put_under_patient(
    scene: Any, patient: str, volumes: list[Any], modalities: list[str], segmentation: Any = None, patient_id: str = ""
) -> None:
    """Place nodes under a patient and a study of the subject hierarchy."""
    hierarchy = scene.GetSubjectHierarchyNode()
    item = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), patient)
    if patient_id:
        hierarchy.SetItemAttribute(item, "DICOM.PatientID", patient_id)
    study = hierarchy.CreateStudyItem(item, "study")
    for node in (*volumes, *([segmentation] if segmentation is not None else [])):
        hierarchy.SetItemParent(_item_of(hierarchy, study, node), study)
    for node, modality in zip(volumes, modalities, strict=True):
        hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(node), "DICOM.Modality", modality)


def _item_of(hierarchy: Any, parent: int, node: Any) -> int:
    return hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(parent, node)


def linear_transform(scene: Any, number: int = 1) -> Any:
    """A rotation and shift, as a registration gives, without scaling."""
    transform = vtk.vtkTransform()
    transform.Translate(12.0 + number, -7.5, 31.25)
    transform.RotateWXYZ(11.0 + number, 0.3, -0.5, 0.8)
    node = slicer.vtkMRMLTransformNode()
    node.SetName("registration")
    node.SetAndObserveTransformToParent(transform)
    return scene.AddNode(node)


def warp_transform(scene: Any, volume: Any) -> Any:
    """A smooth warp (thin-plate spline) of a few millimetres around a volume."""
    bounds = np.zeros(6)
    volume.GetRASBounds(bounds)
    low, high = bounds[::2], bounds[1::2]
    generator = np.random.default_rng(4)
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for corner in np.ndindex(3, 3, 3):
        point = low + (high - low) * np.array(corner) / 2
        source.InsertNextPoint(point)
        target.InsertNextPoint(point + generator.normal(0, 2.0, 3))
    transform = vtk.vtkThinPlateSplineTransform()
    transform.SetSourceLandmarks(source)
    transform.SetTargetLandmarks(target)
    transform.SetBasisToR()
    node = slicer.vtkMRMLTransformNode()
    node.SetName("warp")
    node.SetAndObserveTransformToParent(transform)
    return scene.AddNode(node)


if __name__ == "__main__":
    for path in build_scenes(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])):  # type: ignore[arg-type]
        print(path)

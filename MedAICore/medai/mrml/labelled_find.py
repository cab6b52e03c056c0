"""Finds which volumes and which segmentation of a scene belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medai.dataset_json import frame_titles
from medai.mrml.labelled_nodes import (
    ancestors_of,
    browsers,
    node_of,
    nodes_of,
    segmentations_in,
    segments_in,
    sequences_of,
    shown,
    subject_of,
    volumes_in,
)
from medai.mrml.labelled_table import LabelledCase
from medai.mrml.volumes import volume_matrix

# A volume belongs to a segmentation that names none if so much of the box around the segments lies in it.
_LEAST_OVERLAP = 0.5
_GEOMETRY_PARAMETER = "Reference image geometry"


def find_cases(scene: Any) -> list[LabelledCase]:
    """The labelled cases of the scene: a case per segmentation, and per frame of a segmentation sequence.

    A segmentation's volume is its reference geometry's; where it names none, the volume in which its segments lie (the
    same grid first, then the same patient). Further volumes of the same study (patient, or subject hierarchy folder)
    that overlap become channels, where every case has such volumes. The patient is that of the subject hierarchy, else
    the volume's name. A segmentation without a volume is listed too, for the check to report.
    """
    taken: set[str] = set()
    cases = [case for browser in browsers(scene) for case in _frames_of(scene, browser, taken)]
    singles = [node for node in segmentations_in(scene) if node.GetID() not in taken]
    # A volume that has a segmentation of its own is a case of its own, no channel of another.
    first = {node.GetID(): _volume_of(scene, node) for node in singles}
    leading = {volume.GetID() for volume in first.values() if volume is not None}
    for node in singles:
        volume = first[node.GetID()]
        if volume is None:
            cases.append(case_of(scene, (), node.GetID()))
            continue
        others = [v.GetID() for v in _companions(scene, volume, node) if v.GetID() not in leading]
        cases.append(_case_or_frame(scene, (volume.GetID(), *others), node.GetID()))
    return with_own_names(with_common_channels(cases))


def case_of(
    scene: Any,
    volume_ids: Sequence[str],
    segmentation_id: str,
    frame: int | None = None,
    name: str = "",
    patient: str = "",
    around: int = 0,
) -> LabelledCase:
    """A case of nodes that a person chose; name and patient are found where they are "".

    The IDs may be of sequence nodes, with the number of the `frame` in the first volume's sequence; `around` takes so
    many frames before and after it as channels, for a network that looks at motion. Raises InputError for nodes that
    the scene does not have.
    """
    if around:
        volume_ids = [volume_ids[0]] * (2 * around + 1)
    ids = volume_ids or (segmentation_id,)
    subjects = [subject_of(scene, shown(scene, node_of(scene, node_id))) for node_id in ids]
    title = node_of(scene, ids[0]).GetName() or "case"
    case = LabelledCase(
        name=name or (title if frame is None else f"{title} frame {frame + 1}"),
        patient=patient or subjects[0].key or title,
        volume_ids=tuple(volume_ids),
        segmentation_id=segmentation_id,
        frame=frame,
        around=around,
        channel_names=tuple(_channel_names(scene, volume_ids, around)),
        modalities=tuple(subject.modality for subject in subjects) if volume_ids else (),
        patient_name=patient or subjects[0].name or title,
    )
    segmentation = nodes_of(scene, case).segmentation
    return replace(case, segments=segments_in(segmentation) if segmentation is not None else ())


def _channel_names(scene: Any, volume_ids: Sequence[str], around: int) -> list[str]:
    names = [node_of(scene, node_id).GetName() or "image" for node_id in volume_ids]
    return frame_titles(names[0], around) if around else names


def _frames_of(scene: Any, browser: Any, taken: set[str]) -> Iterable[LabelledCase]:
    """A case for each frame of a segmentation sequence; its segmentation's proxy counts as done."""
    sequences = sequences_of(browser)
    volumes = [s for s in sequences if s.GetDataNodeClassName() == "vtkMRMLScalarVolumeNode"]
    segmentations = [s for s in sequences if s.GetDataNodeClassName() == "vtkMRMLSegmentationNode"]
    for sequence in segmentations:
        proxy = browser.GetProxyNode(sequence)
        if proxy is not None:
            taken.add(proxy.GetID())
        for frame in range(volumes[0].GetNumberOfDataNodes() if volumes else 0):
            if sequence.GetDataNodeAtValue(volumes[0].GetNthIndexValue(frame), True) is not None:
                yield case_of(scene, [v.GetID() for v in volumes], sequence.GetID(), frame)


def _case_or_frame(scene: Any, volume_ids: Sequence[str], segmentation_id: str) -> LabelledCase:
    """A case; where its volume is the current frame of a sequence, the case of that frame, which may move on."""
    for browser in browsers(scene):
        sequence = browser.GetSequenceNode(scene.GetNodeByID(volume_ids[0]))
        if sequence is not None and sequence.GetNumberOfDataNodes():
            frame = max(0, browser.GetSelectedItemNumber())
            ids = [(browser.GetSequenceNode(scene.GetNodeByID(v)) or scene.GetNodeByID(v)).GetID() for v in volume_ids]
            return case_of(scene, ids, segmentation_id, frame)
    return case_of(scene, volume_ids, segmentation_id)


def _volume_of(scene: Any, segmentation_node: Any) -> Any:
    named = segmentation_node.GetNodeReference(segmentation_node.GetReferenceImageGeometryReferenceRole())
    if named is not None:
        return named
    volumes = volumes_in(scene)
    same = [v for v in volumes if _is_reference_grid(segmentation_node, v)]
    inside = {v.GetID(): _share_inside(segmentation_node, v) for v in volumes}
    fitting = [v for v in volumes if inside[v.GetID()] >= _LEAST_OVERLAP]
    if not fitting:  # no voxels that could tell, or none inside any volume
        near = [v for v in same or volumes if _is_near(scene, v, segmentation_node)]
        return near[0] if len(near) == 1 else same[0] if len(same) == 1 else None
    subject = subject_of(scene, segmentation_node)

    def rank(volume: Any) -> tuple[bool, bool, bool, float, float]:
        patient = subject_of(scene, volume).key
        return (
            volume in same,
            bool(patient) and patient == subject.key,
            _is_near(scene, volume, segmentation_node),
            round(inside[volume.GetID()], 3),
            -_box_volume(_bounds(volume)),
        )

    return max(fitting, key=rank)


def _is_reference_grid(segmentation_node: Any, volume: Any) -> bool:
    """Whether the segmentation was drawn on a grid like the volume's (Slicer keeps it as text: matrix and extent)."""
    text = segmentation_node.GetSegmentation().GetConversionParameter(_GEOMETRY_PARAMETER) or ""
    numbers = [float(part) for part in text.split(";") if part.strip()]
    if len(numbers) != 22 or volume.GetImageData() is None:
        return False
    same_extent = tuple(int(n) for n in numbers[16:]) == volume.GetImageData().GetExtent()
    return same_extent and bool(np.allclose(np.reshape(numbers[:16], (4, 4)), volume_matrix(volume), atol=1e-4))


def _is_near(scene: Any, volume: Any, segmentation_node: Any) -> bool:
    """Whether both lie in one folder, study or patient of the subject hierarchy."""
    return bool(set(ancestors_of(scene, volume)) & set(ancestors_of(scene, segmentation_node)))


def _bounds(node: Any) -> np.ndarray[Any, Any]:
    """World bounds (3, 2) in mm, with all parent transforms."""
    bounds = [0.0, -1.0] * 3
    node.GetRASBounds(bounds)
    return np.reshape(bounds, (3, 2))


def _box_volume(bounds: np.ndarray[Any, Any]) -> float:
    return float(np.prod(np.maximum(bounds[:, 1] - bounds[:, 0], 0.0)))


def _share_inside(inner: Any, outer: Any) -> float:
    """The part of the box around one node that lies in the box around the other."""
    a, b = _bounds(inner), _bounds(outer)
    whole = _box_volume(a)
    both = np.stack([np.maximum(a[:, 0], b[:, 0]), np.minimum(a[:, 1], b[:, 1])], axis=1)
    return _box_volume(both) / whole if whole > 0 else 0.0


def _companions(scene: Any, volume: Any, segmentation_node: Any) -> list[Any]:
    """Other volumes of the same study, else patient, else folder, that overlap the volume."""
    groups = list(ancestors_of(scene, volume))
    subject = subject_of(scene, volume)
    group = subject.study_item or subject.patient_item or (groups[0] if groups else 0)
    if not group:
        return []
    return [
        other
        for other in volumes_in(scene)
        if other is not volume
        and group in ancestors_of(scene, other)
        and max(_share_inside(other, volume), _share_inside(volume, other)) >= _LEAST_OVERLAP
    ]


def with_common_channels(cases: Sequence[LabelledCase]) -> list[LabelledCase]:
    """The cases with those further channels only that all cases have, in one order.

    Channels of different cases are the same by modality, or by what their names have beyond the patient's; with
    neither, equal numbers of volumes are taken in the order of the scene.
    """
    whole = [case for case in cases if case.volume_ids]
    if not whole or any(case.around for case in whole) or all(len(case.volume_ids) == 1 for case in whole):
        return list(cases)
    common: set[str] = set.intersection(*(set(_channel_keys(case)[1:]) for case in whole))
    counts = {len(case.volume_ids) for case in whole}
    if not common and len(counts) == 1:
        return list(cases)
    return [_with_channels(case, sorted(common)) if case.volume_ids else case for case in cases]


def _channel_keys(case: LabelledCase) -> list[str]:
    """What kind of volume each channel is: its modality where that tells the channels apart, else words of its name."""
    if all(case.modalities) and len(set(case.modalities)) == len(case.modalities):
        return list(case.modalities)
    own = {*_words(case.patient_name), *_words(case.patient)}
    shared = set.intersection(*(_words(name) for name in case.channel_names))
    keys = [" ".join(sorted(_words(name) - own - shared)) for name in case.channel_names]
    return [key if keys.count(key) == 1 else f"{key} {n}" for n, key in enumerate(keys)]


def _words(name: str) -> set[str]:
    return set("".join(c if c.isalnum() else " " for c in name.casefold()).split())


def _with_channels(case: LabelledCase, keys: Sequence[str]) -> LabelledCase:
    own = _channel_keys(case)
    order = [0, *(own.index(key) for key in keys if own.index(key) != 0)]
    return replace(
        case,
        volume_ids=tuple(case.volume_ids[n] for n in order),
        channel_names=tuple(case.channel_names[n] for n in order),
        modalities=tuple(case.modalities[n] for n in order),
    )


def with_own_names(cases: Sequence[LabelledCase]) -> list[LabelledCase]:
    """The cases with names that differ, a number behind those that occur again."""
    counts = Counter(case.name for case in cases)
    seen: Counter[str] = Counter()
    named = []
    for case in cases:
        seen[case.name] += 1
        twice = counts[case.name] > 1
        named.append(replace(case, name=f"{case.name} ({seen[case.name]})") if twice else case)
    return named

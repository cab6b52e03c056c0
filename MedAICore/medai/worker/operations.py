"""The operations that this version's worker serves. Each imports what it needs when it runs: `hello` must not wait."""

from __future__ import annotations

import platform
import time
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from medai.config.requests import (
    Device,
    DeviceInfo,
    EvaluateArgs,
    EvaluateValue,
    LabelFound,
    ModelEntry,
    ModelsList,
    NoArgs,
    ProbabilityMap,
    SegmentArgs,
    SegmentValue,
    TotalFound,
    WarmModel,
    WorkerInfo,
)
from medai.errors import InputError
from medai.image import Image
from medai.label_statistics import label_statistics
from medai.labels import Label, LabelScheme, distinct_color
from medai.machine import MIB, process_memory_mb, processor_name, system_memory_mb
from medai.process_identity import ProcessIdentity
from medai.progress import Progress, check_cancelled
from medai.worker.classify_operations import classify
from medai.worker.click_operations import ClickSessions
from medai.worker.package_files import files_signature, locate, network_memory_mb
from medai.worker.run import Operation, Run

if TYPE_CHECKING:
    from medai.segment import SegmentResult


def device_info(args: NoArgs, run: Run) -> DeviceInfo:
    """What can compute here, best first, and the state of this worker. Loads torch, where it is installed."""
    try:
        import torch
    except ImportError:
        version, accelerators = None, []
    else:
        version, accelerators = str(torch.__version__), _accelerators(torch)
    cpu = Device("cpu", "cpu", processor_name(), *system_memory_mb())
    worker = WorkerInfo(
        ProcessIdentity.current().pid, process_memory_mb(), run.models.budget_mb, platform.python_version(), version
    )
    return DeviceInfo((*accelerators, cpu), worker, run.models.entries(), tuple(OPERATIONS_SERVED))  # type: ignore[arg-type]


def models_list(args: NoArgs, run: Run) -> ModelsList:
    """The installed model packages."""
    from medai.models import list_models

    return ModelsList(
        tuple(
            ModelEntry(p.card.id, p.card.version, p.card.title, p.card.task, str(p.root), p.source == "shipped")
            for p in list_models()
        )
    )


def segment(args: SegmentArgs, run: Run) -> SegmentValue:
    """Segment the images with a model that stays loaded."""
    from medai import segment as use_case
    from medai.inference import choose_device
    from medai.models import open_model
    from medai.segment.map_files import map_path

    root = locate(args.model)
    images = [run.take(ref) for ref in args.images]
    device = choose_device(args.config.device)

    def load() -> tuple[Any, WarmModel]:
        run.progress(Progress(0.0, "Loading the model"))
        package = open_model(root)
        model = use_case.load_model(package, device)
        return model, WarmModel(package.card.id, package.card.version, str(device), network_memory_mb(model))

    key: Hashable = (root, files_signature(root), str(device))
    warm = run.models.get(key, load)
    check_cancelled(run.cancelled)
    place = use_case.MapPlace(run.session.path, run.next_path)
    result = use_case.run(args.config, images, warm.model, run.progress, run.cancelled, place)
    started_s = time.perf_counter()
    label_map = run.put(result.label_map)
    seconds = {**result.seconds, "load_model": warm.seconds, "write": time.perf_counter() - started_s}
    return SegmentValue(
        label_map,
        tuple(result.scheme),
        warm.entry,
        seconds,
        result.peak_memory_mb,
        result.engine,
        result.precision,
        _statistics(result, images[0]),
        tuple(result.warnings),
        tuple(ProbabilityMap(value, run.written(image, map_path(image))) for value, image in result.probabilities),
        None if result.entropy is None else run.written(result.entropy, map_path(result.entropy)),
        tuple(TotalFound(v.name, v.voxels, v.volume_ml, v.usual_ml) for v in result.volumes if v.value is None),
        result.unlike,
    )


def evaluate(args: EvaluateArgs, run: Run) -> EvaluateValue:
    """Compare two label maps that lie on one grid."""
    from medai.evaluate import compare_label_maps, mean_of

    reference, prediction = run.take(args.reference), run.take(args.prediction)
    for image in (reference, prediction):
        if image.channels != 1 or image.array.dtype.kind not in "iu":
            raise InputError(
                f"'{image.name}' has {image.channels} channels of {image.array.dtype}.",
                "Give label maps: one channel of whole numbers.",
            )
    scheme = _scheme(args.labels)
    check_cancelled(run.cancelled)
    rows = compare_label_maps(reference, prediction, scheme, scheme, args.tolerance_mm)
    cases = [{"case": args.case, "labels": rows}]
    return EvaluateValue({"cases": cases, "mean": mean_of(cases), "tolerance_mm": args.tolerance_mm, "warnings": []})


OPERATIONS_SERVED: dict[str, Operation] = {
    "device.info": device_info,
    "models.list": models_list,
    "segment": segment,
    "classify": classify,
    "evaluate": evaluate,
    **ClickSessions().operations(),
}


def _statistics(result: SegmentResult, image: Image) -> tuple[LabelFound, ...]:
    """Size, place, intensity and quality of every label, counted here so that Slicer need not."""
    volumes = {row.value: row for row in result.volumes}
    found = []
    for entry in label_statistics(result.label_map, result.scheme, image, result.extents):
        extent, volume = result.extents.get(entry.value), volumes[entry.value]
        k, j, i = extent.box if extent else (slice(0, 0),) * 3
        found.append(
            LabelFound(
                entry.value,
                entry.name,
                entry.voxels,
                entry.volume_ml,
                entry.mean,
                entry.standard_deviation,
                (k.start, k.stop, j.start, j.stop, i.start, i.stop) if extent else None,
                volume.quality,
                volume.usual_ml,
            )
        )
    return tuple(found)


def _scheme(names: dict[str, str]) -> LabelScheme | None:
    """The scheme of a request's value -> name; None where it names nothing."""
    wrong = [value for value in names if not value.isdecimal()]
    if wrong:
        raise InputError(f"'{wrong[0]}' in labels is no label value.", "Give whole numbers, as text.")
    labels = (Label(int(value), name, distinct_color(n)) for n, (value, name) in enumerate(names.items()))
    return LabelScheme(tuple(labels)) if names else None


def _accelerators(torch: Any) -> list[Device]:
    devices = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            devices.append(Device(f"cuda:{index}", "cuda", torch.cuda.get_device_name(index), total / MIB, free / MIB))
    if torch.backends.mps.is_available():
        total = torch.mps.recommended_max_memory()
        free = total - torch.mps.driver_allocated_memory()
        devices.append(Device("mps", "mps", f"{processor_name()} (GPU)", total / MIB, free / MIB))
    return devices

"""``medai segment``."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medai.cli.console import Outcome, Session, execute
from medai.cli.maps import check_maps, write_maps
from medai.cli.options import (
    DebugOption,
    DeviceOption,
    JsonOption,
    LabelsOption,
    PrecisionChoice,
    RoiOption,
    parse_names,
    parse_roi,
)
from medai.cli.outputs import SEGMENTATION_SUFFIXES, check_output
from medai.cli.scene import check_scenes_possible, write_scene
from medai.cli.volumes import volumes_data, volumes_table, write_volumes
from medai.config.segment import Output, SegmentConfig
from medai.errors import InputError, MedAIError, ModelError

if TYPE_CHECKING:
    from rich.console import Console

    from medai.image import Image
    from medai.labels import LabelScheme
    from medai.models import ModelPackage
    from medai.segment import SegmentResult


@dataclass(frozen=True)
class _Task:
    inputs: tuple[Path, ...]
    model: str
    output: Path
    config: SegmentConfig
    picture: Path | None
    probabilities: Path | None
    entropy: Path | None
    volumes: Path | None


def segment(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT", help="The channels of one case, in the model's order.")
    ],
    model: Annotated[str, typer.Option("--model", help="A model's id, or the path of its folder or .medai file.")],
    output: Annotated[Path, typer.Option("--output", help="*.seg.nrrd, *.nii.gz, *.nrrd, *.mha or *.mrb.")],
    device: DeviceOption = "auto",
    precision: Annotated[PrecisionChoice, typer.Option("--precision", help="exact, or fast (larger steps).")] = (
        PrecisionChoice.EXACT
    ),
    tta: Annotated[bool, typer.Option("--tta", help="Average over mirrored copies: slower, a little better.")] = False,
    roi: RoiOption = None,
    labels: LabelsOption = None,
    keep_largest: Annotated[
        bool, typer.Option("--keep-largest", help="Of each label keep only the largest connected part.")
    ] = False,
    postprocessing: Annotated[
        bool,
        typer.Option(
            "--postprocessing/--no-postprocessing", help="Tidy up stray pieces and holes as the model's card says."
        ),
    ] = True,
    volumes: Annotated[
        Path | None,
        typer.Option("--volumes", metavar="FILE.csv", help="Write the table of structures: mL, voxels, quality."),
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option("--probabilities", metavar="FOLDER", help="Write each label's probability map here (.nii.gz)."),
    ] = None,
    entropy: Annotated[
        Path | None,
        typer.Option("--entropy", metavar="FILE", help="Write the map of the network's doubt: 0 certain, 1 none."),
    ] = None,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="PNG", help="A picture of three slices.")] = None,
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Segment one case. Several INPUTs are the channels of that case, in the model's order."""
    outputs: tuple[Output, ...] = (
        *(("probabilities",) if probabilities is not None else ()),
        *(("entropy",) if entropy is not None else ()),
    )
    config = SegmentConfig(
        device=device,
        precision=precision.value,
        tta=tta,
        roi=parse_roi(roi),
        labels=parse_names(labels),
        keep_largest=keep_largest,
        postprocessing=postprocessing,
        outputs=outputs,
    )
    task = _Task(tuple(inputs), model, output, config, picture, probabilities, entropy, volumes)
    return execute(lambda session: _segment(task, session), json_output, debug)


def _segment(task: _Task, session: Session) -> Outcome:
    _check_outputs(task)
    started_s = time.perf_counter()
    package = _open_fitting_model(task)
    opened_s = time.perf_counter() - started_s
    images = _read_images(task.inputs)
    from medai import segment as use_case  # torch comes with it: only once the files are known to be good

    started_s = time.perf_counter()
    loaded = use_case.load_model(package, task.config.device)
    load_model_s = opened_s + time.perf_counter() - started_s
    with session.progress() as progress:
        # Maps pass through files beside the output: the temporary folder of many systems is small, or in memory.
        place = use_case.MapPlace(task.output.resolve().parent)
        result = use_case.run(task.config, images, loaded, progress, session.cancelled, place)
    for warning in result.warnings:
        session.warn(warning)
    started_s = time.perf_counter()
    write_result(task.output, images, result.label_map, result.scheme)
    maps = write_maps(task.probabilities, task.entropy, result)
    seconds = {**result.seconds, "load_model": load_model_s, "write": time.perf_counter() - started_s}
    if task.volumes is not None:
        write_volumes(task.volumes, result.volumes)
    if task.picture is not None:
        _draw(task.picture, images[0], result, session)
    return _outcome(task, result, maps, seconds, session)


def _check_outputs(task: _Task) -> None:
    check_output(task.output, SEGMENTATION_SUFFIXES, task.inputs)
    check_maps(task.probabilities, task.entropy, (*task.inputs, task.output))
    if task.output.name.lower().endswith(".mrb"):
        check_scenes_possible()
    if task.volumes is not None:
        check_output(task.volumes, (".csv",), (*task.inputs, task.output))
    if task.picture is not None:
        check_output(task.picture, (".png",), task.inputs)
        check_scenes_possible()


def _open_fitting_model(task: _Task) -> ModelPackage:
    """The model, checked for what can be checked before any image is read."""
    from medai.models import open_model

    package = open_model(task.model)
    if package.card.task != "segment":
        raise ModelError(f"Model '{package.card.id}' is for '{package.card.task}'.", "Give a segmentation model.")
    wanted = [spec.name for spec in package.card.inputs]
    if len(wanted) != len(task.inputs):
        raise InputError(
            f"Model '{package.card.id}' takes {len(wanted)} input(s) ({', '.join(wanted)}), got {len(task.inputs)}: "
            f"{', '.join(str(path) for path in task.inputs)}.",
            "Give one file per channel, in this order.",
        )
    package.card.label_scheme().subset(task.config.labels)
    return package


def _read_images(paths: tuple[Path, ...]) -> list[Image]:
    from medai.imageio import read_image

    return [read_image(path) for path in paths]


def write_result(output: Path, images: list[Image], label_map: Image, scheme: LabelScheme) -> None:
    """Write a label map by the output's suffix: a scene for .mrb, else a segmentation or label map file."""
    from medai.imageio import write_label_map

    if output.name.lower().endswith(".mrb"):
        write_scene(output, images, label_map, scheme, run_id=uuid.uuid4().hex[:12])
    else:
        write_label_map(output, label_map, scheme)


def _draw(picture: Path, image: Image, result: SegmentResult, session: Session) -> None:
    """Draw the picture; where that fails the segmentation stays, and the person is told why there is no picture."""
    try:
        from medai.render import slice_picture

        slice_picture(image, result.label_map, result.scheme, picture)
    except MedAIError as error:
        session.warn(f"The picture '{picture}' was not drawn: {error}")
    except ImportError as error:
        session.warn(f"The picture '{picture}' was not drawn: {error}. Install the package trame-slicer.")


def _outcome(
    task: _Task, result: SegmentResult, maps: dict[str, Any], seconds: dict[str, float], session: Session
) -> Outcome:
    data: dict[str, Any] = {
        "output": str(task.output),
        **maps,
        **volumes_data(result.volumes),
        "unlike": result.unlike,
        "seconds": {
            name: round(seconds.get(name, 0.0), 4)
            for name in ("load_model", "preprocess", "inference", "postprocess", "write")
        },
        "peak_memory_mb": result.peak_memory_mb,
        "engine": result.engine,
        "precision": result.precision,
        "warnings": session.warnings,
    }

    def show(console: Console) -> None:
        console.print(volumes_table(result.volumes, title=str(task.output)))
        times = ", ".join(f"{name} {value:.1f} s" for name, value in data["seconds"].items())
        console.print(f"{times}; engine {result.engine}, {result.precision}")

    return Outcome(data, show)

"""``medai classify``."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medai.cli.console import Outcome, Session, execute
from medai.cli.options import DebugOption, DeviceOption, JsonOption, parse_roi
from medai.cli.outputs import check_output
from medai.config.classify import ClassifyConfig, ExplainMethod
from medai.errors import InputError, ModelError
from medai.image import Roi

if TYPE_CHECKING:
    from rich.console import Console

    from medai.classify import ClassifiedItem, ClassifyResult, LoadedClassifier
    from medai.models import ModelPackage


class ExplainChoice(StrEnum):
    """Values of ``--explain``."""

    GRADCAM = "gradcam"
    GRADCAMPP = "gradcampp"
    OCCLUSION = "occlusion"


@dataclass(frozen=True)
class _Task:
    inputs: tuple[Path, ...]
    model: str
    rois: tuple[Roi, ...]
    segments: Path | None
    heatmap: Path | None
    config: ClassifyConfig


def classify(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT", help="Images, one result each; for a model of several channels those of one case."
        ),
    ],
    model: Annotated[str, typer.Option("--model", help="A model's id, or the path of its folder or .medai file.")],
    roi: Annotated[
        list[str] | None,
        typer.Option("--roi", metavar="R0,R1,A0,A1,S0,S1", help="Only this box, RAS mm; may be given several times."),
    ] = None,
    segments: Annotated[
        Path | None, typer.Option("--segments", metavar="SEG", help="Classify each segment of this segmentation.")
    ] = None,
    heatmap: Annotated[
        Path | None, typer.Option("--heatmap", metavar="FILE", help="Write what spoke for the class, 0 to 1.")
    ] = None,
    explain: Annotated[
        ExplainChoice, typer.Option("--explain", help="How the heat map is made.")
    ] = ExplainChoice.GRADCAM,
    of_class: Annotated[
        str, typer.Option("--class", help="The class that the heat map explains; the predicted one if not given.")
    ] = "",
    tta: Annotated[bool, typer.Option("--tta", help="Average over shifted copies: slower, a little steadier.")] = False,
    device: DeviceOption = "auto",
    json_output: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Say what an image, a region of it, or each segment shows, how sure that is, and whether the image is unusual."""
    boxes = tuple(box for text in roi or [] if (box := parse_roi(text)) is not None)
    if boxes and segments is not None:
        raise typer.BadParameter("give --roi or --segments, not both.")
    method: ExplainMethod = ""
    if heatmap is not None:
        method = explain.value
    config = ClassifyConfig(device=device, tta=tta, explain=method, explain_class=of_class)
    task = _Task(tuple(inputs), model, boxes, segments, heatmap, config)
    return execute(lambda session: _classify(task, session), json_output, debug)


def _classify(task: _Task, session: Session) -> Outcome:
    from medai.imageio.suffixes import WRITABLE

    if task.heatmap is not None:
        check_output(task.heatmap, WRITABLE, task.inputs)
    started_s = time.perf_counter()
    package = _open_model(task)
    from medai import classify as use_case  # torch comes with it: only once the request is known to be good

    loaded = use_case.load_model(package, task.config.device)
    load_model_s = time.perf_counter() - started_s
    cases = _cases(task, loaded)
    results = [_run_case(task, case, loaded, session) for case in cases]
    if task.heatmap is not None:
        from medai.imageio import write_image

        image = results[0].heat_map
        assert image is not None  # --heatmap sets config.explain
        write_image(task.heatmap, image)
    for warning in dict.fromkeys(note for result in results for note in result.warnings):
        session.warn(warning)
    return _outcome(task, package, list(zip(cases, results, strict=True)), load_model_s, session)


def _open_model(task: _Task) -> ModelPackage:
    from medai.models import open_model

    package = open_model(task.model)
    if package.card.task != "classify":
        raise ModelError(f"Model '{package.card.id}' is for '{package.card.task}'.", "Give a classification model.")
    return package


def _cases(task: _Task, model: LoadedClassifier) -> list[tuple[Path, ...]]:
    """The files of each case: one by one, or, where the model takes several channels, all together."""
    channels = max(model.image_inputs, 1)
    if channels == 1:
        cases: list[tuple[Path, ...]] = [(path,) for path in task.inputs]
    elif len(task.inputs) == channels:
        cases = [task.inputs]
    else:
        raise InputError(
            f"Model '{model.card.id}' takes {channels} images per case, got {len(task.inputs)}.",
            "Give the channels of one case, in the model's order.",
        )
    if len(cases) > 1 and (task.heatmap is not None or task.segments is not None or task.rois):
        raise InputError(
            f"--heatmap, --segments and --roi belong to one image, and {len(cases)} were given.", "Give one image."
        )
    return cases


def _run_case(task: _Task, case: tuple[Path, ...], model: LoadedClassifier, session: Session) -> ClassifyResult:
    from medai import classify as use_case
    from medai.imageio import read_label_map
    from medai.imageio.pictures import read_image_or_picture

    images = [read_image_or_picture(path) for path in case]
    label_map, labels = read_label_map(task.segments) if task.segments is not None else (None, None)
    with session.progress() as progress:
        return use_case.run(
            task.config, images, model, task.rois, label_map, labels, progress=progress, cancelled=session.cancelled
        )


def _outcome(
    task: _Task,
    package: ModelPackage,
    done: list[tuple[tuple[Path, ...], ClassifyResult]],
    load_model_s: float,
    session: Session,
) -> Outcome:
    rows = [
        {"input": [str(path) for path in case] if len(case) > 1 else str(case[0]), **_row(item)}
        for case, result in done
        for item in result.items
    ]
    seconds = {name: sum(result.seconds[name] for _, result in done) for name in ("preprocess", "inference", "explain")}
    data: dict[str, Any] = {
        "model": package.card.id,
        "items": rows,
        "seconds": {"load_model": round(load_model_s, 4), **{name: round(s, 4) for name, s in seconds.items()}},
        "warnings": session.warnings,
    }
    if len(rows) == 1:
        # One thing was asked about: its answer stands at the top.
        data = {**{key: rows[0][key] for key in ("classes", "predicted", "anomaly")}, **data}
    if task.heatmap is not None:
        data["heatmap"] = str(task.heatmap)
    return Outcome(data, lambda console: _show(rows, package, console))


def _row(item: ClassifiedItem) -> dict[str, Any]:
    anomaly = None
    if item.anomaly is not None:
        anomaly = {"score": item.anomaly.score, "threshold": item.anomaly.threshold, "flag": item.anomaly.flag}
    return {
        "name": item.name,
        "value": item.value,
        "classes": item.probabilities,
        "predicted": item.predicted,
        "anomaly": anomaly,
        "warnings": list(item.warnings),
    }


def _show(rows: list[dict[str, Any]], package: ModelPackage, console: Console) -> None:
    from rich.table import Table

    names = [spec.name for spec in package.card.classes]
    table = Table("name", "predicted", *names, "unusual", title=package.card.title)
    for row in rows:
        anomaly = row["anomaly"]
        unusual = "-" if anomaly is None else f"{'yes' if anomaly['flag'] else 'no'} ({anomaly['score']:.2f})"
        chances = (f"{row['classes'][name]:.3f}" for name in names)
        table.add_row(_plain(row["name"]), row["predicted"], *chances, unusual)
    console.print(table)


def _plain(text: str) -> str:
    """A name without what rich would take for markup."""
    return re.sub(r"\[", r"\\[", text)

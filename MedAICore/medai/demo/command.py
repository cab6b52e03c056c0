"""The demo's steps and what it prints: the structures of the whole brain, then the hippocampi in their two parts."""

from __future__ import annotations

import argparse
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from medai.cli.console import Outcome, Session, execute
from medai.cli.outputs import check_folder
from medai.cli.scene import write_scene
from medai.cli.volumes import volumes_table, write_volumes
from medai.config.segment import SegmentConfig
from medai.demo.brain import brain_picture, installed_brain_model
from medai.demo.hippocampi import Hippocampi, segment_hippocampi, volume_notes
from medai.demo.locate import identity_match, match_template
from medai.demo.template import TEMPLATE_NAME, load_template
from medai.errors import InputError, MedAIError, OutputError
from medai.image import Image
from medai.label_statistics import LabelStatistics, label_statistics

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from medai.registration import AffineMatch
    from medai.segment import LoadedModel, SegmentResult, StructureVolume

MODEL_ID = "hippocampus-mr"
_TEMPLATE_NOTE = (
    "This head is the MNI152 template, an average of the T1 MR of 152 people, not a person. It is larger than most "
    "heads, and so are its hippocampi."
)
_NOT_A_DEVICE = "A demonstration, not a medical device: do not base a diagnosis on it."
_FIELD_OF_VIEW_MM = 140.0  # both hippocampi and what lies around them
_THICK_MM = 3.5
# A real head that lies beside the checkouts of this project's developers; elsewhere it is passed over.
_REAL_HEAD = Path(__file__).resolve().parents[4] / "shared/data/weights/brainchop_mit/public/t1_crop.nii.gz"


@dataclass
class Report:
    """What one head gave: volumes of brain structures and of the hippocampi, seconds per step, notes, and files."""

    head: str
    structures: tuple[StructureVolume, ...] = ()
    rows: list[LabelStatistics] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code: 0, or 1 where it failed (2 for wrong usage, by argparse)."""
    parser = argparse.ArgumentParser(
        prog="python -m medai.demo", description="Segment brain and hippocampi of a head MR."
    )
    parser.add_argument("--input", type=Path, help="an MR of a head; the MNI152 template by default")
    parser.add_argument("--output", type=Path, default=Path("demo"), help="the folder to write to (default: demo)")
    parser.add_argument("--model", default=MODEL_ID, help="id or path of the hippocampi's model (default: %(default)s)")
    parser.add_argument(
        "--brain-model", help="id or path of the brain's model (default: brain-any, where it is installed)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args(arguments)
    return execute(lambda session: _demo(options, session), json_output=False, debug=options.debug)


def _demo(options: argparse.Namespace, session: Session) -> Outcome:
    from medai import segment
    from medai.models import open_model

    started_s = time.perf_counter()
    _check_folder_can_be_made(options.output)
    image = _read_head(options.input) if options.input is not None else None
    package = open_model(options.model)
    brain = open_model(options.brain_model) if options.brain_model else installed_brain_model()
    demo = _Demo(
        segment.load_model(package, options.device),
        None if brain is None else segment.load_model(brain, options.device),
        options.device,
        load_template(),
        session,
    )
    reports = []
    if image is not None:
        reports.append(demo.head(image, str(options.input), options.output))
    else:
        reports.append(demo.template_head(options.output))
        if _REAL_HEAD.is_file():
            reports.append(demo.head(_read_head(_REAL_HEAD), str(_REAL_HEAD.name), options.output / "real_head"))
    minutes = (time.perf_counter() - started_s) / 60
    return Outcome({}, lambda console: _show(reports, minutes, console))


@dataclass
class _Demo:
    model: LoadedModel
    brain_model: LoadedModel | None
    device: str
    template: Image
    session: Session

    def template_head(self, folder: Path) -> Report:
        """The default: the template itself, whose hippocampi need no search."""
        report = Report(TEMPLATE_NAME, notes=[_TEMPLATE_NOTE])
        self._write_brain(self.template, self._segment_brain(self.template, report), folder, report)
        self._segment_hippocampi(self.template, identity_match(), folder, report)
        return report

    def head(self, image: Image, name: str, folder: Path) -> Report:
        """A person's head: the hippocampi are located first.

        InputError where that fails, unless a brain was found: then a note says so, as with a head that is not a T1.
        """
        from medai.imageio import finite_or_filled

        image, warnings = finite_or_filled(image)
        report = Report(name, notes=warnings)
        brain = self._segment_brain(image, report)
        started_s = time.perf_counter()
        match = None
        try:
            with self.session.progress() as progress:
                match = match_template(self.template, image, progress, self.session.cancelled)
        except InputError as error:
            if brain is None or brain.unlike:
                raise
            report.notes.append(f"{error.message} {error.remedy}")
        report.seconds["locate"] = time.perf_counter() - started_s
        self._write_brain(image, brain, folder, report)
        if match is not None:
            if max(image.spacing_mm) > _THICK_MM:
                report.notes.append(
                    f"Voxels of {max(image.spacing_mm):.1f} mm: the model of the hippocampi was trained on 1 mm, look "
                    "closely."
                )
            self._segment_hippocampi(image, match, folder, report)
        return report

    def _segment_brain(self, image: Image, report: Report) -> SegmentResult | None:
        if self.brain_model is None:
            return None
        from medai import segment

        started_s = time.perf_counter()
        with self.session.progress() as progress:
            config = SegmentConfig(device=self.device)
            result = segment.run(config, [image], self.brain_model, progress, self.session.cancelled)
        report.seconds["brain"] = time.perf_counter() - started_s
        report.structures = result.volumes
        report.notes += result.warnings
        return result

    def _write_brain(self, image: Image, result: SegmentResult | None, folder: Path, report: Report) -> None:
        if result is None:
            return
        from medai.imageio import write_label_map

        _make_folder(folder)
        started_s = time.perf_counter()
        segmentation, scene, table = (folder / name for name in ("brain.seg.nrrd", "brain.mrb", "brain-volumes.csv"))
        write_label_map(segmentation, result.label_map, result.scheme)
        write_scene(scene, [image], result.label_map, result.scheme, run_id=uuid.uuid4().hex[:12])
        write_volumes(table, result.volumes)
        report.files += [segmentation, scene, table]
        report.seconds["write brain"] = time.perf_counter() - started_s
        try:
            report.files.append(brain_picture(image, result, folder / "brain.png"))
        except (MedAIError, ImportError) as error:
            report.notes.append(f"No picture of the brain: {error}")

    def _segment_hippocampi(self, image: Image, match: AffineMatch, folder: Path, report: Report) -> None:
        started_s = time.perf_counter()
        with self.session.progress() as progress:
            found = segment_hippocampi(
                image,
                match,
                self.model,
                SegmentConfig(device=self.device, keep_largest=True),
                progress,
                self.session.cancelled,
            )
        report.seconds["hippocampi"] = time.perf_counter() - started_s
        report.rows = label_statistics(found.label_map, found.scheme)
        report.notes += [*found.warnings, *volume_notes([(row.name, row.volume_ml) for row in report.rows])]
        self._write(image, found, folder, report)

    def _write(self, image: Image, found: Hippocampi, folder: Path, report: Report) -> None:
        from medai.imageio import write_label_map

        _make_folder(folder)
        started_s = time.perf_counter()
        segmentation, scene = folder / "hippocampus.seg.nrrd", folder / "hippocampus.mrb"
        write_label_map(segmentation, found.label_map, found.scheme)
        write_scene(scene, [image], found.label_map, found.scheme, run_id=uuid.uuid4().hex[:12], surfaces=True)
        report.files += [segmentation, scene]
        report.seconds["write"] = time.perf_counter() - started_s
        started_s = time.perf_counter()
        _draw(image, found, folder, report)
        report.seconds["pictures"] = time.perf_counter() - started_s


def _draw(image: Image, found: Hippocampi, folder: Path, report: Report) -> None:
    """Draw both pictures; where this machine cannot draw, say so: the segmentation is what counts."""
    slices, surfaces = folder / "slices.png", folder / "surfaces.png"
    try:
        from medai.render import slice_picture, surface_picture

        slice_picture(image, found.label_map, found.scheme, slices, field_of_view_mm=_FIELD_OF_VIEW_MM)
        surface_picture(found.label_map, found.scheme, surfaces, title=image.name)
    except (MedAIError, ImportError) as error:
        report.notes.append(f"No pictures: {error}")
        return
    report.files += [slices, surfaces]


def _read_head(path: Path) -> Image:
    from medai.imageio import check_segmentable, read_image

    image = read_image(path)
    check_segmentable(image)
    return image


def _check_folder_can_be_made(folder: Path) -> None:
    """OutputError where the folder, or the first of its parents that exists, refuses new files."""
    there = next((parent for parent in (folder, *folder.absolute().parents) if parent.exists()), folder)
    check_folder(there, folder)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder '{folder}' cannot be made: {error.strerror}.", "Choose another one.") from error


def _show(reports: list[Report], minutes: float, console: Console) -> None:
    for report in reports:
        if report.structures:
            console.print(volumes_table(report.structures, title=report.head))
        if report.rows:
            console.print(_hippocampi_table(report))
        console.print(", ".join(f"{name} {value:.1f} s" for name, value in report.seconds.items()))
        for note in report.notes:
            console.print(f"Note: {note}", highlight=False)
        for file in report.files:
            console.print(f"  {file}", highlight=False)
    console.print(f"{_NOT_A_DEVICE} Done in {minutes:.1f} minutes.", highlight=False)


def _hippocampi_table(report: Report) -> Table:
    from rich.table import Table

    table = Table("structure", "voxels", "volume (mL)", title=f"{report.head}: hippocampi")
    for row in report.rows:
        table.add_row(row.name, f"{row.voxels:,}", f"{row.volume_ml:.2f}")
    for side in ("left", "right"):
        parts = [row for row in report.rows if row.name.lower().startswith(side)]
        table.add_row(
            f"{side.capitalize()} hippocampus, whole",
            f"{sum(row.voxels for row in parts):,}",
            f"{sum(row.volume_ml for row in parts):.2f}",
            style="bold",
        )
    return table

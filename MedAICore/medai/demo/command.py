"""The demo's steps and what it prints."""

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
from medai.config.segment import SegmentConfig
from medai.demo.hippocampi import Hippocampi, segment_hippocampi, volume_notes
from medai.demo.locate import identity_match, match_template
from medai.demo.template import TEMPLATE_NAME, load_template
from medai.errors import MedAIError, OutputError
from medai.image import Image
from medai.label_statistics import LabelStatistics, label_statistics

if TYPE_CHECKING:
    from rich.console import Console

    from medai.registration import AffineMatch
    from medai.segment import LoadedModel

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
    """What one head gave: label volumes, seconds per step, notes for a person, and the files that were written."""

    head: str
    rows: list[LabelStatistics] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code: 0, or 1 where it failed (2 for wrong usage, by argparse)."""
    parser = argparse.ArgumentParser(prog="python -m medai.demo", description="Segment both hippocampi of a head MR.")
    parser.add_argument("--input", type=Path, help="a T1 MR of a head; the MNI152 template by default")
    parser.add_argument("--output", type=Path, default=Path("demo"), help="the folder to write to (default: demo)")
    parser.add_argument("--model", default=MODEL_ID, help="a model's id or path (default: %(default)s)")
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
    model = segment.load_model(package, options.device)
    config = SegmentConfig(device=options.device, keep_largest=True)
    demo = _Demo(model, config, load_template(), session)
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
    config: SegmentConfig
    template: Image
    session: Session

    def template_head(self, folder: Path) -> Report:
        """The default: the template itself, whose hippocampi need no search."""
        report = Report(TEMPLATE_NAME, notes=[_TEMPLATE_NOTE])
        self._segment(self.template, identity_match(), folder, report)
        return report

    def head(self, image: Image, name: str, folder: Path) -> Report:
        """A person's head: located first."""
        from medai.imageio import finite_or_filled

        image, warnings = finite_or_filled(image)
        report = Report(name, notes=warnings)
        if max(image.spacing_mm) > _THICK_MM:
            report.notes.append(
                f"Voxels of {max(image.spacing_mm):.1f} mm: the model was trained on 1 mm, look closely."
            )
        started_s = time.perf_counter()
        with self.session.progress() as progress:
            match = match_template(self.template, image, progress, self.session.cancelled)
        report.seconds["locate"] = time.perf_counter() - started_s
        self._segment(image, match, folder, report)
        return report

    def _segment(self, image: Image, match: AffineMatch, folder: Path, report: Report) -> None:
        started_s = time.perf_counter()
        with self.session.progress() as progress:
            found = segment_hippocampi(
                image,
                match,
                self.model,
                self.config,
                progress,
                self.session.cancelled,
            )
        report.seconds["segment"] = time.perf_counter() - started_s
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
    from rich.table import Table

    for report in reports:
        table = Table("structure", "voxels", "volume (mL)", title=report.head)
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
        console.print(table)
        console.print(", ".join(f"{name} {value:.1f} s" for name, value in report.seconds.items()))
        for note in report.notes:
            console.print(f"Note: {note}", highlight=False)
        for file in report.files:
            console.print(f"  {file}", highlight=False)
    console.print(f"{_NOT_A_DEVICE} Done in {minutes:.1f} minutes.", highlight=False)

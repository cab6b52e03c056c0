"""The brain model: label maps that were held out, copies of one head, MNI152, and what a whole head costs.

python -m benchmarks --only brain                             all of it, with the shipped model
python -m benchmarks.brain held-out --contrasts 2 --maps 1    a part, e.g. while it trains: --model now.medai
python -m benchmarks.brain copies --head head.nii.gz          must agree: rotated, flipped, cropped, ... copies
python -m benchmarks.brain mni                                grey and white matter, both sides
python -m benchmarks.brain cost --head head.nii.gz            seconds and memory, exact and fast

There is no peer to measure beside: no other package of this kind is installed here. Everything is drawn from seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import REPOSITORY, run_piece
from benchmarks.machine import Conditions
from benchmarks.report import Section, Table
from benchmarks.settings import Settings

KEY = "brain"
MODEL = "brain-any"
MAPS = REPOSITORY.parent / "shared" / "data" / "synthseg_labels" / "training_label_maps"
DESCRIPTION = REPOSITORY / "docs" / "label-maps" / "brain-any.json"
HEAD = REPOSITORY.parent / "shared" / "data" / "weights" / "brainchop_mit" / "public" / "t1_crop.nii.gz"
SLICES_MM = (1, 5)
_BARS = {1: 0.75, 5: 0.68}  # of mean Dice, for a model that was trained without a GPU
_LARGE_ML = 1.0
_OUTSIDE = ("CSF",)  # around the brain: a label, but not a structure
_FLUID = ("Lateral-Ventricle", "Inf-Lat-Vent", "3rd-Ventricle", "4th-Ventricle", "CSF")
_CORTEX = ("Cerebral-Cortex",)
_WHITE = ("Cerebral-White-Matter",)


def run(settings: Settings) -> Section:
    """All four measurements with the shipped model."""
    conditions = Conditions.now()
    segment = segmenter(MODEL)
    held = held_out(segment, settings.choose(10, 1), settings.choose(3, 1), settings.choose(SLICES_MM, (5,)))
    mni = on_mni(segment)
    data: dict[str, Any] = {"held_out": held, "mni": mni}
    tables = [_held_out_table(held), _mni_table(mni)]
    if HEAD.is_file():
        data["copies"] = agreement(segment, HEAD)
        data["cost"] = {precision: cost(MODEL, HEAD, precision) for precision in ("exact", "fast")}
        tables += [_copies_table(data["copies"]), _cost_table(data["cost"])]
    return Section(
        KEY,
        "Brain structures in any head MR",
        "Label maps that the training never saw, rendered with random contrast (no known one), 1 mm and axial slices "
        "of 5 mm; altered copies of one head, mapped back to it; MNI152 against its tissue maps; one whole head on "
        "this machine.",
        tuple(tables),
        conditions,
        data=data,
    )


Segmenter = Callable[[Any], Any]


def segmenter(model: str, precision: str = "exact") -> Segmenter:
    """A function from an image to the `SegmentResult` of the package or model id, on the CPU."""
    from medai.config.segment import SegmentConfig
    from medai.models import open_model
    from medai.segment import load_model
    from medai.segment import run as use_case

    loaded = load_model(open_model(model), "cpu")
    config = SegmentConfig(device="cpu", precision=precision)  # type: ignore[arg-type]
    return lambda image: use_case(config, [image], loaded)


def held_out(segment: Segmenter, contrasts: int, maps: int, slices_mm: Sequence[int] = SLICES_MM) -> dict[str, Any]:
    """Dice per structure and rendered head, `contrasts` of each of the first `maps` label maps that were held out."""
    from benchmarks.brain_heads import rendered
    from medai.dataset.label_map_folder import read_description, read_label_maps

    description = read_description(MAPS, DESCRIPTION)
    data = read_label_maps(MAPS, description, names=description.held_out[:maps])
    values = [spec.value for spec in data.labels]
    rows = []
    for slice_mm in slices_mm:
        for volume in data.volumes:
            for contrast in range(contrasts):
                head = rendered(volume, data.table, 7000 + contrast, slice_mm)
                result = segment(head.image)
                names = {label.value: label.name for label in result.scheme.labels}
                found = result.label_map.array[0]
                dice = {names[v]: _dice(head.truth == n, found == v) for n, v in enumerate(values, 1) if v in names}
                rows.append({"map": volume.name, "contrast": contrast, "slice_mm": slice_mm, "dice": dice})
                print(f"{volume.name} {slice_mm} mm, contrast {contrast}: {_mean(_structures(dice)):.3f}", flush=True)
    summary = {}
    for slice_mm in slices_mm:
        cases = [row["dice"] for row in rows if row["slice_mm"] == slice_mm]
        by_name = {name: _mean([case[name] for case in cases]) for name in cases[0]}
        summary[str(slice_mm)] = {
            "mean_dice": round(_mean([_mean(_structures(case)) for case in cases]), 4),
            "worst_case": round(min(_mean(_structures(case)) for case in cases), 4),
            "structures": {name: round(value, 4) for name, value in by_name.items()},
            "heads": len(cases),
        }
    return {"summary": summary, "rows": rows}


def agreement(segment: Segmenter, file: Path) -> dict[str, Any]:
    """Mean Dice between a head's result and that of each altered copy, over structures larger than 1 mL."""
    from benchmarks.brain_heads import copies
    from medai.imageio import read_image

    image = in_ras(read_image(file))
    first = segment(image)
    reference = first.label_map.array[0]
    names = {label.value: label.name for label in first.scheme.labels}
    partner = {value: _partner(name, names) for value, name in names.items()}
    voxel_ml = image.voxel_volume_ml
    by_copy = {}
    for copy in copies(image):
        found = copy.back(segment(copy.image).label_map.array[0])
        dice = {}
        for value, name in names.items():
            mine = (reference == value) & copy.covered
            if np.count_nonzero(mine) * voxel_ml >= _LARGE_ML:
                dice[name] = _dice(mine, found == (partner[value] if copy.swap else value))
        by_copy[copy.name] = {"mean_dice": round(_mean(list(dice.values())), 4), "structures": dice}
        print(f"{copy.name}: {by_copy[copy.name]['mean_dice']:.3f}", flush=True)
    mean = _mean([entry["mean_dice"] for entry in by_copy.values()])
    return {"mean_dice": round(mean, 4), "copies": by_copy}


def on_mni(segment: Segmenter) -> dict[str, Any]:
    """Grey and white matter of MNI152 against nilearn's own maps (from 0.5), and how equal both sides are."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    from medai.image import Image

    template = load_mni152_template(resolution=1)
    image = Image(np.asarray(template.get_fdata(), np.float32).T[None], np.asarray(template.affine), "MNI152", "MR")
    grey, white = (
        np.asarray(load(resolution=1).get_fdata()).T for load in (load_mni152_gm_template, load_mni152_wm_template)
    )
    result = segment(image)
    found = result.label_map.array[0]
    values = {label.name: label.value for label in result.scheme.labels}
    solid = [value for name, value in values.items() if not name.endswith(_FLUID)]
    sides = {}
    for name, value in values.items():
        if name.startswith("Left-"):
            left = np.count_nonzero(found == value)
            right = np.count_nonzero(found == values["Right-" + name.removeprefix("Left-")])
            sides[name.removeprefix("Left-")] = round(abs(left - right) / max((left + right) / 2, 1), 4)
    total = [
        np.count_nonzero(np.isin(found, [v for n, v in values.items() if n.startswith(side)]))
        for side in ("Left-", "Right-")
    ]
    return {
        "grey_and_white": round(_dice(np.maximum(grey, white) >= 0.5, np.isin(found, solid)), 4),
        "white": round(_dice(white >= 0.5, np.isin(found, [v for n, v in values.items() if n.endswith(_WHITE)])), 4),
        "cortex": round(_dice(grey >= 0.5, np.isin(found, [v for n, v in values.items() if n.endswith(_CORTEX)])), 4),
        "sides_together": round(abs(total[0] - total[1]) / max(sum(total) / 2, 1), 4),
        "sides": sides,
    }


def cost(model: str, head: Path, precision: str) -> dict[str, float]:
    """Seconds and memory of a whole head in a process of its own, the start of the engine included."""
    return run_piece("brain:measure_head", {"model": model, "head": str(head), "precision": precision})


def measure_head(model: str, head: str, precision: str) -> dict[str, float]:
    """The piece that `cost` runs: seconds of the first and the second run, and the process's peak memory in MiB."""
    import resource

    from medai.imageio import read_image

    image = read_image(Path(head))
    seconds = []
    segment = segmenter(model, precision)
    for _ in range(2):
        started = time.perf_counter()
        segment(image)
        seconds.append(time.perf_counter() - started)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"first_s": seconds[0], "second_s": seconds[1], "peak_mb": peak_mb}


def in_ras(image: Any) -> Any:
    """The image with its voxels in RAS order; nothing is interpolated."""
    from medai.image import Image
    from medai.preprocessing.orientation import closest_to_ras

    orientation = closest_to_ras(image.ijk_to_ras)
    matrix = orientation.apply_affine(image.ijk_to_ras, image.shape)
    return Image(np.ascontiguousarray(orientation.apply(image.array), np.float32), matrix, image.name, image.modality)


def _partner(name: str, names: dict[int, str]) -> int:
    other = name
    if name.startswith("Left-"):
        other = "Right-" + name.removeprefix("Left-")
    elif name.startswith("Right-"):
        other = "Left-" + name.removeprefix("Right-")
    return next(value for value, found in names.items() if found == other)


def _dice(reference: Any, found: Any) -> float:
    from medai.metrics import dice

    return float(dice(reference, found))


def _structures(dice: dict[str, float]) -> list[float]:
    return [value for name, value in dice.items() if name not in _OUTSIDE]


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _held_out_table(held: dict[str, Any]) -> Table:
    rows = tuple(
        (
            f"1 x 1 x {mm} mm",
            str(s["heads"]),
            f"{s['mean_dice']:.3f}",
            f"{_BARS.get(int(mm), math.nan):.2f}",
            f"{s['worst_case']:.3f}",
        )
        for mm, s in held["summary"].items()
    )
    return Table(("voxels", "heads", "mean Dice", "bar", "worst head"), rows, "Label maps that were held out")


def _mni_table(mni: dict[str, Any]) -> Table:
    rows = (
        ("Dice of grey and white matter (bar 0.88)", f"{mni['grey_and_white']:.3f}"),
        ("Dice of white matter", f"{mni['white']:.3f}"),
        ("Dice of cortex with all grey matter", f"{mni['cortex']:.3f}"),
        ("difference of both sides' volume (bar 5 %)", f"{100 * mni['sides_together']:.1f} %"),
        ("largest difference of one structure", f"{100 * max(mni['sides'].values()):.1f} %"),
    )
    return Table(("of", "is"), rows, "MNI152")


def _copies_table(copies: dict[str, Any]) -> Table:
    rows = [(name, f"{entry['mean_dice']:.3f}") for name, entry in copies["copies"].items()]
    rows.append(("all (bar 0.90)", f"{copies['mean_dice']:.3f}"))
    return Table(("copy", "mean Dice"), tuple(rows), "Copies of one head, structures over 1 mL")


def _cost_table(costs: dict[str, dict[str, float]]) -> Table:
    rows = tuple(
        (name, f"{c['first_s']:.1f}", f"{c['second_s']:.1f}", f"{c['peak_mb']:.0f}") for name, c in costs.items()
    )
    return Table(("run", "first s", "second s", "peak MB"), rows, "A whole head of 256^3 voxels")


def main(arguments: list[str] | None = None) -> int:
    """One measurement of the command line, as JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks.brain", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("held-out", "copies", "mni", "cost"))
    parser.add_argument("--model", default=MODEL, help="id or package")
    parser.add_argument("--precision", choices=("exact", "fast"), default="exact")
    parser.add_argument("--contrasts", type=int, default=10)
    parser.add_argument("--maps", type=int, default=3)
    parser.add_argument("--slices", type=int, nargs="+", default=SLICES_MM, help="their thickness in mm")
    parser.add_argument("--head", type=Path, default=HEAD)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    if Path(options.model).exists():
        options.model = str(Path(options.model).resolve())
    if options.what == "cost":
        figures: dict[str, Any] = {p: cost(options.model, options.head.resolve(), p) for p in ("exact", "fast")}
    else:
        segment = segmenter(options.model, options.precision)
        if options.what == "held-out":
            figures = held_out(segment, options.contrasts, options.maps, options.slices)
        else:
            figures = on_mni(segment) if options.what == "mni" else agreement(segment, options.head)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    shown = figures.get("summary", figures)
    print(json.dumps(shown, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

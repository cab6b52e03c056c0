"""Does a model know how good its structures are, and what it was not made for?

    python -m benchmarks.quality pairs MODEL IMAGES LABELS [--cases A,B]  images with reference labels, paired by name
    python -m benchmarks.quality rendered MODEL [--maps 3 --contrasts 4]  brain model: renderings of held-out maps
    python -m benchmarks.quality unlike MODEL                             brain model: heads, parts of heads, abdomens

The first two print the rank correlation of certainty and Dice, and the curve between them: the ``quality`` that goes
into the description of the model (docs/models). The cases must not be of the model's training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medai import segment
from medai.config import to_json
from medai.config.label_rules import QualitySpec
from medai.config.segment import SegmentConfig
from medai.errors import DatasetError
from medai.image import Array, Image
from medai.imageio import read_image, read_label_map
from medai.metrics import dice
from medai.metrics.quality import fit_quality, rank_correlation
from medai.models import open_model


def rows_of(result: segment.SegmentResult, reference: Array, case: str) -> list[dict[str, Any]]:
    """Certainty and Dice of every structure that was found; `reference` (k, j, i) has the model's label values."""
    found = result.label_map.channel(0)
    return [
        {
            "case": case,
            "label": volume.name,
            "certainty": volume.quality,
            "dice": dice(reference == volume.value, found == volume.value),
        }
        for volume in result.volumes
        if volume.value is not None and volume.quality is not None
    ]


def of_pairs(model: segment.LoadedModel, pairs: Sequence[tuple[Path, Path]]) -> list[dict[str, Any]]:
    """Rows of image files with reference label maps."""
    return [
        row
        for image, labels in pairs
        for row in rows_of(
            segment.run(SegmentConfig(), [read_image(image)], model), read_label_map(labels)[0].channel(0), image.name
        )
    ]


def of_rendered(model: segment.LoadedModel, maps: int, contrasts: int) -> list[dict[str, Any]]:
    """Rows of label maps that the brain model was not trained on, rendered at 1 mm and in slices of 5 mm."""
    from benchmarks.brain import DESCRIPTION, MAPS, SLICES_MM
    from benchmarks.brain_heads import rendered
    from medai.dataset.label_map_folder import read_description, read_label_maps

    description = read_description(MAPS, DESCRIPTION)
    data = read_label_maps(MAPS, description, names=description.held_out[:maps])
    values = np.array([0, *(spec.value for spec in data.labels)])
    rows = []
    for slice_mm in SLICES_MM:
        for volume in data.volumes:
            for contrast in range(contrasts):
                head = rendered(volume, data.table, 9000 + contrast, slice_mm)
                result = segment.run(SegmentConfig(), [head.image], model)
                rows += rows_of(result, values[head.truth], f"{volume.name}, {slice_mm} mm, {contrast}")
                print(rows[-1]["case"] if rows else "nothing found", flush=True)
    return rows


def odd_images() -> list[tuple[str, bool, Image]]:
    """Name, whether it is no whole head, and image: heads, parts of one, and what is no head at all."""
    from benchmarks.brain import HEAD, in_ras
    from medai.demo.template import load_template

    head = in_ras(read_image(HEAD))
    k, j, i = head.shape
    shared = HEAD.parents[3]
    crop = next(iter(sorted((shared / "msd_hippocampus" / "images").glob("*.nii.gz"))))
    return [
        ("MNI152", False, load_template()),
        ("head", False, head),
        ("head, upper half of the brain", True, crop(head, (slice(k * 6 // 10, k), slice(0, j), slice(0, i)))),
        ("head, left third", True, crop(head, (slice(0, k), slice(0, j), slice(0, i * 2 // 5)))),
        ("head, front half", True, crop(head, (slice(0, k), slice(j // 2, j), slice(0, i)))),
        ("one hippocampus", True, read_image(crop)),
        ("abdomen, CT", True, read_image(shared / "totalseg_ct_mr" / "example_ct.nii.gz")),
        ("abdomen, MR", True, read_image(shared / "totalseg_ct_mr" / "example_mr_sm.nii.gz")),
    ]


def unlike(model: segment.LoadedModel) -> list[dict[str, Any]]:
    """What the model says of each of these images."""
    rows = []
    for name, expected, image in odd_images():
        result = segment.run(SegmentConfig(), [image], model)
        judged_rows = [row for row in result.volumes if row.usual_ml is not None]
        qualities = [row.quality for row in result.volumes if row.quality is not None]
        rows.append(
            {
                "image": name,
                "no whole head": expected,
                "unlike": result.unlike,
                "unusual": sum(row.unusual for row in judged_rows),
                "of": len(judged_rows),
                "mean quality": round(sum(qualities) / len(qualities), 3) if qualities else None,
                "anomaly": None if result.anomaly is None else round(result.anomaly.score, 3),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def report(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rank correlation over all rows and within each label, and the fitted curve."""
    certainty, score = [row["certainty"] for row in rows], [row["dice"] for row in rows]
    within = {}
    for label in dict.fromkeys(row["label"] for row in rows):
        own = [row for row in rows if row["label"] == label]
        within[label] = round(rank_correlation([r["certainty"] for r in own], [r["dice"] for r in own]), 3)
    quality = fit_quality(certainty, score)
    error = sum(abs(quality.expected_dice(c) - d) for c, d in zip(certainty, score, strict=True)) / len(rows)
    return {
        "structures": len(rows),
        "rank_correlation": round(rank_correlation(certainty, score), 3),
        "rank_correlation_within": within,
        "mean_absolute_error": round(error, 4),
        "quality": to_json(quality),
    }


def judged(model: segment.LoadedModel) -> segment.LoadedModel:
    """The model with a card that gives certainties as they are."""
    return replace(model, package=replace(model.package, card=replace(model.card, quality=QualitySpec())))


def main() -> None:
    """Print the report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    pairs, drawn = parts.add_parser("pairs"), parts.add_parser("rendered")
    for part in (pairs, drawn, parts.add_parser("unlike")):
        part.add_argument("model")
        part.add_argument("--json", type=Path, help="write the rows here, too")
    pairs.add_argument("images", type=Path)
    pairs.add_argument("labels", type=Path)
    pairs.add_argument("--cases", default="", help="names to take, separated by commas (default: all)")
    drawn.add_argument("--maps", type=int, default=3)
    drawn.add_argument("--contrasts", type=int, default=4)
    options = parser.parse_args()
    model = segment.load_model(open_model(options.model), "cpu")
    if options.part == "pairs":
        rows = of_pairs(judged(model), _paired(options.images, options.labels, options.cases))
    elif options.part == "rendered":
        rows = of_rendered(judged(model), options.maps, options.contrasts)
    else:
        rows = unlike(model)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if options.part != "unlike":
        print(json.dumps(report(rows), indent=1))


def _paired(images: Path, labels: Path, cases: str) -> list[tuple[Path, Path]]:
    wanted = {name for name in cases.split(",") if name}
    pairs = [
        (path, labels / path.name)
        for path in sorted(images.iterdir())
        if (labels / path.name).is_file() and (not wanted or path.name.split(".")[0] in wanted)
    ]
    if not pairs:
        raise DatasetError(f"'{images}' and '{labels}' have no files of one name.", "Check the paths.")
    return pairs


if __name__ == "__main__":
    main()

"""Does the certainty of a model tell how good its structures are? Prints the rank correlation and the curve to ship.

    python -m benchmarks.quality MODEL IMAGES LABELS [--cases A,B,...] [--json FILE]

IMAGES and LABELS are folders whose files are paired by name; they must not be of the model's training cases. The
printed ``quality`` goes into the description of the model (docs/models).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medai import segment
from medai.config import to_json
from medai.config.label_rules import QualitySpec
from medai.config.segment import SegmentConfig
from medai.errors import DatasetError
from medai.imageio import read_image, read_label_map
from medai.metrics import dice
from medai.metrics.quality import fit_quality, rank_correlation
from medai.models import open_model


def rows_of(model: segment.LoadedModel, pairs: Sequence[tuple[Path, Path]]) -> list[dict[str, Any]]:
    """Certainty and Dice of every structure that was found, case by case."""
    rows = []
    for image_path, label_path in pairs:
        result = segment.run(SegmentConfig(), [read_image(image_path)], model)
        reference = read_label_map(label_path)[0].channel(0)
        found = result.label_map.channel(0)
        for volume in result.volumes:
            if volume.value is None or volume.quality is None:
                continue
            score = dice(reference == volume.value, found == volume.value)
            rows.append({"case": image_path.name, "label": volume.name, "certainty": volume.quality, "dice": score})
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
    parser.add_argument("model")
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--cases", default="", help="names to take, separated by commas (default: all)")
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    options = parser.parse_args()
    wanted = {name for name in options.cases.split(",") if name}
    pairs = [
        (path, options.labels / path.name)
        for path in sorted(options.images.iterdir())
        if (options.labels / path.name).is_file() and (not wanted or path.name.split(".")[0] in wanted)
    ]
    if not pairs:
        raise DatasetError(f"'{options.images}' and '{options.labels}' have no files of one name.", "Check the paths.")
    rows = rows_of(judged(segment.load_model(open_model(options.model))), pairs)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(json.dumps(report(rows), indent=1))


if __name__ == "__main__":
    main()

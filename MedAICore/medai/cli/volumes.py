"""The table of a segmentation's structures: for JSON, as CSV, and on the terminal."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from medai.segment import StructureVolume

_COLUMNS = ("structure", "value", "voxels", "volume_ml", "usual_lowest_ml", "usual_highest_ml", "unusual", "quality")


def volumes_data(rows: Sequence[StructureVolume]) -> dict[str, Any]:
    """``labels`` and ``totals`` by name. What the model does not tell (`quality`, `usual_ml`) is left out."""
    return {
        "labels": {row.name: {"value": row.value, **_figures(row)} for row in rows if row.value is not None},
        "totals": {row.name: _figures(row) for row in rows if row.value is None},
    }


def write_volumes(path: Path, rows: Sequence[StructureVolume]) -> None:
    """Write a row per structure and total to a CSV file, whole or not at all; a total has no value."""
    from medai.imageio.atomic import atomic_output

    with atomic_output(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        for row in rows:
            low, high = row.usual_ml or ("", "")
            writer.writerow(
                (
                    row.name,
                    "" if row.value is None else row.value,
                    row.voxels,
                    f"{row.volume_ml:.4f}",
                    low,
                    high,
                    "" if row.usual_ml is None else int(row.unusual),
                    "" if row.quality is None else f"{row.quality:.3f}",
                )
            )


def volumes_table(rows: Sequence[StructureVolume], title: str) -> Table:
    """The rows for a terminal; columns that the model says nothing about are left out."""
    from rich.table import Table

    with_usual = any(row.usual_ml is not None for row in rows)
    with_quality = any(row.quality is not None for row in rows)
    table = Table("label", "value", "voxels", "volume (mL)", title=title)
    if with_usual:
        table.add_column("usual (mL)")
    if with_quality:
        table.add_column("expected Dice")
    for row in rows:
        cells = [row.name, "" if row.value is None else str(row.value), f"{row.voxels:,}", f"{row.volume_ml:.3f}"]
        if with_usual:
            low, high = row.usual_ml or (0.0, 0.0)
            cells.append(f"{low:.1f} to {high:.1f}{' !' if row.unusual else ''}" if row.usual_ml else "")
        if with_quality:
            cells.append("" if row.quality is None else f"{row.quality:.2f}")
        table.add_row(*cells, style="bold" if row.value is None else None)
    return table


def _figures(row: StructureVolume) -> dict[str, Any]:
    figures: dict[str, Any] = {"voxels": row.voxels, "volume_ml": row.volume_ml}
    if row.usual_ml is not None:
        figures |= {"usual_ml": list(row.usual_ml), "unusual": row.unusual}
    if row.quality is not None:
        figures["quality"] = round(row.quality, 4)
    return figures

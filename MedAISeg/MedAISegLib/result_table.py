"""The panel's list of structures: how large, how sure, and a mark where that is unusual."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from medai.config.requests import LabelFound, TotalFound
from medai.mrml import is_unusual

_MARK = "\u26a0"  # a warning sign, as a character: its colour follows the theme


def showStructures(table: Any, structures: Sequence[LabelFound], totals: Sequence[TotalFound] = ()) -> None:
    """Fill a QTableWidget with a row per structure, then a bold one per total.

    The column of the expected Dice is there where the model tells it. Volumes beyond the usual ones have a mark whose
    tool tip names those.
    """
    judged = any(row.quality is not None for row in structures)
    titles = [_("Structure"), _("Volume (mL)"), *([_("Exp. Dice")] if judged else []), _("Mean")]
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(titles)
    table.setRowCount(len(structures) + len(totals))
    for at, row in enumerate((*structures, *totals)):
        quality, mean = getattr(row, "quality", None), getattr(row, "mean", None)
        cells = [row.name, f"{row.volume_ml:.2f}"]
        if judged:
            cells.append("" if quality is None else f"{quality:.2f}")
        cells.append("" if mean is None else f"{mean:.4g}")
        for column, text in enumerate(cells):
            item = qt.QTableWidgetItem(text)
            if column == 1 and is_unusual(row):
                _mark(item, row)
            if column == 0:
                item.setToolTip(row.name)  # long names are cut in a narrow panel
            if isinstance(row, TotalFound):
                _embolden(item)
            table.setItem(at, column, item)
    if judged:
        table.horizontalHeaderItem(2).setToolTip(
            _("The Dice coefficient to expect (1: perfect), from how sure the network is. An estimate: look yourself.")
        )
    table.resizeColumnsToContents()
    table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)


def _mark(item: Any, row: LabelFound | TotalFound) -> None:
    low, high = row.usual_ml
    item.setText(f"{_MARK} {item.text()}")
    item.setToolTip(_("Usual are {low} to {high} mL.").format(low=f"{low:g}", high=f"{high:g}"))


def _embolden(item: Any) -> None:
    font = item.font()
    font.setBold(True)
    item.setFont(font)

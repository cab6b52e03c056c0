"""Cells of the panel's tables, and heights that follow their rows."""

import qt

# Rows and the border of a table, in pixels.
FRAME = 4


def tick(on):
    """A cell with a box."""
    item = qt.QTableWidgetItem("")
    item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
    item.setCheckState(qt.Qt.Checked if on else qt.Qt.Unchecked)
    return item


def cell(text, tip=""):
    """A cell with a text that may be cut off: its tip has all of it."""
    item = qt.QTableWidgetItem(text)
    item.setToolTip(tip or text)
    return item


def fixed(text, tip=""):
    """A cell whose text cannot be edited."""
    item = cell(text, tip)
    item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
    return item


def fit(table, mostRows) -> None:
    """Columns as wide as their texts, the last one to the border; as high as its rows, but for at most so many."""
    table.resizeColumnsToContents()
    table.horizontalHeader().setStretchLastSection(True)
    table.verticalHeader().setVisible(False)
    rows = sum(table.rowHeight(row) for row in range(min(table.rowCount, mostRows)))
    # A scroll bar below may take the height of half a row.
    table.setFixedHeight(table.horizontalHeader().sizeHint.height() + rows + FRAME + 14)


def selectedRows(table):
    """Numbers of the selected rows, in order."""
    return sorted({index.row() for index in table.selectionModel().selectedRows()})

"""Sections of tables: kept as JSON, shown in the terminal, written as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import Conditions

_QUIET_CORES = 0.2


@dataclass(frozen=True)
class Table:
    """Rows of texts below their column names."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells in a table of {len(self.columns)} columns: {row}")


@dataclass(frozen=True)
class Section:
    """One comparison: what was done (`text`), the tables, remarks, and the raw figures (`data`)."""

    key: str
    title: str
    text: str
    tables: tuple[Table, ...]
    conditions: Conditions
    notes: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def missing(self) -> bool:
        """Whether it could not be measured."""
        return "error" in self.data

    def save(self, folder: Path) -> None:
        """Keep the section, so that a report can be made of pieces that ran one at a time."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.key}.json").write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Section:
        """What `save` kept."""
        data = json.loads(path.read_text(encoding="utf-8"))
        tables = tuple(
            Table(tuple(t["columns"]), tuple(tuple(row) for row in t["rows"]), t["title"]) for t in data.pop("tables")
        )
        conditions = Conditions(**data.pop("conditions"))
        notes = tuple(data.pop("notes"))
        return cls(tables=tables, conditions=conditions, notes=notes, **data)

    def condition_line(self) -> str:
        """When, and how busy the machine was besides."""
        busy = max(_values(self.data, "other_cores"), default=float("nan"))
        by = "the clock" if clock(self.data) == "seconds" else "processor seconds, since the machine was not quiet"
        return (
            f"Measured {self.conditions.when}; load average before {self.conditions.load:.1f}; other processes used at "
            f"most {busy:.1f} cores during a measurement. Ratios of times are by {by}."
        )


def not_measured(key: str, reason: str, conditions: Conditions) -> Section:
    """What stands in the place of a comparison that failed."""
    first = reason.strip().splitlines()[0][:300]
    text = f"NOT measured in this run: {first}"
    return Section(key, key.replace("_", " ").capitalize(), text, (), conditions, data={"error": reason})


def _values(data: Any, key: str) -> list[float]:
    if isinstance(data, dict):
        return [v for k, v in data.items() if k == key] + [x for v in data.values() for x in _values(v, key)]
    return [x for v in data for x in _values(v, key)] if isinstance(data, list | tuple) else []


def clock(data: Any) -> str:
    """Which time to compare by: `seconds` on a quiet machine, else `cpu_s`, which other work hardly changes."""
    return "seconds" if max(_values(data, "other_cores"), default=0.0) < _QUIET_CORES else "cpu_s"


def show(section: Section) -> None:
    """Print a section as rich tables."""
    import rich.console
    import rich.table
    from rich.markup import escape

    console = rich.console.Console()
    console.print(f"\n[bold]{escape(section.title)}[/bold]\n{escape(section.text)}")
    for table in section.tables:
        drawn = rich.table.Table(title=escape(table.title) or None, title_justify="left")
        for n, column in enumerate(table.columns):
            drawn.add_column(escape(column), justify="right" if n else "left")
        for row in table.rows:
            drawn.add_row(*map(escape, row))
        console.print(drawn)
    for note in (*section.notes, section.condition_line()):
        console.print(f"- {escape(note)}")


def markdown(machine: Sequence[str], sections: Sequence[Section], preface: str) -> str:
    """The page docs/benchmarks.md."""
    parts = ["# Benchmarks", preface, "\n".join(f"- {line}" for line in machine)]
    for section in sections:
        parts += [f"## {section.title}", section.text]
        for table in section.tables:
            parts.append((f"**{table.title}**\n\n" if table.title else "") + _markdown_table(table))
        parts.append("\n".join(f"- {note}" for note in (*section.notes, section.condition_line())))
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    lines = [table.columns, ("---", *("---:" for _ in table.columns[1:])), *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def seconds(value: float) -> str:
    """A time for a table: three figures."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(ours: float, peer: float) -> str:
    """How many times smaller `ours` is than `peer`."""
    ratio = peer / ours if ours > 0 else float("inf")
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.1f}x"


def verdict(label: str, reached: bool, figure: str) -> str:
    """A remark that says whether a bar was reached."""
    return f"{label}: {figure} ({'reached' if reached else 'NOT reached'})."

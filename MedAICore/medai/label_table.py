"""The table that says which segments of different cases are one label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from medai.errors import InputError
from medai.labels import Label, Terminology


@dataclass(frozen=True)
class SegmentInfo:
    """One segment of a case's segmentation; `terminology` is None where nobody has coded it."""

    id: str
    name: str
    color: tuple[float, float, float]
    terminology: Terminology | None = None


class HasSegments(Protocol):
    """Anything with segments: a case of a scene, or of DICOM files."""

    @property
    def segments(self) -> tuple[SegmentInfo, ...]:
        """The segments of its segmentation."""
        ...


# What two segments must share to be one label: its codes, or, where it has none, its name.
Key = tuple[str, ...]


@dataclass(frozen=True)
class LabelRow:
    """One label of the data set. `keys` are the codes and names of the segments that count as it.

    `cases` is the number of cases that have such a segment. An ignored row is not trained: its voxels are background.
    """

    name: str
    color: tuple[float, float, float]
    terminology: Terminology | None
    keys: frozenset[Key]
    cases: int
    ignored: bool = False


@dataclass(frozen=True)
class LabelTable:
    """The labels of a data set; edits give a new table. Label values are 1, 2, ... in the order of the rows in use."""

    rows: tuple[LabelRow, ...]

    @property
    def used(self) -> tuple[LabelRow, ...]:
        """The rows that are trained."""
        return tuple(row for row in self.rows if not row.ignored)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The labels of the exported label maps."""
        return tuple(Label(n, row.name, row.color, row.terminology) for n, row in enumerate(self.used, 1))

    def row_of(self, segment: SegmentInfo) -> LabelRow | None:
        """The row that the segment counts as; None for a segment that the table does not know."""
        return next((row for key in keys_of(segment) for row in self.rows if key in row.keys), None)

    def value_of(self, segment: SegmentInfo) -> int:
        """The label value of a segment, 0 where it is ignored or not known."""
        row = self.row_of(segment)
        used = self.used
        return used.index(row) + 1 if row in used else 0

    def unknown_in(self, case: HasSegments) -> tuple[str, ...]:
        """Names of the labels that no segment of the case stands for: there nobody knows where they are.

        A segment that is there but has no voxels says that the structure is absent; that is known.
        """
        there = {row.name for row in (self.row_of(segment) for segment in case.segments) if row is not None}
        return tuple(row.name for row in self.used if row.name not in there)

    def rename(self, name: str, new: str) -> LabelTable:
        """The row `name` under another name; InputError where that is empty or taken."""
        if not new.strip():
            raise InputError(f"The label '{name}' cannot have an empty name.", "Give it a name.")
        if new != name and any(row.name == new for row in self.rows):
            raise InputError(f"There is a label '{new}' already.", "Merge the two, or give another name.")
        return self._with(name, replace(self._row(name), name=new))

    def ignore(self, name: str, ignored: bool = True) -> LabelTable:
        """The row `name` left out of the training, or taken in again."""
        return self._with(name, replace(self._row(name), ignored=ignored))

    def merge(self, names: Sequence[str], into: str) -> LabelTable:
        """The rows `names` as one label, which keeps the codes, colour and place of the row `into`."""
        target = self._row(into)
        merged = [self._row(name) for name in names if name != into]
        keys = target.keys.union(*(row.keys for row in merged))
        cases = max([target.cases, *(row.cases for row in merged)])
        rows = tuple(row for row in self.rows if row not in merged)
        return LabelTable(rows)._with(into, replace(target, keys=keys, cases=cases))

    def split(self, name: str, cases: Iterable[HasSegments]) -> LabelTable:
        """Undo every merge of the row `name`: its segments as `labels_of` would list them."""
        row = self._row(name)
        fresh = [other for other in labels_of(cases).rows if other.keys & row.keys]
        taken = {other.name for other in self.rows if other is not row}
        named = [replace(other, name=_free_name(other.name, taken)) for other in fresh]
        at = self.rows.index(row)
        return LabelTable((*self.rows[:at], *named, *self.rows[at + 1 :])) if named else self

    def _row(self, name: str) -> LabelRow:
        for row in self.rows:
            if row.name == name:
                return row
        raise InputError(f"There is no label '{name}'.", f"The labels are: {', '.join(r.name for r in self.rows)}.")

    def _with(self, name: str, row: LabelRow) -> LabelTable:
        return LabelTable(tuple(row if other.name == name else other for other in self.rows))


def keys_of(segment: SegmentInfo) -> tuple[Key, ...]:
    """What identifies the segment, the strictest first: codes and name, codes, name."""
    name = ("name", " ".join(segment.name.casefold().split()))
    codes = _codes(segment.terminology)
    return ((*codes, *name), codes, name) if codes else (name,)


def labels_of(cases: Iterable[HasSegments]) -> LabelTable:
    """The labels of the cases: segments of equal codes are one label, those without codes go by their names.

    Where a case has several segments of the same codes (two tumours), their names tell them apart. Segments of equal
    name and different codes stay apart, the later ones with a number behind the name. The name of a label is the one
    that most of its segments have. A segment without codes counts as the coded label of its name where there is
    exactly one.
    """
    found = [(n, segment) for n, case in enumerate(cases) for segment in case.segments]
    ambiguous = _ambiguous_codes(found)
    groups: dict[Key, list[tuple[int, SegmentInfo]]] = {}
    for entry in found:
        segment = entry[1]
        codes = _codes(segment.terminology)
        keys = keys_of(segment)
        key = keys[-1] if not codes else keys[0] if codes in ambiguous else codes
        groups.setdefault(key, []).append(entry)
    _take_in_uncoded(groups)
    rows: list[LabelRow] = []
    for group_key, entries in groups.items():
        names = Counter(segment.name for _, segment in entries)
        best = next(s for _, s in sorted(entries, key=lambda e: (-names[e[1].name], e[1].terminology is None)))
        coded = next((s.terminology for _, s in entries if s.terminology is not None), None)
        all_keys = {group_key, *(keys_of(s)[-1] for _, s in entries if s.terminology is None)}
        name = _free_name(best.name.strip() or best.id, {row.name for row in rows})
        rows.append(LabelRow(name, best.color, coded, frozenset(all_keys), len({n for n, _ in entries})))
    return LabelTable(tuple(rows))


def _codes(terminology: Terminology | None) -> Key:
    if terminology is None:
        return ()
    parts = (
        terminology.category,
        terminology.type,
        terminology.type_modifier,
        terminology.region,
        terminology.region_modifier,
    )
    return ("codes", *(f"{code.scheme}:{code.value}" if code else "" for code in parts))


def _ambiguous_codes(found: Iterable[tuple[int, SegmentInfo]]) -> set[Key]:
    """Codes that several segments of one case have."""
    counts = Counter((n, _codes(segment.terminology)) for n, segment in found)
    return {codes for (_, codes), count in counts.items() if codes and count > 1}


def _take_in_uncoded(groups: dict[Key, list[tuple[int, SegmentInfo]]]) -> None:
    """Move a group that goes by its name to the coded group with that name, where exactly one has it."""
    for key in [key for key in groups if key[0] == "name"]:
        coded = [
            other
            for other, entries in groups.items()
            if other[0] == "codes" and any(keys_of(segment)[-1] == key for _, segment in entries)
        ]
        if len(coded) == 1:
            groups[coded[0]] += groups.pop(key)


def _free_name(name: str, taken: set[str]) -> str:
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name} ({number})", number + 1
    return unique

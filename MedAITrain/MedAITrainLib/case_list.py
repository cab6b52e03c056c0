"""The cases and labels of a data set to be: what the tables of the Data step show and change. No Qt, no dialogs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from slicer.i18n import tr as _

from medai.case_report import CheckReport, Finding
from medai.errors import InputError
from medai.mrml.labelled_table import LabelledCase, LabelRow, LabelTable, labels_of


@dataclass
class CaseEntry:
    """A line of the table: a case and whether it is used."""

    case: LabelledCase
    used: bool = True


@dataclass(frozen=True)
class _Edit:
    """A change of the label table that a person made; it is made again when the cases have changed."""

    change: Callable[[LabelTable], LabelTable]


@dataclass
class CaseList:
    """The cases of the open scene and of scene files, their labels, and what a check said about them.

    An edit of the labels stays when cases are added: it is made again on the labels of all cases.
    """

    entries: list[CaseEntry] = field(default_factory=list)
    labels: LabelTable = field(default_factory=lambda: LabelTable(()))
    report: CheckReport | None = None
    _edits: list[_Edit] = field(default_factory=list)

    @property
    def used(self) -> list[LabelledCase]:
        """The cases that are used, in the order of the table."""
        return [entry.case for entry in self.entries if entry.used]

    @property
    def checked(self) -> bool:
        """Whether the report is of the cases and labels as they are now."""
        return self.report is not None

    def clear(self) -> None:
        """Forget everything."""
        self.entries.clear()
        self._edits.clear()
        self._changed()

    def take(self, cases: Iterable[LabelledCase], source: str) -> int:
        """Put the cases of `source` (a scene file, "" for the open scene) in the place of its earlier ones.

        Names are made unique; a case that was there before stays unused where it was. Gives the number of cases.
        """
        before = {_identity(entry.case): entry for entry in self.entries if entry.case.source == source}
        others = [entry for entry in self.entries if entry.case.source != source]
        names = {entry.case.name for entry in others}
        taken = []
        for case in cases:
            known = before.get(_identity(case))
            if known is not None:  # with the name and the patient that a person may have given it
                case = replace(case, name=known.case.name, patient=known.case.patient)
            case = replace(case, name=_free_name(case.name, names))
            names.add(case.name)
            taken.append(CaseEntry(case, known.used if known is not None else True))
        self.entries = [*others, *taken] if source else [*taken, *others]
        self._changed()
        return len(taken)

    def add(self, case: LabelledCase) -> None:
        """Add a case at the end; its name is made unique."""
        names = {entry.case.name for entry in self.entries}
        self.entries.append(CaseEntry(replace(case, name=_free_name(case.name, names))))
        self._changed()

    def remove(self, rows: Iterable[int]) -> None:
        """Take these lines out."""
        gone = set(rows)
        self.entries = [entry for row, entry in enumerate(self.entries) if row not in gone]
        self._changed()

    def use(self, row: int, used: bool) -> None:
        """Use a case, or leave it out."""
        if self.entries[row].used != used:
            self.entries[row].used = used
            self._changed()

    def change(self, row: int, case: LabelledCase) -> None:
        """Another name, patient, image or segmentation; InputError where the name is empty or taken."""
        name = case.name.strip()
        if not name:
            raise InputError(_("A case needs a name."), _("Give it one, such as a number."))
        if any(entry.case.name == name for n, entry in enumerate(self.entries) if n != row):
            raise InputError(_("There is a case '{name}' already.").format(name=name), _("Give another name."))
        self.entries[row].case = replace(case, name=name)
        self._changed()

    def row_of(self, name: str) -> int:
        """The line of the case with this name, or -1."""
        return next((row for row, entry in enumerate(self.entries) if entry.case.name == name), -1)

    # Labels

    def rename_label(self, name: str, new: str) -> None:
        """Give a label another name; InputError where that is empty or taken."""
        self._edit(lambda table: table.rename(name, new))

    def ignore_label(self, name: str, ignored: bool) -> None:
        """Leave a label out of the training, or take it in again."""
        self._edit(lambda table: table.ignore(name, ignored))

    def merge_labels(self, names: list[str]) -> None:
        """Make one label of these; it keeps the first one's name, colour and code."""
        if len(names) < 2:
            raise InputError(_("Nothing to merge."), _("Select two or more structures in the table."))
        self._edit(lambda table: table.merge(names, names[0]))

    def color_label(self, name: str, color: tuple[float, float, float]) -> None:
        """Give a label another colour."""

        def recolored(table: LabelTable) -> LabelTable:
            rows = tuple(replace(row, color=color) if row.name == name else row for row in table.rows)
            return LabelTable(rows)

        self._edit(recolored)

    def _edit(self, change: Callable[[LabelTable], LabelTable]) -> None:
        self.labels = change(self.labels)
        self._edits.append(_Edit(change))
        self.report = None

    def _changed(self) -> None:
        table = labels_of(self.used)
        for edit in list(self._edits):
            try:
                table = edit.change(table)
            except InputError:  # the label that was edited is in none of the cases any more
                self._edits.remove(edit)
        self.labels = table
        self.report = None

    # What a person is told

    def findings_of(self, name: str) -> tuple[Finding, ...]:
        """What the check found in this case."""
        return self.report.of_case(name) if self.report is not None else ()

    def summary(self) -> str:
        """How many cases of how many patients are used."""
        used = self.used
        patients = len({case.patient or case.name for case in used})
        if not self.entries:
            return ""
        return _("{used} of {all} cases, {patients} patients").format(
            used=len(used), all=len(self.entries), patients=patients
        )


def coded_as(row: LabelRow) -> str:
    """The coded meaning of a label, or nothing."""
    terminology: Any = row.terminology
    if terminology is None:
        return ""
    parts = [terminology.type, terminology.type_modifier, terminology.region]
    return ", ".join(code.meaning for code in parts if code is not None and code.meaning)


def _identity(case: LabelledCase) -> tuple[Any, ...]:
    return (case.segmentation_id, case.volume_ids, case.frame)


def _free_name(name: str, taken: set[str]) -> str:
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name} ({number})", number + 1
    return unique

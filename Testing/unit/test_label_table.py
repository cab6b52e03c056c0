from __future__ import annotations

from dataclasses import dataclass

import pytest

from medai.dataset_json import channel_titles, file_names
from medai.errors import InputError
from medai.label_table import SegmentInfo, labels_of
from medai.labels import Code, Terminology

ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
RIGHT, LEFT = Code("SCT", "24028007", "Right"), Code("SCT", "7771000", "Left")


def kidney(side: Code) -> Terminology:
    return Terminology(ANATOMY, Code("SCT", "64033007", "Kidney"), side)


@dataclass
class Drawn:
    segments: tuple[SegmentInfo, ...]


def segment(name: str, terminology: Terminology | None = None, color=(1.0, 0.0, 0.0)) -> SegmentInfo:
    return SegmentInfo(name, name, color, terminology)


def test_codes_go_before_names_and_sides_stay_apart() -> None:
    cases = [
        Drawn((segment("Kidney R", kidney(RIGHT)), segment("Kidney L", kidney(LEFT)))),
        Drawn((segment("right kidney", kidney(RIGHT)), segment("left kidney", kidney(LEFT)))),
        Drawn((segment("right kidney", kidney(RIGHT)),)),
    ]
    table = labels_of(cases)
    assert [row.name for row in table.rows] == ["right kidney", "Kidney L"]  # the commoner name; the first of two
    assert [row.cases for row in table.rows] == [3, 2]
    assert [table.value_of(s) for s in cases[1].segments] == [1, 2]
    assert table.unknown_in(cases[2]) == ("Kidney L",)
    assert table.labels[0].terminology == kidney(RIGHT)


def test_names_match_without_regard_to_case_and_blanks_where_nobody_coded() -> None:
    cases = [Drawn((segment("Liver"),)), Drawn((segment(" liver "),)), Drawn((segment("spleen"),))]
    table = labels_of(cases)
    assert [row.name for row in table.rows] == ["Liver", "spleen"]
    assert table.value_of(segment("LIVER")) == 1
    assert table.value_of(segment("pancreas")) == 0


def test_an_uncoded_segment_counts_as_the_coded_one_of_its_name() -> None:
    cases = [Drawn((segment("kidney", kidney(RIGHT)),)), Drawn((segment("Kidney"),))]
    table = labels_of(cases)
    assert len(table.rows) == 1
    assert table.unknown_in(cases[1]) == ()
    # Two coded ones of that name: nobody can tell which it is.
    cases.append(Drawn((segment("kidney", kidney(LEFT)),)))
    assert [row.name for row in labels_of(cases).rows] == ["kidney", "Kidney", "kidney (2)"]


def test_segments_of_one_case_with_equal_codes_are_told_apart_by_name() -> None:
    cases = [Drawn((segment("tumour 1", kidney(RIGHT)), segment("tumour 2", kidney(RIGHT)))),
             Drawn((segment("tumour 1", kidney(RIGHT)),))]  # fmt: skip
    table = labels_of(cases)
    assert [(row.name, row.cases) for row in table.rows] == [("tumour 1", 2), ("tumour 2", 1)]
    assert [table.value_of(s) for s in cases[0].segments] == [1, 2]


def test_a_person_renames_merges_and_ignores() -> None:
    cases = [Drawn((segment("a"), segment("b"), segment("c")))]
    table = labels_of(cases).merge(["a", "c"], "a").rename("a", "organ")
    assert [(label.value, label.name) for label in table.labels] == [(1, "organ"), (2, "b")]
    assert [table.value_of(s) for s in cases[0].segments] == [1, 2, 1]
    ignored = table.ignore("organ")
    assert [label.name for label in ignored.labels] == ["b"]
    assert [ignored.value_of(s) for s in cases[0].segments] == [0, 1, 0]
    assert ignored.unknown_in(cases[0]) == ()
    assert [row.name for row in table.split("organ", cases).rows] == ["a", "c", "b"]
    assert [label.name for label in ignored.ignore("organ", False).labels] == ["organ", "b"]


def test_names_must_be_free_and_known() -> None:
    table = labels_of([Drawn((segment("a"), segment("b")))])
    for name, new in (("a", "b"), ("a", " "), ("x", "y")):
        with pytest.raises(InputError):
            table.rename(name, new)


def test_file_names_fit_every_system_and_end_in_no_channel_number() -> None:
    names = ["Müller, Jan: T1/2", "scan_0001", "SCAN-0001", "", "..", "x" * 200]
    files = file_names(names)
    assert len({file.casefold() for file in files.values()}) == len(names)
    assert files["scan_0001"] == "scan-0001"
    assert files["SCAN-0001"] == "SCAN-0001-2"
    assert not any(set(file) & set('/\\:*?"<>|') or file.startswith(".") or len(file) > 90 for file in files.values())


def test_channels_are_named_by_what_tells_no_person() -> None:
    assert channel_titles(["MR", "PT"]) == ["MR", "PT"]
    assert channel_titles(["MR", "MR"]) == ["image 0", "image 1"]
    assert channel_titles([""]) == ["image"]

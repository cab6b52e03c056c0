"""Reports as files, and two of them compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medai import evaluate
from medai.cli.app import run as command
from medai.errors import DatasetError, FileFormatError


def report(shift: float, names: range = range(8), labels: tuple[str, ...] = ("liver", "spleen")) -> dict:
    cases = []
    for n in names:
        values = {
            label: {
                "dice": 0.8 + 0.01 * n + shift * (1 + n % 3) * (label == "liver"),
                "hd95_mm": None if n == 0 and label == "spleen" else 5.0 - 10 * shift,
                "assd_mm": 1.0, "nsd": 0.9, "reference_ml": 10.0, "prediction_ml": 9.5,
            }
            for label in labels
        }  # fmt: skip
        cases.append({"case": f"case{n}", "labels": values})
    return {"cases": cases, "mean": {}, "tolerance_mm": 1.0, "warnings": []}


def test_a_label_that_got_better_is_found_and_one_that_did_not_is_not() -> None:
    found = evaluate.compare(report(0.0), report(0.02))
    dice = found["metrics"]["dice"]
    assert list(dice) == ["liver", "spleen", "overall"]
    assert dice["liver"]["difference"] == pytest.approx(0.02 * (1 + 2 + 3 + 1 + 2 + 3 + 1 + 2) / 8)
    assert 0 < dice["liver"]["low"] < dice["liver"]["difference"] < dice["liver"]["high"]
    assert dice["liver"]["p_holm"] == pytest.approx(2 * dice["liver"]["p"])
    assert dice["spleen"]["p"] == 1.0
    assert dice["overall"]["difference"] == pytest.approx(dice["liver"]["difference"] / 2)
    assert dice["overall"]["p_holm"] is None
    assert found["cases"] == [f"case{n}" for n in range(8)]
    assert found["warnings"] == []


def test_what_does_not_exist_in_both_is_counted_and_left_out() -> None:
    other = report(0.0)
    other["cases"][0]["labels"]["spleen"]["hd95_mm"] = 3.0
    row = evaluate.compare(report(0.0), other, ["hd95_mm"])["metrics"]["hd95_mm"]["spleen"]
    assert (row["cases"], row["missing"]) == (7, 1)
    row = evaluate.compare(report(0.0), report(0.0), ["hd95_mm"])["metrics"]["hd95_mm"]["spleen"]
    assert (row["cases"], row["missing"]) == (7, 0)  # in neither: nothing to compare


def test_only_common_cases_are_paired() -> None:
    found = evaluate.compare(report(0.0), report(0.02, range(4, 12)))
    assert found["cases"] == ["case4", "case5", "case6", "case7"]
    assert "only in the first" in found["warnings"][0]
    assert "cannot find a difference" in found["warnings"][2]
    with pytest.raises(DatasetError, match="no case in common"):
        evaluate.compare(report(0.0, range(2)), report(0.0, range(2, 4)))
    with pytest.raises(DatasetError, match="no label in common"):
        evaluate.compare(report(0.0), report(0.0, labels=("kidney",)))


def test_csv_and_json_bring_back_the_same_figures(tmp_path: Path) -> None:
    evaluate.write_report(tmp_path, report(0.01))
    from_csv = evaluate.read_report(tmp_path / evaluate.CSV_NAME)
    from_json = evaluate.read_report(tmp_path)
    assert from_csv["cases"] == from_json["cases"]
    text = (tmp_path / evaluate.CSV_NAME).read_text(encoding="utf-8")
    assert text.startswith("case,label,dice,hd95_mm,assd_mm,nsd,reference_ml,prediction_ml\ncase0,liver,0.81,4.9,")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("case,label,dice\na,liver,good\n", "'good' is no number"),
        ("case,label,dice\na,,0.5\n", "line 2: case or label"),
        ("case,label,dice\na,liver,0.5\na,liver,0.6\n", "twice"),
        ("", "no evaluation"),
    ],
)
def test_damaged_tables_are_refused_with_the_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(FileFormatError, match=reason):
        evaluate.read_report(tmp_path / "a.csv")


def test_the_command_compares_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, shift in (("a", 0.0), ("b", 0.02)):
        evaluate.write_csv(tmp_path / f"{name}.csv", report(shift))
    arguments = ["compare", str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    assert command([*arguments, "--metric", "dice", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert list(data["metrics"]) == ["dice"]
    assert data["metrics"]["dice"]["liver"]["p"] < 0.05
    assert command(arguments) == 0
    assert "liver" in capsys.readouterr().out
    assert command(["compare", str(tmp_path / "a.csv"), str(tmp_path / "none.csv")]) == 1

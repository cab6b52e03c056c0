from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medai.case_checks import (
    CaseSummary,
    ChannelSummary,
    check_case,
    check_splits,
    check_together,
    summarize_channel,
)
from medai.case_report import Finding, report_of


def summary(number: int, **changes) -> CaseSummary:
    generator = np.random.default_rng(number)
    middle = 100.0 + generator.normal(0, 3)
    channel = ChannelSummary("T1", "MR", (middle - 40, middle, middle + 60), 0.0, 400.0)
    case = CaseSummary(
        name=f"case{number}",
        patient=f"patient{number}",
        shape=(20, 30, 40),
        spacing_mm=(3.0, 1.0, 1.0),
        channels=(channel,),
        label_voxels={"liver": 500, "spleen": 200},
        digest=f"voxels{number}",
        source=f"scene{number}.mrb",
    )
    return replace(case, **changes)


def found(findings) -> dict[str, Finding]:
    return {finding.code: finding for finding in findings}


def test_sound_cases_have_no_findings() -> None:
    cases = [summary(n) for n in range(8)]
    assert [f for case in cases for f in check_case(case)] == []
    assert list(check_together(cases)) == []


@pytest.mark.parametrize(
    ("changes", "code", "severity", "words"),
    [
        ({"label_voxels": {"liver": 0, "spleen": 0}}, "empty-segmentation", "error", "voxel"),
        ({"label_voxels": {"liver": 500, "spleen": 0}}, "empty-label", "warning", "spleen"),
        ({"label_voxels": {"liver": 500, "spleen": 9}}, "tiny-label", "warning", "9 voxels"),
        ({"inside": {"liver": 0.2}}, "outside", "error", "20%"),
        ({"inside": {"liver": 0.8}}, "outside", "warning", "80%"),
        ({"overlaps": {("liver", "spleen"): 12}}, "overlap", "warning", "12 voxels"),
        ({"unknown": ("kidney",)}, "unknown", "note", "kidney"),
        ({"channels": (ChannelSummary("T1", non_finite=0.3, high=1.0),)}, "not-finite", "error", "30.0%"),
        ({"channels": (ChannelSummary("T1", non_finite=0.001, high=1.0),)}, "not-finite", "note", "NaN"),
        ({"channels": (ChannelSummary("T1", low=7.0, high=7.0),)}, "constant", "error", "7"),
        ({"channels": (ChannelSummary("PET", high=1.0, cover=0.0),)}, "geometry", "error", "outside"),
        ({"channels": (ChannelSummary("PET", high=1.0, cover=0.6),)}, "geometry", "warning", "60%"),
    ],
)
def test_what_is_wrong_with_one_case_is_told(changes, code, severity, words) -> None:
    finding = found(check_case(summary(1, **changes)))[code]
    assert finding.severity == severity
    assert finding.case == "case1"
    assert words in finding.message
    assert severity == "note" or finding.remedy


def test_ten_voxels_are_enough() -> None:
    assert not list(check_case(summary(1, label_voxels={"liver": 10})))


def test_an_unlabelled_case_of_files_is_a_warning() -> None:
    (finding,) = check_case(summary(1, label_voxels={"liver": 0}), empty="warning")
    assert (finding.code, finding.severity) == ("empty-segmentation", "warning")


def test_one_case_one_patient_or_none_cannot_be_trained() -> None:
    assert found(check_together([]))["no-case"].severity == "error"
    assert found(check_together([summary(1)]))["one-case"].severity == "error"
    same = [summary(n, patient="p", source="s") for n in range(3)]
    assert found(check_together(same))["one-patient"].severity == "error"


def test_equal_voxels_of_two_patients_are_an_error_and_of_one_a_warning() -> None:
    cases = [summary(0), summary(1), summary(2, digest="voxels0")]
    finding = found(check_together(cases))["duplicate"]
    assert (finding.case, finding.severity) == ("case2", "error")
    assert "case0" in finding.message
    cases[2] = replace(cases[2], patient="patient0", source="scene0.mrb")
    assert found(check_together(cases))["duplicate"].severity == "warning"


def test_two_patients_with_one_name_are_told() -> None:
    cases = [summary(0, patient_name="Doe"), summary(1, patient_name="doe "), summary(2)]
    finding = found(check_together(cases))["patient-name"]
    assert "patient0" in finding.message
    assert "patient1" in finding.message
    scenes = [summary(0, patient="Doe"), summary(1, patient="Doe"), summary(2)]
    assert "2 scenes" in found(check_together(scenes))["patient-name"].message


def test_an_outlier_of_intensity_is_found_whatever_the_scale() -> None:
    cases = [summary(n) for n in range(9)]
    other = ChannelSummary("T1", "MR", (900.0, 4000.0, 9000.0), 0.0, 1e4)
    cases[4] = replace(cases[4], channels=(other,))
    findings = [f for f in check_together(cases) if f.code == "intensity"]
    assert [f.case for f in findings] == ["case4"]
    # Scanners that differ by any factor, each as often: nothing stands out.
    scaled = [
        replace(c, channels=(replace(c.channels[0], percentiles=tuple(p * 4.0**n for p in c.channels[0].percentiles)),))
        for n, c in enumerate([summary(n) for n in range(9)])
    ]
    assert not [f for f in check_together(scaled) if f.code == "intensity"]


def test_imbalance_rare_and_never_drawn_labels() -> None:
    cases = [summary(n, label_voxels={"liver": 2_000_000, "stone": 40, "cyst": 0}) for n in range(3)]
    cases[1] = replace(cases[1], label_voxels={"liver": 10**6, "stone": 40, "cyst": 0, "clip": 3000})
    codes = {(f.code, f.message.split("'")[1]) for f in check_together(cases)}
    assert ("never-drawn", "cyst") in codes
    assert ("rare-label", "clip") in codes
    assert any(f.code == "imbalance" and "'stone'" in f.message for f in check_together(cases))


def test_cases_must_have_the_same_volumes() -> None:
    two = (*summary(0).channels, ChannelSummary("PET", "PT", high=1.0))
    cases = [summary(n, channels=two) for n in range(3)] + [summary(3)]
    assert [f.case for f in check_together(cases) if f.code == "channels"] == ["case3"]
    cases[3] = replace(cases[0], name="case3", patient="p3", source="", digest="d", channels=two[::-1])
    swapped = [f for f in check_together(cases) if f.code == "channels"]
    assert {f.case for f in swapped} == {"case3"}


def test_a_spacing_that_is_far_off_is_told() -> None:
    cases = [summary(n) for n in range(4)] + [summary(4, spacing_mm=(1.0, 3.0, 10.0))]
    assert [f.case for f in check_together(cases) if f.code == "geometry"] == ["case4"]


def test_folds_with_a_patient_on_both_sides_are_errors() -> None:
    patients = {"a": "1", "b": "1", "c": "2"}
    assert check_splits([(["a", "b"], ["c"])], patients) == []
    codes = [f.code for f in check_splits([(["a"], ["b", "c"]), (["a", "x"], [])], patients)]
    assert codes == ["fold-leak", "fold-unknown", "fold-empty"]


def test_the_summary_of_a_channel_leaves_nan_out() -> None:
    voxels = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    voxels[0, 0, :5] = np.nan
    channel = summarize_channel("T1", "MR", voxels)
    assert channel.non_finite == pytest.approx(0.005)
    assert (channel.low, channel.high) == (5.0, 999.0)
    assert channel.percentiles[1] == pytest.approx(502.0)
    assert summarize_channel("T1", "MR", np.full((2, 2, 2), np.nan)).non_finite == 1.0


def test_the_report_lists_errors_first() -> None:
    report = report_of(
        [Finding("b", "note", "x", ""), Finding("a", "warning", "y", ""), Finding("c", "error", "z", "")]
    )
    assert [f.severity for f in report.findings] == ["error", "warning", "note"]
    assert report.bad_cases == {"c"}
    assert report.of_case("a")[0].code == "y"

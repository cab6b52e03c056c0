"""Label schemes and Slicer's terminology entries."""

from __future__ import annotations

import pytest

from medai.errors import ConfigError, InputError
from medai.labels import Code, Label, LabelScheme, Terminology, distinct_color, mirrored_classes, unnamed_scheme

TISSUE = Code("SCT", "85756007", "Tissue")
LIVER = Code("SCT", "10200004", "Liver")


def test_terminology_in_slicers_words():
    text = Terminology(TISSUE, LIVER, region=Code("SCT", "818983003", "Abdomen")).to_slicer()
    assert text == (
        "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^10200004^Liver~^^"
        "~Anatomic codes - DICOM master list~SCT^818983003^Abdomen~^^"
    )


@pytest.mark.parametrize(
    "terminology",
    [
        Terminology(TISSUE, LIVER),
        Terminology(TISSUE, LIVER, Code("SCT", "7771000", "Left")),
        Terminology(TISSUE, LIVER, None, Code("SCT", "1", "a"), Code("SCT", "2", "b")),
    ],
)
def test_terminology_comes_back(terminology):
    assert Terminology.from_slicer(terminology.to_slicer()) == terminology


@pytest.mark.parametrize("text", ["", "~~~~~~", "a~b", "x~^^~SCT^1^a~^^~y~^^~^^", "x~SCT^1^a~SCT^1~^^~y~^^~^^"])
def test_texts_without_category_and_type_are_none(text):
    assert Terminology.from_slicer(text) is None


def test_codes():
    assert Code.from_slicer("SCT^1^a") == Code("SCT", "1", "a")
    assert Code.from_slicer("^^") is None
    assert Code.from_slicer("SCT^1") is None


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ((0, "a", (0, 0, 0)), "has the value 0"),
        ((-1, "a", (0, 0, 0)), "has the value -1"),
        ((65536, "a", (0, 0, 0)), "has the value 65536"),
        ((1, "  ", (0, 0, 0)), "has no name"),
        ((1, "a", (0, 0, 1.01)), "has the colour"),
        ((1, "a", (0, 0)), "has the colour"),
        ((1, "a", (0, 0, float("nan"))), "has the colour"),
    ],
)
def test_impossible_labels(label, message):
    with pytest.raises(ConfigError, match=message):
        Label(*label)


def test_values_and_names_are_unique():
    with pytest.raises(ConfigError, match=r"same value: \[1\]"):
        LabelScheme((Label(1, "a", (0, 0, 0)), Label(1, "b", (0, 0, 0))))
    with pytest.raises(ConfigError, match=r"same name: \['a'\]"):
        LabelScheme((Label(1, "a", (0, 0, 0)), Label(2, "a", (0, 0, 0))))


def test_finding_labels(two_labels):
    assert two_labels.names == ("liver", "spleen")
    assert two_labels.values == (1, 2)
    assert len(two_labels) == 2
    assert [label.value for label in two_labels] == [1, 2]
    assert two_labels.by_value(2).name == "spleen"
    assert two_labels.by_name(" LIVER ").value == 1
    with pytest.raises(InputError, match="no label 'heart'") as caught:
        two_labels.by_name("heart")
    assert "liver, spleen" in caught.value.remedy
    with pytest.raises(InputError, match="value 3"):
        two_labels.by_value(3)


def test_names_that_differ_in_case_are_found_exactly_first():
    scheme = LabelScheme((Label(1, "Node", (0, 0, 0)), Label(2, "node", (0, 0, 0))))
    assert scheme.by_name("node").value == 2
    assert scheme.by_name("Node").value == 1
    assert scheme.by_name("NODE").value == 1


def test_subsets_keep_the_order_of_the_scheme(two_labels):
    assert two_labels.subset(["spleen", "liver"]) == two_labels
    assert two_labels.subset(["Spleen"]).values == (2,)
    with pytest.raises(InputError, match="'heart'"):
        two_labels.subset(["liver", "heart"])


def test_unnamed_schemes():
    scheme = unnamed_scheme([7, 0, 3, 7])
    assert scheme.names == ("label_3", "label_7")
    assert scheme.labels[0].color != scheme.labels[1].color
    assert len({distinct_color(n) for n in range(20)}) == 20
    assert distinct_color(20) == distinct_color(0)


def test_left_and_right_are_partners_by_their_codes():
    left, right = Code("SCT", "7771000", "Left"), Code("SCT", "24028007", "Right")
    kidney = Code("SCT", "64033007", "Kidney")

    def label(value, kind, side=None, region_side=None):
        region = Code("SCT", "818981001", "Abdomen") if region_side else None
        return Label(value, f"label {value}", (1.0, 0.0, 0.0), Terminology(TISSUE, kind, side, region, region_side))

    sided = [label(4, kidney, right), label(1, LIVER), label(2, kidney, left)]
    assert mirrored_classes(sided) == (0, 3, 2, 1)
    assert mirrored_classes([label(1, kidney, region_side=left), label(2, kidney, region_side=right)]) == (0, 2, 1)
    assert mirrored_classes(sided[:2]) is None  # a right kidney alone
    assert mirrored_classes([Label(1, "a", (0.0, 0.0, 0.0)), label(2, LIVER)]) == (0, 1, 2)
    assert mirrored_classes([]) == (0,)

"""What the values of a label map mean: names, colours and SNOMED terminology."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medai.errors import ConfigError, InputError

# The context names only tell Slicer which term list to offer; the codes alone carry the meaning.
CATEGORY_CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
REGION_CONTEXT = "Anatomic codes - DICOM master list"


@dataclass(frozen=True)
class Code:
    """A coded term as DICOM writes it: scheme (SCT for SNOMED CT), value, meaning."""

    scheme: str
    value: str
    meaning: str

    def to_slicer(self) -> str:
        """``scheme^value^meaning``."""
        return f"{self.scheme}^{self.value}^{self.meaning}"

    @classmethod
    def from_slicer(cls, text: str) -> Code | None:
        """Parse ``scheme^value^meaning``; an empty triple gives None."""
        parts = text.split("^")
        if len(parts) != 3 or not any(parts):
            return None
        return cls(*parts)


@dataclass(frozen=True)
class Terminology:
    """What a segment is, in DICOM's five coded terms: category, type with modifier, anatomic region with modifier."""

    category: Code
    type: Code
    type_modifier: Code | None = None
    region: Code | None = None
    region_modifier: Code | None = None

    def to_slicer(self) -> str:
        """Slicer's terminology entry: seven parts between ``~``."""

        def part(code: Code | None) -> str:
            return code.to_slicer() if code else "^^"

        return "~".join(
            [
                CATEGORY_CONTEXT,
                part(self.category),
                part(self.type),
                part(self.type_modifier),
                REGION_CONTEXT,
                part(self.region),
                part(self.region_modifier),
            ]
        )

    @classmethod
    def from_slicer(cls, text: str) -> Terminology | None:
        """Parse Slicer's terminology entry; None where it names no category and type."""
        parts = text.split("~")
        if len(parts) != 7:
            return None
        category, kind = Code.from_slicer(parts[1]), Code.from_slicer(parts[2])
        if category is None or kind is None:
            return None
        return cls(category, kind, Code.from_slicer(parts[3]), Code.from_slicer(parts[5]), Code.from_slicer(parts[6]))


@dataclass(frozen=True)
class Label:
    """One structure: the integer `value` in label maps, its `name`, display `color` (r, g, b in 0..1), its codes."""

    value: int
    name: str
    color: tuple[float, float, float]
    terminology: Terminology | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.value <= 65535:
            raise ConfigError(
                f"Label '{self.name}' has the value {self.value}.", "Use 1 to 65535; 0 is the background."
            )
        if not self.name.strip():
            raise ConfigError(f"The label with value {self.value} has no name.", "Name it.")
        if len(self.color) != 3 or not all(0.0 <= c <= 1.0 for c in self.color):
            raise ConfigError(f"Label '{self.name}' has the colour {self.color}.", "Give r, g, b between 0 and 1.")


@dataclass(frozen=True)
class LabelScheme:
    """The labels of a label map, each value and each name once. The background (0) is not in it."""

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        for what, items in (("value", self.values), ("name", self.names)):
            doubled = sorted({item for item in items if items.count(item) > 1}, key=str)
            if doubled:
                raise ConfigError(f"Several labels have the same {what}: {doubled}.", f"Give each its own {what}.")

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def values(self) -> tuple[int, ...]:
        """The label values, in the scheme's order."""
        return tuple(label.value for label in self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        """The label names, in the scheme's order."""
        return tuple(label.name for label in self.labels)

    def by_value(self, value: int) -> Label:
        """The label of this value; InputError where there is none."""
        for label in self.labels:
            if label.value == value:
                return label
        raise InputError(f"There is no label with the value {value}.", f"The values are {list(self.values)}.")

    def by_name(self, name: str) -> Label:
        """The label of this name (upper and lower case alike); InputError where there is none."""
        # An exact match first: a file's scheme may hold names that differ in nothing but case.
        for same in (str.strip, lambda text: text.strip().casefold()):
            for label in self.labels:
                if same(label.name) == same(name):
                    return label
        raise InputError(f"There is no label '{name}'.", f"The labels are: {', '.join(self.names)}.")

    def subset(self, names: Sequence[str]) -> LabelScheme:
        """Only the labels of these names, in the scheme's order; InputError for an unknown name."""
        wanted = {self.by_name(name).value for name in names}
        return LabelScheme(tuple(label for label in self.labels if label.value in wanted))


_OTHER_SIDE = {"7771000": "24028007", "24028007": "7771000"}  # SNOMED CT: left, right


def mirrored_classes(labels: Sequence[Label]) -> tuple[int, ...] | None:
    """For each class of a network (0: background, n: the n-th label) that of the same structure on the other side.

    Sides are told by the codes; a structure without a side is its own. None where a left structure has no right
    partner, or the other way round: an image that is mirrored from left to right then shows what has no class.
    """
    place = {_coded(label): n for n, label in enumerate(labels, start=1) if label.terminology is not None}
    classes = [0]
    for n, label in enumerate(labels, start=1):
        coded = _coded(label)
        if coded is None or not set(coded[-2:]) & set(_OTHER_SIDE):
            classes.append(n)
            continue
        partner = place.get((*coded[:-2], *(_OTHER_SIDE.get(side, side) for side in coded[-2:])))
        if partner is None:
            return None
        classes.append(partner)
    return tuple(classes)


def _coded(label: Label) -> tuple[str, ...] | None:
    """Codes of type and region, then their modifiers; "" for what is not given."""
    if label.terminology is None:
        return None
    t = label.terminology
    return tuple("" if code is None else code.value for code in (t.type, t.region, t.type_modifier, t.region_modifier))


# Well-spread hues for label maps without colours of their own (Trubetskoy's list of distinct colours, 2017).
_DISTINCT = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240),
    (240, 50, 230), (210, 245, 60), (250, 190, 212), (0, 128, 128), (220, 190, 255), (170, 110, 40), (255, 250, 200),
    (128, 0, 0), (170, 255, 195), (128, 128, 0), (255, 215, 180), (0, 0, 128), (128, 128, 128),
)  # fmt: skip


def distinct_color(index: int) -> tuple[float, float, float]:
    """A display colour (r, g, b in 0..1) for the `index`-th label of a scheme that brings none; repeats after 20."""
    r, g, b = _DISTINCT[index % len(_DISTINCT)]
    return r / 255, g / 255, b / 255


def unnamed_scheme(values: Sequence[int]) -> LabelScheme:
    """A scheme for a label map that only has values: names ``label_<value>``, distinct colours."""
    ordered = sorted({int(value) for value in values} - {0})
    return LabelScheme(tuple(Label(v, f"label_{v}", distinct_color(n)) for n, v in enumerate(ordered)))

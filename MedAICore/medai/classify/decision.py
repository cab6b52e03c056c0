"""From calibrated probabilities to the class that is named."""

from __future__ import annotations

from collections.abc import Mapping

from medai.config.model_card import ModelCard


def positive_class(card: ModelCard) -> str:
    """The class that a two-class model looks for: the one that has a threshold, else the last one."""
    known = [spec.name for spec in card.classes]
    named = [name for name in known if card.calibration is not None and name in card.calibration.thresholds]
    return named[0] if named else known[-1]


def threshold(card: ModelCard) -> float:
    """The probability from which a two-class model names its positive class."""
    if card.calibration is None:
        return 0.5
    return card.calibration.thresholds.get(positive_class(card), 0.5)


def decide(card: ModelCard, probabilities: Mapping[str, float]) -> str:
    """The predicted class: of two classes by the positive one's threshold, of more the most probable one."""
    names = [spec.name for spec in card.classes]
    if len(names) > 2:
        return max(names, key=lambda name: probabilities[name])
    positive = positive_class(card)
    negative = names[1 - names.index(positive)]
    return positive if probabilities[positive] >= threshold(card) else negative

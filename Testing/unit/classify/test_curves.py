"""ROC and reliability curves: known cases, and the area under the thinned curve."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medai.classify.curves import curves


def two_classes(count, seed=0, strength=1.5):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    p = 1 / (1 + np.exp(-(generator.normal(0, 1, count) + strength * (2 * labels - 1))))
    return np.c_[1 - p, p], labels


def test_perfect_and_inverted_scores():
    labels = np.array([0, 0, 1, 1])
    p = np.array([0.1, 0.2, 0.8, 0.9])
    (curve,) = curves(np.c_[1 - p, p], labels, ("no", "yes"), "yes")["roc"]
    assert curve["class"] == "yes"
    assert (curve["false_positive_rate"], curve["true_positive_rate"]) == ([0.0, 0.0, 1.0], [0.0, 1.0, 1.0])
    assert curve["auc"] == 1.0
    (curve,) = curves(np.c_[p, 1 - p], labels, ("no", "yes"), "yes")["roc"]
    assert curve["auc"] == 0.0


def test_thinned_curve_has_the_area_of_all_cases():
    probabilities, labels = two_classes(4000)
    (curve,) = curves(probabilities, labels, ("no", "yes"), "yes")["roc"]
    x, y = np.array(curve["false_positive_rate"]), np.array(curve["true_positive_rate"])
    assert len(x) <= 101
    assert (x[0], y[0], x[-1], y[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert (np.diff(x) >= 0).all()
    assert np.trapezoid(y, x) == pytest.approx(curve["auc"], abs=0.005)


def test_reliability_of_a_calibrated_model_is_the_diagonal():
    generator = np.random.default_rng(1)
    p = generator.uniform(0, 1, 20_000)
    labels = (generator.uniform(0, 1, p.size) < p).astype(int)
    found = curves(np.c_[1 - p, p], labels, ("no", "yes"), "yes")["reliability"]
    assert sum(found["cases"]) == p.size
    np.testing.assert_allclose(found["confidence"], found["accuracy"], atol=0.05)


def test_of_several_classes_each_that_has_cases_gets_a_curve():
    generator = np.random.default_rng(2)
    probabilities = generator.dirichlet((1, 1, 1, 1), 60)
    labels = generator.integers(0, 3, 60)  # the last class does not occur
    report = curves(probabilities, labels, ("a", "b", "c", "d"), None)
    assert [curve["class"] for curve in report["roc"]] == ["a", "b", "c"]
    assert json.loads(json.dumps(report)) == report
    assert curves(probabilities[:5], np.zeros(5, int), ("a", "b", "c", "d"), None)["roc"] == []

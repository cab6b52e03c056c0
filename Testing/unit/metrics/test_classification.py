"""Figures of a classifier against values worked out by hand, and calibration on data with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from medai.errors import DatasetError
from medai.metrics import classification as figures
from medai.metrics.calibration import choose_threshold, cross_fitted, fit_temperature, softmax


def test_auc_by_hand_with_a_tie() -> None:
    # Pairs (positive, negative): 0.9 beats both, 0.4 ties with 0.4 and beats 0.1: (2 + 1.5) / 4.
    assert figures.auc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([1, 1, 0, 0])) == pytest.approx(3.5 / 4)
    assert np.isnan(figures.auc(np.array([0.1, 0.2]), np.array([1, 1])))


def test_auc_is_mann_whitney_s_u() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.normal(size=200).round(1), rng.random(200) < 0.3
    u = scipy.stats.mannwhitneyu(scores[positive], scores[~positive]).statistic
    assert figures.auc(scores, positive) == pytest.approx(u / (positive.sum() * (~positive).sum()))


def test_macro_auc_is_the_mean_of_one_against_the_rest() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4], [0.1, 0.6, 0.3]])
    labels = np.array([0, 1, 2, 2])
    parts = [figures.auc(p[:, c], labels == c) for c in range(3)]
    assert figures.macro_auc(p, labels) == pytest.approx(np.mean(parts))


def test_roc_curve_area_is_the_auc() -> None:
    rng = np.random.default_rng(1)
    scores, positive = rng.random(60).round(1), rng.random(60) < 0.5
    fpr, tpr, _ = figures.roc_curve(scores, positive)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(tpr, fpr) == pytest.approx(figures.auc(scores, positive))


def test_confusion_recall_and_f1() -> None:
    confusion = figures.confusion_matrix(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 0]), 2)
    assert confusion.tolist() == [[2, 1], [1, 1]]
    np.testing.assert_allclose(figures.recalls(confusion), [2 / 3, 1 / 2])
    assert figures.f1_score(confusion, 1) == pytest.approx(2 * 1 / (2 + 1 + 1))


def test_brier_of_two_and_of_three_classes() -> None:
    p = np.array([[0.8, 0.2], [0.4, 0.6]])
    assert figures.brier_score(p, np.array([0, 1])) == pytest.approx((0.2**2 + 0.4**2) / 2)
    q = np.array([[0.5, 0.3, 0.2]])
    assert figures.brier_score(q, np.array([0])) == pytest.approx(0.25 + 0.09 + 0.04)


def test_calibration_error_by_hand() -> None:
    # Two bins: three cases of 0.9 with two right, one of 0.62 that is wrong.
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.38, 0.62]])
    labels = np.array([0, 0, 1, 0])
    assert figures.calibration_error(p, labels) == pytest.approx(3 / 4 * abs(2 / 3 - 0.9) + 1 / 4 * 0.62)


def test_a_perfect_model_stays_below_its_own_limit() -> None:
    rng = np.random.default_rng(4)
    top = rng.uniform(0.5, 1.0, 300)
    p = np.c_[top, 1 - top]
    limit = figures.perfect_calibration_limit(p, draws=300)
    right = (rng.random(300) > top).astype(int)
    wrong = (rng.random(300) > 0.5).astype(int)
    assert figures.calibration_error(p, right) <= limit < figures.calibration_error(p, wrong)


def test_bootstrap_is_stratified_and_repeatable() -> None:
    labels = np.array([0] * 30 + [1] * 10)
    shares = figures.bootstrap(labels, lambda rows: float(labels[rows].mean()), resamples=50)
    assert shares.ci95 == (0.25, 0.25)  # every resample keeps the classes' numbers
    noise = np.random.default_rng(0).random(40)
    first, second = (figures.bootstrap(labels, lambda rows: float(noise[rows].mean()), 200) for _ in range(2))
    assert first == second
    assert first.ci95[0] < first.value < first.ci95[1]


def test_labels_that_are_no_class_are_refused() -> None:
    with pytest.raises(DatasetError, match="2 classes"):
        figures.check_labels(np.array([0, 3]), 2)
    with pytest.raises(DatasetError, match="no case"):
        figures.check_labels(np.array([], dtype=int), 2)


def overconfident(n: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    z = rng.normal(0, 1.5, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(int)
    return np.c_[np.zeros(n), z * factor], labels


def test_the_temperature_undoes_overconfidence() -> None:
    logits, labels = overconfident(4000, 3.0)
    assert fit_temperature(logits, labels) == pytest.approx(3.0, rel=0.1)
    parts = [list(range(start, 4000, 5)) for start in range(5)]
    better = cross_fitted(logits, labels, parts)
    assert figures.calibration_error(better, labels) < 0.3 * figures.calibration_error(softmax(logits), labels)
    assert figures.brier_score(better, labels) < figures.brier_score(softmax(logits), labels)


def test_cross_fitting_does_not_see_the_part_itself() -> None:
    logits, labels = overconfident(400, 2.0)
    parts = [list(range(200)), list(range(200, 400))]
    changed = labels.copy()
    changed[:200] = 1 - changed[:200]
    np.testing.assert_array_equal(cross_fitted(logits, labels, parts)[:200], cross_fitted(logits, changed, parts)[:200])


def test_the_threshold_lies_in_the_gap_between_the_classes() -> None:
    p = np.array([0.05, 0.1, 0.2, 0.7, 0.8, 0.9])
    positive = np.array([0, 0, 0, 1, 1, 1])
    assert 0.2 < choose_threshold(p, positive) < 0.7


def test_rules_for_the_threshold() -> None:
    rng = np.random.default_rng(6)
    positive = rng.random(2000) < 0.8
    z = rng.normal(np.where(positive, 1.5, -1.5), 1.0)
    p = 1 / (1 + np.exp(-(3 * z + np.log(4))))
    balanced, specific = choose_threshold(p, positive), choose_threshold(p, positive, "specific")
    assert balanced == pytest.approx(0.8, abs=0.15)  # the share of the positives, where both errors weigh alike
    assert specific > balanced
    assert choose_threshold(p, positive, "accuracy") < balanced

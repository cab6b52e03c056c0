"""Simulated clicks and the figures that are made of them."""

from __future__ import annotations

import numpy as np
import pytest
from unit.click.phantoms import dice, phantom

from medai.click import benchmark
from medai.click.simulation import deepest, next_click
from medai.errors import GeometryError, InputError
from medai.image import Image


def test_the_first_click_is_the_deepest_point_in_mm():
    truth = np.zeros((20, 30, 40), bool)
    truth[2:7, 3:28, 4:24] = True
    truth[10:19, 10:13, 30:33] = True
    click = next_click(truth, np.zeros_like(truth), (5.0, 1.0, 1.0))
    assert click.positive
    assert click.voxel[0] in range(2, 7)
    _, j, i = click.voxel
    assert 10 <= j <= 20
    assert i in (13, 14)
    assert deepest(truth[2:7, 3:28, 4:24], (1.0, 9.0, 9.0))[0] == 2


def test_later_clicks_go_into_the_largest_error():
    truth = np.zeros((20, 30, 40), bool)
    truth[5:15, 5:15, 5:15] = True
    mask = truth.copy()
    mask[5:7, 5:15, 5:15] = False
    mask[5:15, 18:27, 20:30] = True
    click = next_click(truth, mask, (1.0, 1.0, 1.0))
    assert not click.positive
    assert click.voxel[1] in range(18, 27)
    assert next_click(truth, truth, (1.0, 1.0, 1.0)) is None


def test_report_of_the_benchmark():
    image, first, second = phantom(noise=8.0)
    labels = np.zeros(image.shape, np.uint16)
    labels[first], labels[second] = 300, 7
    labels[0, 0, :20] = 9  # too small to count
    report = benchmark.run(image, Image(labels[None], image.ijk_to_ras), None, clicks=5, peers=True)
    assert [entry["label"] for entry in report["objects"]] == [7, 300]
    assert report["objects"][1]["voxels"] == first.sum()
    for entry in report["objects"]:
        assert set(entry["dice"]) == set(entry["nsd2mm"]) == {"1", "3", "5"}
        assert entry["dice"]["5"] > 0.85
        assert entry["clicks_to"]["0.80"] <= 3
        assert 0 < entry["dice_auc5"] <= 4.0
        assert entry["seconds_p95"] >= entry["seconds_median"] > 0
        # Without a model ours is grow-cut: as a peer it must do the same on the same clicks.
        assert entry["peers"]["grow-cut"]["dice"] == entry["dice"]
        assert entry["peers"]["confidence-connected"]["dice"]["1"] > 0.7
        assert entry["peers"]["fast-marching"]["dice"]["5"] > 0.5
    mean = report["mean"]["dice"]["1"]
    assert mean == pytest.approx(np.mean([entry["dice"]["1"] for entry in report["objects"]]), abs=1e-3)
    assert report["engine"] == "grow-cut"


def test_figures_of_a_known_course():
    course = benchmark._Results(np.ones((2, 2, 2), bool), (1.0, 1.0, 1.0))
    course.dice = [0.5, 0.7, 0.81, 0.86, 0.91]
    course.nsd = [0.1, 0.2, 0.3, 0.4, 0.5]
    course.seconds = [0.1, 0.1, 0.3, 0.1, 0.1]
    figures = benchmark._figures(course, 10)
    assert figures["dice"] == {"1": 0.5, "3": 0.81, "5": 0.91, "10": 0.91}
    assert figures["clicks_to"] == {"0.80": 3, "0.85": 4, "0.90": 5}
    assert figures["dice_auc5"] == pytest.approx(0.25 + 0.7 + 0.81 + 0.86 + 0.455)
    assert figures["seconds_median"] == 0.1
    mean = benchmark._mean([figures, {**figures, "clicks_to": {"0.80": None, "0.85": None, "0.90": None}}], 10)
    assert mean["clicks_to"]["0.80"] == 7.0


def test_what_cannot_be_measured():
    image, first, _ = phantom()
    labels = Image(first[None].astype(np.uint8), image.ijk_to_ras)
    moved = Image(labels.array, image.ijk_to_ras @ np.diag([1, 1, 1.2, 1]), "moved")
    with pytest.raises(GeometryError, match="moved"):
        benchmark.run(image, moved, None)
    with pytest.raises(InputError, match="no label of 50 voxels"):
        benchmark.run(image, labels.with_array(np.zeros_like(labels.array)), None)
    with pytest.raises(InputError, match="0 clicks"):
        benchmark.run(image, labels, None, clicks=0)
    assert dice(first, first) == 1

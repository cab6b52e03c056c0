"""Which engine a run gets, and that it changes no label."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from medai.config.segment import SegmentConfig
from medai.image import Image
from medai.inference import openvino_engine
from medai.inference.conversion import ConversionError, convert
from medai.segment import engines, run


@pytest.fixture
def picture(sphere_label_map) -> Image:
    array = np.array([0.0, 0.5, 1.0], np.float32)[sphere_label_map.array]
    return Image(array, sphere_label_map.ijk_to_ras, "balls")


@pytest.fixture
def always_worthwhile(monkeypatch, tmp_path):
    """OpenVINO for runs of any length, converted in this process, its cache in the test's folder."""
    in_this_process = functools.partial(openvino_engine.OpenVinoPredictor, convert=convert)
    monkeypatch.setattr(engines, "OpenVinoPredictor", in_this_process)
    monkeypatch.setattr(engines, "WORTHWHILE_FLOPS", 0.0)
    monkeypatch.setattr(engines, "engine_cache_folder", lambda: tmp_path / "engines")
    return tmp_path / "engines"


def test_a_short_run_is_eager(make_model, picture):
    assert run(SegmentConfig(), [picture], make_model(picture.spacing_mm)).engine == "cpu-eager"


def test_openvino_gives_the_same_labels_and_stays_warm(make_model, picture, sphere_label_map, always_worthwhile):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    model = make_model(picture.spacing_mm)
    result = run(SegmentConfig(), [picture], model)
    assert result.engine == "cpu-openvino"
    assert np.array_equal(result.label_map.array, sphere_label_map.array)
    assert list(always_worthwhile.glob("*/model.xml"))
    (warm,) = model.engines.values()
    run(SegmentConfig(), [picture], model)
    assert list(model.engines.values()) == [warm]


def test_a_network_that_openvino_cannot_run_is_computed_eagerly(
    make_model, picture, sphere_label_map, always_worthwhile, monkeypatch
):
    def fail(*_arguments):
        raise ConversionError("unknown layer")

    monkeypatch.setattr(engines, "OpenVinoPredictor", fail)
    monkeypatch.setattr(engines, "is_available", lambda: True)
    result = run(SegmentConfig(), [picture], make_model(picture.spacing_mm))
    assert result.engine == "cpu-eager"
    assert np.array_equal(result.label_map.array, sphere_label_map.array)


def test_without_openvino_nothing_is_missing(make_model, picture, always_worthwhile, monkeypatch):
    monkeypatch.setattr(engines, "is_available", lambda: False)
    result = run(SegmentConfig(), [picture], make_model(picture.spacing_mm))
    assert (result.engine, result.warnings) == ("cpu-eager", ())

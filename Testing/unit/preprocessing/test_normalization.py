"""Each normalisation against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from medai.config.model_card import Normalization
from medai.errors import ConfigError
from medai.preprocessing import NORMALIZATIONS, fit_normalization, normalize

DATA = np.random.default_rng(2).normal(300, 70, (11, 13, 17)).astype(np.int16)


def test_zscore():
    result = normalize(Normalization("zscore"), DATA)
    assert result.dtype == np.float32
    assert np.allclose(result, (DATA - DATA.mean()) / DATA.std(), atol=1e-5)


def test_zscore_of_nonzero_voxels_only():
    data = DATA.copy()
    data[:5] = 0
    result = normalize(Normalization("zscore", nonzero_only=True), data)
    inside = data[data != 0]
    assert (result[data == 0] == 0).all()
    assert np.allclose(result[data != 0], (inside - inside.mean()) / inside.std(), atol=1e-5)


def test_percentile_clips_and_scales():
    result = normalize(Normalization("percentile", low=5, high=90), DATA)
    low, high = np.percentile(DATA, (5, 90))
    assert (result.min(), result.max()) == (0, 1)
    assert np.allclose(result, (DATA.clip(low, high) - low) / (high - low), atol=1e-5)


def test_ct_window_with_and_without_statistics():
    spec = Normalization("ct_window", low=200, high=400)
    assert np.allclose(normalize(spec, DATA), (DATA.clip(200, 400) - 200) / 200, atol=1e-5)
    spec = Normalization("ct_window", low=200, high=400, mean=310, std=50)
    assert np.allclose(normalize(spec, DATA), (DATA.clip(200, 400) - 310) / 50, atol=1e-5)
    with pytest.raises(ConfigError, match="CT window"):
        normalize(Normalization("ct_window", low=400, high=200), DATA)


def test_minmax_and_none():
    result = normalize(Normalization("minmax"), DATA)
    assert (result.min(), result.max()) == (0, 1)
    assert np.array_equal(normalize(Normalization("none"), DATA), DATA)


@pytest.mark.parametrize("name", sorted(NORMALIZATIONS))
def test_a_constant_image_stays_finite(name):
    spec = Normalization(name, low=0.0, high=100.0) if name == "ct_window" else Normalization(name)
    for value in (0, 37):
        assert np.isfinite(normalize(spec, np.full((3, 4, 5), value, np.int16))).all()


def test_the_ct_window_is_fitted_to_the_foreground_of_all_cases():
    cases = [DATA.ravel()[:1000], DATA.ravel()[1000:1500]]
    fitted = fit_normalization(Normalization("ct_window"), cases)
    values = np.concatenate(cases)
    assert fitted.low == pytest.approx(np.percentile(values, 0.5))
    assert fitted.high == pytest.approx(np.percentile(values, 99.5))
    assert fitted.mean == pytest.approx(values.mean())
    assert fitted.std == pytest.approx(values.std())
    assert fit_normalization(Normalization("zscore"), cases) == Normalization("zscore")
    with pytest.raises(ConfigError, match="no labelled voxel"):
        fit_normalization(Normalization("ct_window"), [np.empty(0)])

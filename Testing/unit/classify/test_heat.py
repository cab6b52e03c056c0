"""Heat maps on the image's grid: where they lie, in slabs as in one piece, and the progress of slow methods."""

from __future__ import annotations

import numpy as np
import pytest
from classification_phantoms import ball_image, write_ball_model
from conftest import oblique_matrix

from medai import classify
from medai.classify import heat
from medai.config.classify import ClassifyConfig
from medai.image import Image
from medai.models import open_model


def blob(shape, center):
    index = np.indices(shape)
    squares = sum((axis - c) ** 2 for axis, c in zip(index, center, strict=True))
    return np.exp(-squares / 8.0).astype(np.float32)


@pytest.mark.parametrize("slab", [1, 1000, 1 << 20])
def test_map_lies_where_its_voxels_are_however_it_is_cut(slab, monkeypatch):
    monkeypatch.setattr(heat, "_SLAB_VOXELS", slab)
    target = Image(np.zeros((1, 21, 33, 29), np.float32), oblique_matrix((1.0, 1.0, 1.0)))
    fine = oblique_matrix((0.5, 0.5, 0.5), angles=(0.1, 0.2, -0.3), origin=(0.0, 0.0, 0.0))
    middle = target.ijk_to_ras @ np.array([14.2, 16.3, 10.4, 1.0])
    fine[:3, 3] = (middle - fine @ np.array([22, 18, 20, 0.0]))[:3]
    source = blob((40, 40, 40), (20, 18, 22))
    heat.lay_over(target, source, fine)
    hottest = np.unravel_index(target.array[0].argmax(), target.shape)
    place = target.ijk_to_ras @ np.array([*hottest[::-1], 1.0])
    expected = fine @ np.array([22, 18, 20, 1.0])
    assert np.linalg.norm(place - expected) < 1.0
    # In one piece, by the definition: linear between the centres, nothing outside of the voxels.
    index = np.moveaxis(np.indices(target.shape), 0, -1).reshape(-1, 3)[:, ::-1]
    ijk = (np.c_[index, np.ones(len(index))] @ (np.linalg.inv(fine) @ target.ijk_to_ras).T)[:, :3]
    outside = ((ijk < -0.5) | (ijk > 39.5)).any(axis=1)
    assert target.array[0].ravel()[outside].max() == 0.0
    exact = np.exp(-((ijk - (22, 18, 20)) ** 2).sum(axis=1) / 8.0)
    assert np.abs(target.array[0].ravel() - np.where(outside, 0.0, exact)).max() < 0.1


def test_slow_explanations_report_progress(tmp_path):
    model = classify.load_model(open_model(write_ball_model(tmp_path / "balls.medai", anomaly=False)), "cpu")
    image, mask = ball_image(31)
    seen = []
    config = ClassifyConfig("cpu", explain="occlusion")
    found = classify.run(config, [image], model, progress=lambda p: seen.append(p.fraction))
    assert seen == sorted(seen)
    assert len({fraction for fraction in seen if 0 < fraction < 1}) > 3
    assert found.heat_map.array[0][mask].mean() > 2 * found.heat_map.array[0][~mask].mean()

"""The classifiers that come with MedAI: size, licence, and that they do what their cards say on real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medai.models import open_model, shipped_folder

IDS = ("adrenal-shape", "breast-ultrasound", "chest-xray-pneumonia")
DATA = {
    "adrenal-shape": "adrenal3d_64.npz",
    "breast-ultrasound": "breast.npz",
    "chest-xray-pneumonia": "pneumonia.npz",
}


@pytest.mark.parametrize("name", IDS)
def test_a_package_is_small_and_carries_its_licence(name: str) -> None:
    package = open_model(name)
    card = package.card
    assert card.task == "classify"
    assert sum(file.stat().st_size for file in (shipped_folder() / name).iterdir()) <= 4 << 20
    assert card.licence == "CC-BY-4.0"
    assert "Attribution 4.0 International" in package.licence_text()
    assert any("MedMNIST v2" in text for text in card.citation)
    assert all(data.licence and data.citation for data in card.training.data)
    assert card.calibration is not None
    assert len(card.calibration.thresholds) == 1
    assert card.anomaly is not None


@pytest.mark.parametrize("name", IDS)
def test_it_tells_validation_cases_apart(name: str, shared_data: Path) -> None:
    from medai.classify import evaluation, load_model
    from medai.dataset.classification import list_labelled
    from medai.metrics.classification import macro_auc

    model = load_model(open_model(name), "cpu")
    found = list_labelled(shared_data / "medmnist" / DATA[name], model.classes)
    made = evaluation.predict(found, found.part("val")[:60], model)
    assert macro_auc(made.probabilities, made.labels) > 0.8
    assert made.scores is not None
    assert model.anomaly is not None
    assert (made.scores > model.anomaly.threshold).mean() < 0.1


def test_noise_is_unusual_for_every_one() -> None:
    from medai import classify
    from medai.config.classify import ClassifyConfig
    from medai.image import Image

    rng = np.random.default_rng(0)
    for name in IDS:
        model = classify.load_model(open_model(name), "cpu")
        shape = (1, 1, 64, 64) if model.planar else (1, 64, 64, 64)
        noise = Image((255 * (rng.random(shape) > 0.5)).astype(np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0]), "noise")
        (item,) = classify.run(ClassifyConfig("cpu"), [noise], model).items
        assert item.anomaly is not None
        assert item.anomaly.flag

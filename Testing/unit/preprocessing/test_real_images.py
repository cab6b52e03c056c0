"""There and back on real label maps, of other storage orders, anisotropies and sizes than a phantom has."""

from __future__ import annotations

import numpy as np
import pytest

from medai.config.model_card import InputSpec
from medai.imageio import read_image, read_label_map
from medai.metrics import dice
from medai.preprocessing import Preprocessing, invert_labels

INPUTS = (InputSpec("image", "MR"),)


def test_hippocampi_at_their_own_spacing_are_byte_exact(shared_data):
    labels = sorted((shared_data / "msd_hippocampus" / "labels").glob("*.nii.gz"))[:6]
    assert labels
    for file in labels:
        image = read_image(shared_data / "msd_hippocampus" / "images" / file.name)
        label_map, _ = read_label_map(file)
        preprocessing = Preprocessing(INPUTS, (1.0, 1.0, 1.0))
        record = preprocessing.apply(image).record
        there = preprocessing.apply_labels(label_map, record)
        assert np.array_equal(invert_labels(there, record), label_map.array[0])


@pytest.mark.parametrize("spacing", [(3.0, 1.5, 1.5), (2.0, 1.2, 1.2)])
def test_a_tumour_on_an_anisotropic_grid_survives_resampling(shared_data, spacing):
    case = sorted((shared_data / "sts_mr_pet").glob("STS_*"))[0]
    image = read_image(case / "MR_T1_image.nii.gz")
    label_map, _ = read_label_map(case / "MR_T1_mask.nii.gz")
    preprocessing = Preprocessing(INPUTS, spacing, "nonzero")
    prepared = preprocessing.apply(image)
    assert np.isfinite(prepared.array).all()
    back = invert_labels(preprocessing.apply_labels(label_map, prepared.record), prepared.record)
    assert back.shape == label_map.shape
    assert dice(label_map.array[0], back) > 0.93
    assert np.count_nonzero(back) == pytest.approx(np.count_nonzero(label_map.array), rel=0.05)

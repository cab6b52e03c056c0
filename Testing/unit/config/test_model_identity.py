"""A trained model is called what the options say, else the description, else its file."""

from __future__ import annotations

import pytest

from medai.config.model_identity import UNKNOWN_LICENCE, ModelIdentity, identity_of
from medai.config.training import ModelDescription, TrainConfig


def test_options_come_before_the_description_and_this_before_the_data_set():
    config = TrainConfig(dataset="d", output="o/x.medai", model_id="chosen", title="Chosen", licence="MIT")
    description = ModelDescription(id="described", title="Described", licence="Apache-2.0")
    assert identity_of(config, description, "CC0-1.0") == ModelIdentity("chosen", "Chosen", "MIT")
    plain = TrainConfig(dataset="d", output="o/x.medai")
    assert identity_of(plain, description, "CC0-1.0") == ModelIdentity("described", "Described", "Apache-2.0")
    assert identity_of(plain, ModelDescription(), "CC0-1.0") == ModelIdentity("x", "x", "CC0-1.0")
    assert identity_of(plain, ModelDescription()).licence == UNKNOWN_LICENCE


@pytest.mark.parametrize(
    ("output", "wanted"),
    [("o/My Hearts, v2.medai", "my-hearts-v2"), ("o/--.medai", "model"), ("o/" + "a" * 80 + ".medai", "a" * 64)],
)
def test_a_file_s_name_becomes_an_id(output, wanted):
    assert identity_of(TrainConfig(dataset="d", output=output), ModelDescription()).id == wanted

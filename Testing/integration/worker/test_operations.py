"""The real operations in a real worker: the same labels as in one process, warm models, evaluation, clear errors."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from medai.client import ArrayReader, ArrayWriter, ChildProcessTransport, Client
from medai.config.messages import value_of
from medai.config.model_card import InputSpec, LabelSpec, ModelCard, NetworkSpec, Normalization
from medai.config.requests import EvaluateArgs, SegmentArgs
from medai.config.segment import SegmentConfig
from medai.errors import MedAIError
from medai.models import UNWRITTEN_WEIGHTS, open_model, write_package
from medai.networks import build_network
from medai.segment import load_model, run

ARGUMENTS = {
    "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [[1, 1, 1], [2, 2, 2]],
    "blocks_per_stage": [1, 1],
}  # fmt: skip
CARD = ModelCard(
    format=1,
    id="random-net",
    version="1.0.0",
    title="Random weights",
    task="segment",
    network=NetworkSpec("unet", ARGUMENTS),
    weights=UNWRITTEN_WEIGHTS,
    inputs=(InputSpec("T1", "MR", Normalization("zscore")),),
    licence="Apache-2.0",
    spacing_mm=(1.5, 1.3, 1.1),
    patch=(16, 16, 16),
    labels=(LabelSpec(3, "upper", (1.0, 0.0, 0.0)), LabelSpec(5, "lower", (0.0, 0.0, 1.0))),
)


def write_model(path, seed=0):
    torch.manual_seed(seed)
    state = build_network("unet", ARGUMENTS).state_dict()
    return write_package(path, CARD, [state], dtype="float32")


@pytest.fixture
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "random.medai"
    write_model(path)
    return path


@pytest.fixture
def ask(tmp_path):
    """ask(op, args, ...) -> the value; errors are raised."""
    transport = ChildProcessTransport(sys.executable)
    client = Client(transport, session_parent=tmp_path, hello_timeout_s=300.0)

    def ask(op, args=None):
        results, errors = [], []
        client.request(op, args, ask.progress.append, results.append, errors.append)
        while client.busy:
            client.poll()
            time.sleep(0.005)
        if errors:
            raise errors[0]
        return results[0]

    def send(image):
        writer = ArrayWriter(client.session, image.array, image.ijk_to_ras, image.name, image.modality)
        while not writer.step():
            pass
        return writer.ref

    def receive(ref):
        reader = ArrayReader(client.session, ref)
        while not reader.step():
            pass
        return reader.array[0]

    ask.progress, ask.send, ask.receive, ask.transport, ask.client = [], send, receive, transport, client
    yield ask
    client.close()
    assert list(tmp_path.iterdir()) == []


def test_segment_gives_what_one_process_gives(ask, model, oblique_image):
    expected = run(SegmentConfig(device="cpu"), [oblique_image], load_model(open_model(model), "cpu"))
    assert len(np.unique(expected.label_map.array)) > 1, "the model must find something for this test to mean anything"

    def segment(**config):
        return ask(
            "segment", SegmentArgs(str(model), (ask.send(oblique_image),), SegmentConfig(device="cpu", **config))
        )

    value = segment()
    labels = ask.receive(value.label_map)
    # Sums of another number of threads differ in the last bit, and may turn a tie.
    assert (labels == expected.label_map.channel(0)).mean() > 0.999
    np.testing.assert_allclose(np.reshape(value.label_map.ijk_to_ras, (4, 4)), oblique_image.ijk_to_ras)
    assert [(label.value, label.name) for label in value.labels] == [(3, "upper"), (5, "lower")]
    for found in value.statistics:
        inside = labels == found.value
        assert found.voxels == inside.sum()
        if found.voxels:
            assert found.mean == pytest.approx(oblique_image.channel(0)[inside].mean())
            k, j, i = np.nonzero(inside)
            assert found.box == (k.min(), k.max() + 1, j.min(), j.max() + 1, i.min(), i.max() + 1)
    assert value.seconds["load_model"] > 0.0
    assert value.model.memory_mb > 0.0
    assert ask.progress[0].stage == "Loading the model"
    assert [p.fraction for p in ask.progress] == sorted(p.fraction for p in ask.progress)

    ask.progress.clear()
    again = segment()
    np.testing.assert_array_equal(ask.receive(again.label_map), labels)
    assert again.seconds["load_model"] == 0.0
    info = ask("device.info")
    assert [warm.id for warm in info.models] == ["random-net"]
    assert info.worker.pid == ask.transport.pid
    assert info.worker.torch == torch.__version__
    assert info.devices[-1].id == "cpu"

    only = segment(labels=("lower",))
    assert [label.name for label in only.labels] == ["lower"]
    assert set(np.unique(ask.receive(only.label_map))) <= {0, 5}

    maps = segment(outputs=("probabilities", "entropy"))
    assert [found.value for found in maps.probabilities] == [3, 5]
    shares = [ask.receive(found.array) for found in maps.probabilities]
    background = 1.0 - shares[0] - shares[1]
    best = np.array([0, 3, 5])[np.argmax([background, *shares], axis=0)]
    assert (best == ask.receive(maps.label_map)).mean() > 0.999
    doubt = ask.receive(maps.entropy)
    assert doubt.dtype == np.float32
    assert doubt.shape == labels.shape
    assert maps.entropy.ijk_to_ras == maps.label_map.ijk_to_ras
    assert 0 <= doubt.min() < doubt.max() <= 1

    # Installed anew: the weights in memory are not those of the file any more.
    model.unlink()
    write_model(model, seed=1)
    anew = segment()
    ask.receive(anew.label_map)
    assert anew.seconds["load_model"] > 0.0


def test_evaluate(ask, sphere_label_map):
    shifted = replace(sphere_label_map, array=np.roll(sphere_label_map.array, 2, axis=-1))
    args = EvaluateArgs(
        ask.send(sphere_label_map), ask.send(shifted), {"1": "left ball", "2": "right ball"}, case="two"
    )
    report = ask("evaluate", args).report
    rows = report["cases"][0]["labels"]
    assert report["cases"][0]["case"] == "two"
    assert set(rows) == {"left ball", "right ball"}
    mask, moved = sphere_label_map.channel(0) == 1, shifted.channel(0) == 1
    assert rows["left ball"]["dice"] == pytest.approx(2 * (mask & moved).sum() / (mask.sum() + moved.sum()))
    assert value_of("evaluate", {"report": report}).report == report


def test_bad_input_is_told_by_code(ask, model, oblique_image, sphere_label_map):
    cases = [
        ("model", "segment", SegmentArgs("no-such-model", (ask.send(oblique_image),))),
        ("input", "segment", SegmentArgs(str(model), (ask.send(oblique_image),), SegmentConfig(device="cuda:63"))),
        ("input", "segment", SegmentArgs(str(model), tuple(ask.send(oblique_image) for _ in range(2)))),
        ("geometry", "evaluate", EvaluateArgs(ask.send(sphere_label_map), ask.send(oblique_image))),
        ("input", "evaluate", EvaluateArgs(*(ask.send(sphere_label_map) for _ in "ab"), {"one": "x"})),
    ]
    for code, op, args in cases:
        with pytest.raises(MedAIError) as caught:
            ask(op, args)
        assert caught.value.code == code, caught.value
        assert caught.value.remedy
    assert not list(ask.client.session.path.glob("*.raw"))


def test_models_list_agrees_with_the_library(ask):
    from medai.models import list_models

    listed = ask("models.list").models
    assert [(m.id, m.version, m.location) for m in listed] == [
        (m.card.id, m.card.version, str(m.root)) for m in list_models()
    ]

"""The operation classify in a real worker and in this process: items, one model load, heat maps, cancelling, errors."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
from classification_phantoms import BALL_CLASSES, ball_image, shapes, write_ball_model, write_shape_model

from medai import classify as use_case
from medai.client import ArrayReader, ArrayWriter, ChildProcessTransport, Client
from medai.config import to_json
from medai.config.classify import ClassifyConfig
from medai.config.messages import Request, ResultEvent, decode_from_worker, value_of
from medai.config.requests import ClassifyArgs
from medai.errors import ConfigError, MedAIError
from medai.image import Image, Roi
from medai.session import SessionFolder, array_ref
from medai.worker import WarmModels, run_request
from medai.worker.operations import OPERATIONS_SERVED

pytest.importorskip("torch")
CPU = ClassifyConfig(device="cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "balls": str(write_ball_model(folder / "balls.medai")),
        "shapes": str(write_shape_model(folder / "shapes.medai")),
    }


class Desk:
    """Asks a real worker and waits for what comes."""

    def __init__(self, folder):
        self.client = Client(ChildProcessTransport(sys.executable), session_parent=folder, hello_timeout_s=300.0)
        self.progress = []

    def ask(self, args, until=None):
        results, errors = [], []
        number = self.client.request("classify", args, self.progress.append, results.append, errors.append)
        while self.client.busy:
            self.client.poll()
            if until and until():
                self.client.cancel(number)
                until = None
            time.sleep(0.005)
        if errors:
            raise errors[0]
        return results[0]

    def send(self, image):
        writer = ArrayWriter(self.client.session, image.array, image.ijk_to_ras, image.name, image.modality)
        while not writer.step():
            pass
        return writer.ref

    def receive(self, ref):
        reader = ArrayReader(self.client.session, ref)
        while not reader.step():
            pass
        return reader.array[0]


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """One worker for all tests: torch takes seconds to import."""
    folder = tmp_path_factory.mktemp("session")
    desk = Desk(folder)
    yield desk
    desk.client.close()
    assert list(folder.iterdir()) == []


@pytest.fixture
def desk(worker):
    worker.progress.clear()
    yield worker
    assert [p.name for p in worker.client.session.path.iterdir() if p.suffix == ".raw"] == []


def test_volumes_in_turn_load_the_model_once(desk, models):
    for seed in (101, 102, 103):
        image, mask = ball_image(seed, left_handed=seed == 102)
        config = ClassifyConfig(device="cpu", explain="gradcam")
        value = desk.ask(ClassifyArgs(models["balls"], (desk.send(image),), config=config))
        (item,) = value.items
        assert item.name == image.name
        assert item.predicted == BALL_CLASSES[seed % 2]
        assert sum(item.probabilities.values()) == pytest.approx(1.0)
        assert item.anomaly is not None
        assert not item.anomaly.flag
        heat = desk.receive(value.heat_map)
        assert heat.shape == image.shape
        assert heat.dtype == np.float32
        assert 0.0 <= heat.min() < heat.max() <= 1.0
        np.testing.assert_allclose(np.reshape(value.heat_map.ijk_to_ras, (4, 4)), image.ijk_to_ras)
        assert heat[mask].mean() > 1.3 * heat[~mask].mean()
        assert (value.seconds["load_model"] > 0) == (seed == 101)
        assert value.model.id == "balls"
    assert [p.stage for p in desk.progress].count("Loading the model") == 1


def test_each_region_is_an_item_in_order(desk, models):
    image, _ = ball_image(1, bright=None)
    bright, bright_mask = ball_image(50, bright=True)
    centre = image.ijk_to_ras @ np.array([*np.argwhere(bright_mask).mean(axis=0)[::-1], 1.0])
    rois = (Roi(tuple(centre[:3]), (30.0, 30.0, 30.0)), Roi(tuple(centre[:3] + 1.0), (26.0, 30.0, 34.0)))
    value = desk.ask(ClassifyArgs(models["balls"], (desk.send(bright),), rois, config=CPU))
    assert [item.name for item in value.items] == ["ROI 1", "ROI 2"]
    assert [item.predicted for item in value.items] == ["bright", "bright"]
    assert value.heat_map is None


def test_hundred_segments_with_one_load(models, tmp_path, monkeypatch):
    """Counted in this process: load_model is called once, and each of the segments has its row."""
    loads = []
    real = use_case.load_model
    monkeypatch.setattr(use_case, "load_model", lambda *args: loads.append(args) or real(*args))
    label_map, scheme = shapes(100, seed=5)
    session = SessionFolder.create(tmp_path)
    warm = WarmModels(1000)

    def ask(number):
        ref = session.put_image(f"a{number}.raw", label_map)
        args = ClassifyArgs(models["shapes"], label_map=ref, labels=tuple(scheme), config=CPU)
        lines = []
        request = Request(number, "classify", to_json(args))
        run_request(request, OPERATIONS_SERVED, lines.append, lambda: False, session, warm)
        last = decode_from_worker(lines[-1])
        assert isinstance(last, ResultEvent), last
        return value_of("classify", last.value)

    value = ask(1)
    assert len(loads) == 1
    assert [item.name for item in value.items] == [label.name for label in scheme]
    assert [item.value for item in value.items] == list(range(1, 101))
    right = [item.predicted == item.name.split()[0] for item in value.items]
    assert np.mean(right) > 0.95
    ask(2)
    assert len(loads) == 1


def test_image_unlike_the_training_data_is_flagged(desk, models):
    generator = np.random.default_rng(0)
    like, _ = ball_image(104)
    unlike = Image(generator.uniform(0, 200, like.array.shape).astype(np.float32), like.ijk_to_ras, name="static")
    assert not desk.ask(ClassifyArgs(models["balls"], (desk.send(like),), config=CPU)).items[0].anomaly.flag
    value = desk.ask(ClassifyArgs(models["balls"], (desk.send(unlike),), config=CPU))
    assert value.items[0].anomaly.flag
    assert value.items[0].anomaly.score > value.items[0].anomaly.threshold
    assert "unlike" in " ".join(value.warnings)


def test_cancel_ends_the_run_and_leaves_no_file(desk, models):
    image, _ = ball_image(105)
    config = ClassifyConfig(device="cpu", explain="occlusion")
    rois = tuple(Roi((0.0, 0.0, 20.0), (300.0, 300.0, 300.0)) for _ in range(60))
    args = ClassifyArgs(models["balls"], (desk.send(image),), rois, config=config)
    with pytest.raises(MedAIError) as caught:
        desk.ask(args, until=lambda: any(p.stage == "Classifying" for p in desk.progress))
    assert caught.value.code == "cancelled"


def test_bad_input_is_told_by_code(desk, models):
    image, _ = ball_image(106)
    flat = Image(image.array[:, :1], image.ijk_to_ras, name="slice")
    labels, scheme = shapes(8)
    nan = Image(np.full_like(image.array, np.nan), image.ijk_to_ras, name="nothing")
    far = Roi((5000.0, 0.0, 0.0), (10.0, 10.0, 10.0))
    send = desk.send
    cases = [
        ("model", ClassifyArgs("no-such-model", (send(image),)), "no-such-model"),
        ("input", ClassifyArgs(models["balls"], (send(flat),), config=CPU), "slice"),
        ("input", ClassifyArgs(models["balls"], (send(image), send(image)), config=CPU), "2"),
        ("input", ClassifyArgs(models["balls"], (send(nan),), config=CPU), "nothing"),
        ("input", ClassifyArgs(models["balls"], (send(image),), (far,), config=CPU), "outside"),
        (
            "input",
            ClassifyArgs(
                models["balls"], (send(image),), config=ClassifyConfig(explain="gradcam", explain_class="blue")
            ),
            "blue",
        ),
        (
            "input",
            ClassifyArgs(
                models["shapes"], label_map=send(labels.with_array(labels.array * 0)), labels=tuple(scheme), config=CPU
            ),
            "empty",
        ),
    ]
    for code, args, text in cases:
        with pytest.raises(MedAIError) as caught:
            desk.ask(args)
        assert caught.value.code == code, caught.value
        assert text in str(caught.value)
        assert caught.value.remedy


def test_requests_that_ask_for_nothing_or_too_much_are_refused():
    with pytest.raises(ConfigError, match="images"):
        ClassifyArgs("m")
    image, _ = ball_image(1)
    ref = array_ref("a1.raw", image.array, image.ijk_to_ras)
    with pytest.raises(ConfigError, match="rois and label_map"):
        ClassifyArgs("m", (ref,), (Roi((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),), ref)

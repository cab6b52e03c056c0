"""Training of click models: simulated clicks go where they should, a small run learns, stops, and goes on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from medai.click import load_model
from medai.click.prepare import prepare
from medai.click.training import train
from medai.config.click import ClickTrainConfig, ClickVolume
from medai.errors import ConfigError, DatasetError
from medai.image import Image
from medai.imageio import write_image
from medai.models import open_model
from medai.networks.click_channels import CHANNELS, click_channels, stamp_ball
from medai.networks.grow_cut import grow_cut
from medai.progress import never_cancelled, no_progress
from medai.training import click_loop
from medai.training.click_cases import open_cases
from medai.training.click_loop import click_loss
from medai.training.click_masks import depth, dilate, erode, flood
from medai.training.click_prompts import correct, start, start_plainly
from medai.training.click_samples import ClickSample, SampleStream


def ball(size=24, center=(12, 12, 12), radius=7.0):
    k, j, i = torch.meshgrid(*(torch.arange(size) - c for c in center), indexing="ij")
    return (k**2 + j**2 + i**2).float().sqrt() <= radius


def sample():
    target = ball()
    return ClickSample(target.float() * 0.8 + 0.1, target, "ball")


def test_masks():
    mask = ball()
    assert (dilate(mask) & mask).equal(mask)
    assert (erode(mask) | mask).equal(mask)
    depths = depth(mask)
    assert depths[12, 12, 12] == depths.max()
    assert (depths > 0).equal(mask)
    two = mask.clone()
    two[0, 0, :] = True
    assert flood(two, (12, 12, 12)).equal(mask)


def test_a_plain_start_clicks_into_the_middle():
    state = start_plainly(sample())
    where = np.unravel_index(int(state.positive.argmax()), state.positive.shape)
    assert np.abs(np.array(where) - 12).max() <= 1
    assert not state.negative.any()


def test_corrections_have_the_sign_of_their_place():
    state = start_plainly(sample())
    state.previous = ball(center=(12, 12, 17)).float()
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        correct(state, generator)
    target = state.sample.target
    assert state.negative.any()
    assert not target[state.negative > 0.99].any()
    assert target[state.positive > 0.99].all()


def test_all_kinds_of_starts_have_a_prompt():
    kinds = set()
    for seed in range(60):
        state = start(sample(), torch.Generator().manual_seed(seed))
        assert state.positive.any() or state.region.any()
        kinds |= {"region"} if state.region.any() else {"points"}
        assert 1 <= state.rounds <= 10
    assert kinds == {"region", "points"}


def test_channels_say_what_is_alike():
    image = ball().float()[None, None] * 0.8 + 0.1
    image[..., :3, :3, :3] = 0.9
    zeros = torch.zeros_like(image)
    positive, negative = zeros.clone(), zeros.clone()
    stamp_ball(positive[0, 0], (12, 12, 12))
    stamp_ball(negative[0, 0], (12, 12, 22))
    channels = dict(zip(CHANNELS, click_channels(image, zeros, positive, negative, zeros)[0], strict=True))
    inside, corner, outside = (12, 12, 8), (1, 1, 1), (3, 12, 22)
    assert channels["like_positive"][inside] > 0.95
    assert channels["like_positive"][corner] > 0.95
    assert channels["like_positive"][outside] < 0.05
    assert channels["rank_like_negative"][outside] > channels["rank_like_negative"][inside]
    # What only hangs together with the click by nothing is told apart by grow-cut.
    assert channels["grown"][inside] > 0
    assert channels["grown"][corner] < 0
    assert channels["rank"][inside] > channels["rank"][outside]


def test_grow_cut_fills_what_is_alike():
    image = ball().float()[None, None]
    seeds = torch.zeros_like(image)
    seeds[0, 0, 12, 12, 12] = 1
    seeds[0, 0, 0] = -1
    strength = grow_cut(image, seeds)[0, 0]
    assert (strength > 0).equal(ball())
    assert strength[12, 12, 12] == 1
    assert strength[12, 12, 9] < 1


def test_loss_falls_with_agreement():
    target = ball().float()[None, None]
    good, bad = (click_loss(sign * (target * 12 - 6), target) for sign in (1, -1))
    assert good < 0.05
    assert bad > 5


def test_samples_are_repeatable_and_single_structures():
    stream = SampleStream([], 24, 3, 1.0, 0.0)
    first, again = stream.sample(4), SampleStream([], 24, 3, 1.0, 0.0).sample(4)
    assert first.image.equal(again.image)
    assert first.target.equal(again.target)
    place = torch.nonzero(first.target)[0].tolist()
    assert flood(first.target, place).equal(first.target)
    assert -0.5 <= float(first.image.min()) <= float(first.image.max()) <= 1.5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two volumes of two objects each, and a label map without an image."""
    folder = tmp_path_factory.mktemp("volumes")
    volumes = []
    for number, part in enumerate(("training", "validation")):
        labels = ball(30, (15, 13, 16), 8).numpy().astype(np.int16) * 5
        labels[2:6, 20:28, 20:28] = 900
        array = (labels > 0) * 100 + np.random.default_rng(number).normal(0, 5, labels.shape)
        matrix = np.diag([0.8, 0.8, 1.6, 1.0])
        write_image(folder / f"{part}.nii.gz", Image(array.astype(np.float32)[None], matrix))
        write_image(folder / f"{part}-labels.nii.gz", Image(labels[None], matrix))
        volumes.append(ClickVolume(part, "balls", part, f"{part}.nii.gz", f"{part}-labels.nii.gz"))
    volumes.append(ClickVolume("map", "maps", "training", "", "training-labels.nii.gz"))
    text = json.dumps({"volumes": [vars(v) for v in volumes], "data": []})
    (folder / "volumes.json").write_text(text, encoding="utf-8")
    return folder, volumes


def test_prepared_volumes(dataset, tmp_path):
    folder, volumes = dataset
    prepare(volumes, folder, tmp_path, no_progress, never_cancelled)
    cases = open_cases(tmp_path)
    assert [len(case.card.objects) for case in cases] == [2, 2, 2]
    assert cases[0].card.objects[1].voxels == 4 * 8 * 8
    assert cases[0].card.objects[1].box == (2, 6, 20, 28, 20, 28)
    assert cases[0].card.spacing_mm == pytest.approx((1.6, 0.8, 0.8))
    stream = SampleStream(cases[:1] + cases[2:], 24, 0, 0.0, 0.3)
    groups = {stream.sample(number).group for number in range(8)}
    assert groups == {"balls", "maps"}
    with pytest.raises(DatasetError, match="no prepared click cases"):
        open_cases(folder)


def test_a_run_that_is_stopped_goes_on_and_makes_a_package(dataset, tmp_path, monkeypatch):
    folder, _ = dataset
    real = click_loop.validation_samples
    config = ClickTrainConfig(
        output=str(tmp_path / "m.medai"),
        dataset=str(folder),
        description=str(folder / "volumes.json"),
        steps=6,
        batch_size=2,
        width=4,
        size=16,
        validation_minutes=0.0001,
        device="cpu",
    )
    monkeypatch.setattr(click_loop, "validation_samples", lambda cases, settings: real(cases, settings)[-1:])
    answers = iter([False] * 9 + [True] * 1000)
    result = train(config, cancelled=lambda: next(answers))
    assert not result.finished
    assert result.steps < 6
    with pytest.raises(ConfigError, match="earlier run"):
        train(config)
    other = ClickTrainConfig(**{**vars(config), "resume": True, "width": 8})
    with pytest.raises(ConfigError, match="other settings: network"):
        train(other)
    result = train(ClickTrainConfig(**{**vars(config), "resume": True, "learning_rate": 1e-4}))
    assert result.finished
    assert result.steps == 6
    assert set(result.dice) == {"balls"}
    package = open_model(tmp_path / "m.medai")
    assert package.card.task == "click"
    assert package.card.patch == (16, 16, 16)
    assert sum(p.numel() for p in load_model(package, "cpu").network.parameters()) > 1000
    again = train(ClickTrainConfig(**{**vars(config), "package_only": True}))
    assert again.steps == 6


def test_training_lowers_the_loss():
    """Forty steps on one easy kind of sample bring a small network well below its start."""
    from medai.click.training import settings_of
    from medai.training import choose_compute
    from medai.training.click_loop import ClickTrainer

    config = ClickTrainConfig(output="m.medai", batch_size=2, width=4, size=16, learning_rate=2e-2)
    trainer = ClickTrainer(replace(settings_of(config), warmup_steps=1), [], choose_compute("cpu"), None)
    easy = ClickSample(ball(16, (8, 8, 8), 4).float(), ball(16, (8, 8, 8), 4), "ball")
    losses = []
    for _ in range(40):
        _, loss = trainer.train_step([start_plainly(easy), start_plainly(easy)])
        losses.append(loss)
    assert losses[-1] < 0.7 * losses[0]

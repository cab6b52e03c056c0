"""A sequence of frames as channels: from the cache to a package that segments the middle frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks import moving

from medai import train
from medai.config.segment import SegmentConfig
from medai.config.training import TrainConfig
from medai.image import Image
from medai.models import open_model
from medai.segment import load_model
from medai.segment import run as segment


def test_frames_of_a_sequence_train_a_network_in_time_that_segments(tmp_path: Path) -> None:
    root = moving.write(tmp_path / "moving", 12, 3).root
    config = TrainConfig(
        dataset=str(root), output=str(tmp_path / "cine.medai"), device="cpu", preset="quick", steps=2, width=8,
        blocks="dynamic", patch=(1, 32, 32), depth=3,
    )  # fmt: skip
    train.run(config)
    package = open_model(tmp_path / "cine.medai")
    assert package.card.network.arguments["frames"] == 3
    assert package.card.network.arguments["block"] == "dynamic"
    assert [spec.name for spec in package.card.inputs] == ["cine t-1", "cine t", "cine t+1"]
    assert package.card.anomaly is not None
    frames, truth = moving.sequence(99, 3)
    images = [Image(frame[None, None], np.eye(4), f"frame {n}") for n, frame in enumerate(frames)]
    result = segment(SegmentConfig(device="cpu"), images, load_model(package, "cpu"))
    assert result.label_map.shape == (1, *truth.shape)


def test_only_the_movement_tells_the_discs_apart() -> None:
    """The same data with the frames in another order has another answer, and one frame alone has none."""
    images, labels = moving.sequence(3, 3)
    mean = [images[:, labels == 1].mean(), images[1][labels == 1].mean()]
    assert mean[1] > 0.8  # the disc is there in the middle frame
    assert mean[0] < mean[1] - 0.1  # and partly elsewhere before and after
    again, _ = moving.sequence(3, 3)
    assert np.array_equal(images, again)

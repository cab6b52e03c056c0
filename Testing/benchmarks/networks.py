"""The networks of the benchmarks as model packages: one that is trained on the spot, and untrained ones of any size."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import volumes
from medai.config.model_card import InputSpec, LabelSpec, ModelCard, NetworkSpec, Normalization
from medai.labels import distinct_color
from medai.models import UNWRITTEN_WEIGHTS, write_package
from medai.networks import build_network

_log = logging.getLogger(__name__)

PLAIN_CHANNELS = (8, 16, 32, 64, 128)
"""Five stages, two convolutions each, 1.4 million weights: nnU-Net's plain network, an eighth as wide at each stage."""
SMALL_CHANNELS = (8, 16, 32)
_STEPS_PER_HEAD = 40


def arguments(classes: int, channels: tuple[int, ...], blocks: int = 2) -> dict[str, Any]:
    """Arguments of our U-Net for one input channel and `classes` outputs."""
    stages = len(channels)
    return {
        "in_channels": 1,
        "out_channels": classes,
        "channels": list(channels),
        "strides": [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
        "blocks_per_stage": [blocks] * stages,
    }


def card(
    name: str,
    network: dict[str, Any],
    patch: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    names: tuple[str, ...] = (),
) -> ModelCard:
    """The card of a benchmark network. Its input is taken as it is: the volumes are normalised already."""
    texts = names or tuple(f"structure {n}" for n in range(1, network["out_channels"]))
    return ModelCard(
        format=1,
        id=name,
        version="1.0.0",
        title=f"Benchmark {name}",
        task="segment",
        network=NetworkSpec("unet", network),
        weights=UNWRITTEN_WEIGHTS,
        inputs=(InputSpec("image", "MR", Normalization("none")),),
        licence="Apache-2.0",
        spacing_mm=spacing_mm,
        patch=patch,
        labels=tuple(LabelSpec(n, text, distinct_color(n)) for n, text in enumerate(texts, start=1)),
    )


def untrained(
    folder: Path, classes: int, patch: tuple[int, int, int], spacing_mm: tuple[float, float, float], blocks: int = 1
) -> Path:
    """A package with random (seeded) weights: for time and memory, which do not depend on the weights."""
    side = "x".join(map(str, patch))
    path = folder / f"untrained-{classes}-{side}-{blocks}-{spacing_mm[0]:g}"
    if not path.is_dir():
        torch.manual_seed(0)
        network = arguments(classes, SMALL_CHANNELS, blocks)
        state = build_network("unet", network).state_dict()
        folder.mkdir(parents=True, exist_ok=True)
        write_package(path, card(f"untrained-{classes}", network, patch, spacing_mm), [state], dtype="float32")
    return path


@dataclass(frozen=True)
class Phase:
    """A part of a training: `steps` on `batch` crops of `crop` voxels per side."""

    steps: int
    crop: int
    batch: int


def train_tissues(folder: str, patch: list[int], channels: list[int], phases: list[list[int]]) -> dict[str, Any]:
    """Train the five-class network on the MNI152 head with random lesions, bias and noise; write it as a package.

    `phases` are steps, crop and batch of one phase after the other: small crops teach tissues quickly, crops of the
    patch's size the instance norms and borders that the sliding window will meet. The heads change every
    `_STEPS_PER_HEAD` steps.
    """
    from medai.losses import dice_and_cross_entropy

    started = time.perf_counter()
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    plan = [phase for phase in (Phase(*p) for p in phases) for _ in range(phase.steps)]
    network_arguments = arguments(len(volumes.TISSUES) + 1, tuple(channels))
    network = build_network("unet", network_arguments).train().to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=len(plan))
    criterion = dice_and_cross_entropy()
    losses: list[float] = []
    image, labels = torch.empty(0), torch.empty(0)
    for step, phase in enumerate(plan):
        if step % _STEPS_PER_HEAD == 0:
            drawn = volumes.head(seed=100 + step)
            image, labels = torch.from_numpy(drawn[0]), torch.from_numpy(drawn[1])
        parts = [_crop(image, labels, phase.crop, generator) for _ in range(phase.batch)]
        batch = torch.stack([p[0] for p in parts])[:, None]
        target = torch.stack([p[1] for p in parts])[:, None].long()
        loss = criterion(network(batch.to(memory_format=torch.channels_last_3d)), target)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        _log.info("step %d of %d: loss %.4f", step + 1, len(plan), losses[-1])
    made = card(
        "benchmark-tissues",
        network_arguments,
        (patch[0], patch[1], patch[2]),
        volumes.HEAD_SPACING_MM,
        volumes.TISSUES,
    )
    path = Path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_package(path, made, [network.state_dict()])
    return {"steps": len(plan), "seconds": time.perf_counter() - started, "loss": sum(losses[-10:]) / len(losses[-10:])}


def _crop(
    image: torch.Tensor, labels: torch.Tensor, side: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A random crop, turned by random flips."""
    starts = [int(torch.randint(0, n - side + 1, (), generator=generator)) for n in image.shape]
    box = tuple(slice(s, s + side) for s in starts)
    axes = [axis for axis in range(3) if torch.rand((), generator=generator) < 0.5]
    return image[box].flip(axes), labels[box].flip(axes)

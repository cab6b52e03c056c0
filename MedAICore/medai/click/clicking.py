"""Segment with a given list of prompts, without a person: the use case of the command line."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medai.click.model import LoadedClickModel, load_model
from medai.click.session import ClickSession
from medai.config.requests import Prompt
from medai.errors import GeometryError, InputError
from medai.image import Image
from medai.models import list_models, open_model
from medai.progress import CancelCheck, Progress, ProgressCallback, check_cancelled, never_cancelled, no_progress

DEFAULT_MODEL = "click-any"
NO_MODEL = "No click model is installed: grow-cut segments, which knows no anatomy and needs more prompts."


@dataclass(frozen=True, eq=False)
class ClickResult:
    """The mask (1, k, j, i), uint8, on the image's grid; how long opening and each prompt took, and what computed."""

    mask: Image
    seconds_open: float
    seconds_click: tuple[float, ...]
    engine: str
    warnings: tuple[str, ...]


def find_model(name: str, device: str = "auto") -> tuple[LoadedClickModel | None, list[str]]:
    """The click model of this id or path, loaded; an empty name takes `click-any`, or None and a warning: grow-cut."""
    if name == "grow-cut":
        return None, []
    if not name and not any(package.card.id == DEFAULT_MODEL for package in list_models()):
        return None, [NO_MODEL]
    return load_model(open_model(name or DEFAULT_MODEL), device), []


def run(
    image: Image,
    prompts: Sequence[Prompt],
    model: LoadedClickModel | None,
    previous: Image | None = None,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> ClickResult:
    """Give `prompts` one after the other, on top of `previous` (a label map; not 0 is inside) where it is there."""
    if not prompts:
        raise InputError("There is no prompt.", "Give a point or a box.")
    started = time.perf_counter()
    session = ClickSession.open(image, model, cancelled)
    if previous is not None:
        if not image.same_grid(previous):
            raise GeometryError(
                f"'{previous.name}' does not lie on the grid of '{image.name}'.", "Resample it to the image first."
            )
        k, j, i = image.shape
        session.set_mask(previous.channel(0) > 0, (0, k, 0, j, 0, i))
    opened = time.perf_counter() - started
    seconds = []
    for number, prompt in enumerate(prompts):
        check_cancelled(cancelled)
        progress(Progress(number / len(prompts), f"Prompt {number + 1} of {len(prompts)}"))
        before = time.perf_counter()
        session.prompt(prompt, cancelled)
        seconds.append(time.perf_counter() - before)
    mask = image.with_array(np.array(session.mask))
    return ClickResult(mask, opened, tuple(seconds), session.engine, session.warnings)

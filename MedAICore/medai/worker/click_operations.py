"""The operations of click sessions: the volume is sent once, then only prompts and changed boxes travel."""

from __future__ import annotations

import time
from collections import OrderedDict
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from medai.config.requests import (
    ArrayRef,
    ClickArgs,
    ClickOpenArgs,
    ClickOpened,
    ClickPromptArgs,
    ClickResetArgs,
    ClickUpdate,
    NoArgs,
    WarmModel,
)
from medai.errors import ClickSessionError, GeometryError, ModelError
from medai.image import Image, crop
from medai.process_identity import ProcessIdentity
from medai.progress import Progress, check_cancelled
from medai.worker.package_files import files_signature, locate, network_memory_mb
from medai.worker.run import Operation, Run

if TYPE_CHECKING:
    from medai.click import ClickSession, ClickStep, LoadedClickModel

MOST_SESSIONS = 4


class ClickSessions:
    """The open sessions of one worker, by name; the one that was not used for longest leaves first."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, ClickSession] = OrderedDict()
        self._numbers = count(1)

    def open(self, args: ClickOpenArgs, run: Run) -> ClickOpened:
        """Start a session, and replay the prompts of one that was lost."""
        from medai.click import ClickSession

        started_s = time.perf_counter()
        image = run.take(args.images[0])
        warnings: list[str] = []
        model = _model(args, run, warnings)
        check_cancelled(run.cancelled)
        model_s = time.perf_counter() - started_s
        run.progress(Progress(0.5, "Opening the image"))
        session = ClickSession.open(image, model, run.cancelled)
        if args.mask is not None:
            _start_from(session, run.take(args.mask))
        for number, prompt in enumerate(args.prompts):
            run.progress(Progress(0.5 + 0.5 * number / len(args.prompts), "Replaying the prompts"))
            session.prompt(prompt, run.cancelled)
        update = _whole(session, run) if args.mask is not None or args.prompts else None
        name = f"c{next(self._numbers)}-{ProcessIdentity.current().pid}"
        self._sessions[name] = session
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        seconds = {"model": model_s, "image": time.perf_counter() - started_s - model_s}
        return ClickOpened(name, session.engine, seconds, (*warnings, *session.warnings), update)

    def prompt(self, args: ClickPromptArgs, run: Run) -> ClickUpdate:
        """One more prompt."""
        session = self._session(args.click)
        return _update(session, session.prompt(args.prompt, run.cancelled), run)

    def undo(self, args: ClickArgs, run: Run) -> ClickUpdate:
        """Take the last prompt back."""
        session = self._session(args.click)
        return _update(session, session.undo(), run)

    def redo(self, args: ClickArgs, run: Run) -> ClickUpdate:
        """Make the prompt again that was undone last."""
        session = self._session(args.click)
        return _update(session, session.redo(), run)

    def reset(self, args: ClickResetArgs, run: Run) -> ClickUpdate:
        """Empty mask and prompts, for the next structure; or start from a mask."""
        session = self._session(args.click)
        if args.mask is None:
            return _update(session, session.reset(), run)
        _start_from(session, run.take(args.mask))
        return _whole(session, run)

    def close(self, args: ClickArgs, run: Run) -> NoArgs:
        """Give the image back; a session that is gone already is closed, too."""
        self._sessions.pop(args.click, None)
        return NoArgs()

    def _session(self, name: str) -> ClickSession:
        if name not in self._sessions:
            raise ClickSessionError(
                f"There is no click session '{name}'.", "Open it again: the worker was started anew in between."
            )
        self._sessions.move_to_end(name)
        return self._sessions[name]

    def operations(self) -> dict[str, Operation]:
        """Name in the protocol -> operation."""
        return {
            "click.open": self.open,
            "click.prompt": self.prompt,
            "click.undo": self.undo,
            "click.redo": self.redo,
            "click.reset": self.reset,
            "click.close": self.close,
        }


def _model(args: ClickOpenArgs, run: Run, warnings: list[str]) -> LoadedClickModel | None:
    """The model that was asked for, kept warm; None for grow-cut."""
    if args.model == "grow-cut":
        return None
    from medai.click import load_model
    from medai.click.clicking import DEFAULT_MODEL, NO_MODEL
    from medai.inference import choose_device
    from medai.models import list_models, open_model

    if not args.model and not any(package.card.id == DEFAULT_MODEL for package in list_models()):
        warnings.append(NO_MODEL)
        return None
    root = locate(args.model or DEFAULT_MODEL)
    if not root.exists():
        raise ModelError(f"There is no click model '{args.model}'.", "Install it, or leave the model empty.")
    device = choose_device(args.device)

    def load() -> tuple[Any, WarmModel]:
        run.progress(Progress(0.0, "Loading the model"))
        package = open_model(root)
        model = load_model(package, device)
        return model, WarmModel(package.card.id, package.card.version, str(device), network_memory_mb(model))

    return run.models.get((root, files_signature(root), str(device), "click"), load).model


def _start_from(session: ClickSession, mask: Image) -> None:
    """Put a mask into the session whose grid is a part of the image's."""
    to_image = np.linalg.inv(session.image.ijk_to_ras) @ mask.ijk_to_ras
    start = np.round(to_image[:3, 3]).astype(int)
    expected = np.eye(4)
    expected[:3, 3] = start
    if np.abs(to_image - expected).max() > 1e-2:
        raise GeometryError(
            f"The mask '{mask.name}' lies on another grid than image '{session.image.name}'.", "Resample it first."
        )
    ends = [(int(low), int(low) + n) for low, n in zip(start[::-1], mask.shape, strict=True)]
    k, j, i = ends
    session.set_mask(mask.channel(0) > 0, (*k, *j, *i))


def _whole(session: ClickSession, run: Run) -> ClickUpdate:
    from medai.click import ClickStep

    box = session.bounds()
    part = session.mask[box[0] : box[1], box[2] : box[3], box[4] : box[5]]
    return _update(session, ClickStep(box, part), run)


def _update(session: ClickSession, step: ClickStep, run: Run) -> ClickUpdate:
    started_s = time.perf_counter()
    k0, k1, j0, j1, i0, i1 = step.box
    part = crop(session.image, (slice(k0, k1), slice(j0, j1), slice(i0, i1)))
    ref: ArrayRef = run.put(Image(step.mask[None], part.ijk_to_ras, session.image.name))
    return ClickUpdate(ref, step.box, {**step.seconds, "write": time.perf_counter() - started_s})

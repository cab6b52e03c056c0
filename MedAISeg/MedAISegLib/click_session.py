"""A click session: a volume at the worker, the prompts so far, and the segment that they made. A slice of work a call.

The worker holds the volume and the mask of one structure; this side keeps its own list of prompts, so that a session
that was lost with its worker is opened again without a word, and what each step changed, so that undo and redo are
exact in every segment, whatever the worker does.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from medai.client import ArrayReader, ArrayWriter
from medai.config.requests import (
    ClickArgs,
    ClickOpenArgs,
    ClickOpened,
    ClickPromptArgs,
    ClickResetArgs,
    ClickUpdate,
    Prompt,
)
from medai.errors import Cancelled, ClickSessionError, InputError, MedAIError, WorkerError
from medai.image import crop
from MedAISegLib.click_prompts import PlacedPrompt, promptInVolume
from MedAISegLib.click_target import Box, ClickTarget, checksum, union
from MedAISegLib.click_volume import VolumeWatch

logger = logging.getLogger(__name__)
HISTORY_BYTES = 64 << 20
"""What a session keeps to take steps back; about six bytes for each voxel that a step changed. Oldest leave first."""


class ClickState(Enum):
    """Where a session is."""

    CLOSED = "closed"
    SENDING = "sending"
    OPENING = "opening"
    READY = "ready"
    COMPUTING = "computing"
    RECEIVING = "receiving"


@dataclass
class Step:
    """One prompt that was answered. `box` and `sum` tell the segment after it: all that the session wrote so far."""

    placed: PlacedPrompt
    prompt: Prompt
    changes: list[Any]
    box: Box | None
    sum: tuple[int, int]
    seconds: float = 0.0

    @property
    def nbytes(self) -> int:
        """Memory held to take the step back."""
        return sum(change.nbytes for change in self.changes)


@dataclass
class _Job:
    """Something to do when the worker is ready. `follow`: the segment is there already, only the worker is not."""

    kind: str
    placed: PlacedPrompt | None = None
    prompt: Prompt | None = None
    follow: bool = False
    attempts: int = 0
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class ClickSettings:
    """`model`: id or folder of a click model, "grow-cut", or empty for the best that is there."""

    model: str = ""
    device: str = "auto"
    historyBytes: int = HISTORY_BYTES


class ClickSession:
    """Prompts for one volume into one target. `advance` moves it on; it never waits.

    `client`: `medai.client.Client`. `onChanged(session)` is called at each change of state, message or steps.
    A script may use it so::

        session = ClickSession(client, slicer.mrmlScene, volume.GetID(), SegmentTarget(slicer.mrmlScene))
        session.start()
        session.add(PlacedPrompt("point", True, ((12.0, -3.5, 40.0),)))
        while session.advance():
            slicer.app.processEvents()
        print(session.message)
    """

    def __init__(
        self,
        client: Any,
        scene: Any,
        volumeId: str,
        target: ClickTarget,
        settings: ClickSettings | None = None,
        onChanged: Callable[[ClickSession], None] | None = None,
    ) -> None:
        self.state = ClickState.CLOSED
        self.message = ""
        self.error: MedAIError | None = None
        self.engine = ""
        self.warnings: tuple[str, ...] = ()
        self.done: list[Step] = []
        self.undone: list[Step] = []
        self.openSeconds = 0.0
        self.lastSeconds = 0.0
        self.target = target
        self.settings = settings or ClickSettings()
        self._client = client
        self._scene = scene
        self._volumeId = volumeId
        volume = scene.GetNodeByID(volumeId)
        self._volumeName = volume.GetName() if volume is not None else volumeId
        self._onChanged = onChanged
        self._jobs: deque[_Job] = deque()
        self._active: _Job | None = None
        self._click = ""
        self._workerRedos = 0
        self._watch: VolumeWatch | None = None
        self._writer: ArrayWriter | None = None
        self._reader: ArrayReader | None = None
        self._update: ClickUpdate | None = None
        self._requestId: int | None = None
        self._opening = 0.0
        self._base: tuple[Box, np.ndarray] | None = None
        self._baseSum: tuple[int, int] = (0, 0)
        self._stamp: tuple = ()
        self._fresh = True
        self._ended = False
        self._notice = ""

    # What a person can do

    @property
    def ended(self) -> bool:
        """Whether the session was closed, or its volume is gone; it cannot be used any more."""
        return self._ended

    @property
    def busy(self) -> bool:
        """Whether `advance` has something to do."""
        working = self.state not in (ClickState.CLOSED, ClickState.READY)
        return not self._ended and (working or bool(self._jobs))

    @property
    def waiting(self) -> tuple[PlacedPrompt, ...]:
        """Prompts that were placed and not yet answered, first come first."""
        jobs = ([self._active] if self._active else []) + list(self._jobs)
        return tuple(job.placed for job in jobs if job.placed is not None and job.kind == "prompt" and not job.follow)

    @property
    def canUndo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self.waiting) or bool(self.done and self.done[-1].changes)

    @property
    def canRedo(self) -> bool:
        """Whether a step that was taken back can be made again."""
        return bool(self.undone) and not self.waiting

    def start(self) -> None:
        """Send the volume, so that the first prompt need not wait; InputError where that cannot be done."""
        if self.state is ClickState.CLOSED and not self._ended:
            self._open()

    def add(self, placed: PlacedPrompt) -> None:
        """Queue a prompt; it is answered in its turn."""
        self._enqueue(_Job("prompt", placed))

    def undo(self) -> None:
        """Take the last step back: a waiting prompt is forgotten, else the segments get their former voxels."""
        for job in reversed(self._jobs):
            if job.kind == "prompt" and not job.follow:
                self._jobs.remove(job)
                self._changed(self.state, _("The prompt was taken back."))
                return
        self._enqueue(_Job("undo"))

    def redo(self) -> None:
        """Make the step again that was taken back last."""
        self._enqueue(_Job("redo"))

    def reset(self) -> None:
        """Take all steps of this structure back and forget them; the volume stays at the worker."""
        self._enqueue(_Job("reset"))

    def next(self) -> None:
        """Keep this segment and go on with a new, empty one."""
        self._enqueue(_Job("next"))

    def close(self) -> None:
        """End the session; the segment stays as it is."""
        if self._ended:
            return
        self._forgetRequests()
        self._closeAtWorker()
        self._release()
        self._ended = True
        self._changed(ClickState.CLOSED, self.message)

    def advance(self) -> bool:
        """Do the next slice of work; whether there is more. What goes wrong is told in `message` and `error`."""
        self._client.poll()
        if self._ended:
            return bool(self._client.busy)
        try:
            if self.state is ClickState.SENDING:
                self._send()
            elif self.state is ClickState.RECEIVING:
                self._receive()
            elif self.state is ClickState.READY and self._jobs:
                self._begin(self._jobs.popleft())
            elif self.state is ClickState.CLOSED and self._jobs:
                self._open()
        except MedAIError as error:
            self._failed(error)
        return self.busy or self._client.busy

    def check(self) -> None:
        """Look whether the volume is still there; called when the scene or the volume tells of a change."""
        if self._ended:
            return
        if self._scene.GetNodeByID(self._volumeId) is None:
            self._end(_("The volume '{name}' is no longer in the scene.").format(name=self._volumeName))

    # Opening

    def _open(self) -> None:
        volume = self._volume()
        self._releaseFiles()
        if self._watch is not None:
            self._watch.close()
        self._watch = VolumeWatch(volume, self.check)
        self._opening = time.monotonic()
        image = self._watch.image
        self._writer = ArrayWriter(self._client.session, image.array, image.ijk_to_ras, self._volumeName)
        self._changed(ClickState.SENDING, _("Sending the image"))

    def _send(self) -> None:
        assert self._writer is not None and self._watch is not None
        summed = self._watch.step()
        if not self._writer.done:
            self._writer.step()
        if not (self._writer.done and summed):
            return
        if self._watch.touched:  # changed while it was sent, so what was sent may be of two kinds
            raise InputError(
                _("The volume '{name}' was changed while it was sent.").format(name=self._volumeName), _("Try again.")
            )
        reference, self._writer = self._writer.ref, None
        if self._fresh:
            self._readBase()
        prompts = tuple(step.prompt for step in self.done)
        arguments = ClickOpenArgs(
            self.settings.model, (reference,), self.settings.device, prompts, self._writeMask(self._base)
        )
        self._changed(ClickState.OPENING, _("Opening the click session"))
        self._requestId = self._client.request("click.open", arguments, on_result=self._onOpened, on_error=self._failed)

    def _onOpened(self, opened: ClickOpened) -> None:
        self._requestId = None
        self._click, self.engine, self.warnings = opened.click, opened.engine, opened.warnings
        self._workerRedos = 0
        self.openSeconds = time.monotonic() - self._opening
        try:
            if self._fresh:
                self.target.prepare(self._volume())
                self._fresh = False
                self._remember()
            if opened.update is not None:
                self._takeReplayed(opened.update)
        except MedAIError as error:
            self._closeAtWorker()
            self._failed(error)
            return
        self.error = None
        self._changed(ClickState.READY, _("Ready ({engine}).").format(engine=self.engine))

    def _readBase(self) -> None:
        """What the segment holds before the first prompt: the worker starts from it."""
        self._base, self._baseSum = None, (0, 0)
        volume = self._volume()
        box = self.target.bounds(volume)
        if box is None:
            return
        mask = self.target.read(volume, box)
        self._base, self._baseSum = (box, np.packbits(mask)), checksum(mask)

    def _writeMask(self, packed: tuple[Box, np.ndarray] | None) -> Any:
        """The reference of a mask that was written for the worker; None for none."""
        if packed is None or self._watch is None:
            return None
        box, bits = packed
        shape = (box[1] - box[0], box[3] - box[2], box[5] - box[4])
        mask = np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape)
        part = crop(self._watch.image, (slice(*box[:2]), slice(*box[2:4]), slice(*box[4:])))
        writer = ArrayWriter(self._client.session, mask, part.ijk_to_ras, "segment")
        while not writer.step():
            pass
        return writer.ref

    def _takeReplayed(self, update: ClickUpdate) -> None:
        """The mask after a replay: nothing changes where the engine repeats itself, which all of them do on a CPU."""
        reader = ArrayReader(self._client.session, update.label_map)
        while not reader.step():
            pass
        if self.done:
            change = self.target.write(self._volume(), reader.array[0] > 0, update.box)
            if change.nbytes:
                logger.info("The replayed session differs from the lost one; the segment follows it.")
                self.done[-1].changes.append(change)
                self._note(self.done[-1], update.box)

    # Jobs

    def _enqueue(self, job: _Job) -> None:
        if self._ended:
            raise InputError(_("The click session has ended."), _("Start another one."))
        self._jobs.append(job)
        self._changed(self.state, self.message)

    def _begin(self, job: _Job) -> None:
        self._active = job
        self._checkVolume()
        if not job.follow and job.kind in ("prompt", "undo", "redo") and not self._inStep(job):
            return
        getattr(self, f"_begin_{job.kind}")(job)

    def _begin_prompt(self, job: _Job) -> None:
        if job.prompt is None:
            assert job.placed is not None
            job.prompt = promptInVolume(job.placed, self._volume())
        self._request("click.prompt", ClickPromptArgs(self._click, job.prompt), self._onPrompted)

    def _begin_undo(self, job: _Job) -> None:
        if not job.follow:
            if not self.done or not self.done[-1].changes:
                self._finish(_("There is no step to take back.") if not self.done else _("Older steps are not kept."))
                return
            step = self.done[-1]
            for change in reversed(step.changes):
                self.target.undo(change)
            self.undone.append(self.done.pop())
            self._remember()
        self._workerRedos += 1
        self._request("click.undo", ClickArgs(self._click), self._onFollowed)

    def _begin_redo(self, job: _Job) -> None:
        step = self.undone[-1] if self.undone else None
        if not job.follow:
            if step is None:
                self._finish(_("There is no step to make again."))
                return
            for change in step.changes:
                self.target.redo(change)
            self.done.append(self.undone.pop())
            self._remember()
            job.prompt = step.prompt
        if self._workerRedos:
            self._workerRedos -= 1
            self._request("click.redo", ClickArgs(self._click), self._onFollowed)
        else:  # the worker was started anew since, and never heard of the step
            assert job.prompt is not None
            self._request("click.prompt", ClickPromptArgs(self._click, job.prompt), self._onFollowed)

    def _begin_reset(self, job: _Job) -> None:
        if not job.follow:
            self._takeAllBack()
        self._forgetSteps()
        arguments = ClickResetArgs(self._click, self._writeMask(self._base))
        self._request("click.reset", arguments, self._onFollowed)

    def _begin_next(self, job: _Job) -> None:
        self.target.addNext()
        self._readBase()
        self._forgetSteps()
        arguments = ClickResetArgs(self._click, self._writeMask(self._base))
        self._request("click.reset", arguments, self._onFollowed)

    def _takeAllBack(self) -> None:
        volume = self._volume()
        while self.done and self.done[-1].changes:
            try:
                for change in reversed(self.done[-1].changes):
                    self.target.undo(change)
            except InputError as error:  # rebuilt elsewhere: below it gets its first voxels back
                logger.info("Reset: %s", error)
                break
            self.done.pop()
        if self.done:  # steps that are not kept any more: the segment gets its own first voxels back
            box = self.done[-1].box
            assert box is not None
            mask = np.zeros((box[1] - box[0], box[3] - box[2], box[5] - box[4]), bool)
            if self._base is not None:
                first, bits = self._base
                shape = (first[1] - first[0], first[3] - first[2], first[5] - first[4])
                mask[_inside(box, first)] = np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape)
            self.target.write(volume, mask, box)

    def _forgetSteps(self) -> None:
        self.done.clear()
        self.undone.clear()
        self._workerRedos = 0
        self._remember()

    def _request(self, operation: str, arguments: Any, onResult: Callable[[Any], None]) -> None:
        follow = self._active is not None and self._active.follow
        self._changed(ClickState.COMPUTING, self.message if follow else _("Computing"))
        self._requestId = self._client.request(operation, arguments, on_result=onResult, on_error=self._failed)

    def _onFollowed(self, update: ClickUpdate) -> None:
        """The worker did what the segments show already."""
        self._requestId = None
        self._client.session.discard(update.label_map)
        job, told = self._active, ""
        if job is not None and job.follow:
            self._active = None
            self._changed(ClickState.READY, self.message)
            return
        if job is not None:
            told = {
                "undo": _("The last step was taken back."),
                "redo": _("The step was made again."),
                "reset": _("All steps of this segment were taken back."),
                "next": _("A new segment was added: click on the next structure."),
            }[job.kind]
        self._finish(told)

    def _onPrompted(self, update: ClickUpdate) -> None:
        self._requestId, self._update = None, update
        try:
            self._reader = ArrayReader(self._client.session, update.label_map)
            self._changed(ClickState.RECEIVING, _("Receiving"))
            self._receive()
        except MedAIError as error:
            self._failed(error)

    def _receive(self) -> None:
        assert self._reader is not None
        if self._reader.step():
            self._write()

    def _write(self) -> None:
        job, update, reader = self._active, self._update, self._reader
        assert job is not None and update is not None and reader is not None and job.placed is not None
        assert job.prompt is not None
        self._reader = self._update = None
        try:
            self._checkVolume()
            change = self.target.write(self._volume(), reader.array[0] > 0, update.box)
        except _VolumeChanged:
            raise
        except MedAIError:
            # The worker has the step and the segments have not: it forgets it, too.
            self._jobs.appendleft(_Job("undo", follow=True))
            raise
        step = Step(job.placed, job.prompt, [change], None, (0, 0), time.monotonic() - job.since)
        self.undone.clear()
        self._workerRedos = 0
        self._note(step, update.box)
        self.done.append(step)
        self._stamp = self.target.stamp()
        self._trim()
        self.lastSeconds = step.seconds
        self.error = None
        self._finish(self._told(change, step))

    def _told(self, change: Any, step: Step) -> str:
        text = _("{voxels} voxels in {seconds} s.").format(voxels=step.sum[0], seconds=f"{step.seconds:.2f}")
        protected = getattr(change, "protected", 0)
        if protected:
            text += " " + _("{count} voxels lie in other segments and were left to them.").format(count=protected)
        return text

    def _note(self, step: Step, box: Box) -> None:
        """Remember how the segment looks after this step, to know it again."""
        before = self.done[-1].box if self.done and self.done[-1] is not step else step.box
        if before is None and self._base is not None:
            before = self._base[0]
        step.box = union(before, box)
        step.sum = checksum(self.target.read(self._volume(), step.box))

    def _trim(self) -> None:
        held = sum(step.nbytes for step in self.done)
        for step in self.done[:-1]:
            if held <= self.settings.historyBytes:
                return
            held -= step.nbytes
            step.changes = []

    # Whoever else works on the same segment

    def _remember(self) -> None:
        if not self._fresh:
            self._stamp = self.target.stamp()

    def _inStep(self, job: _Job) -> bool:
        """Whether the segment is as this session left it. If not, what follows is queued before the job."""
        if self.target.stamp() == self._stamp:
            return True
        states = [(self._base[0] if self._base else None, self._baseSum)]
        states += [(step.box, step.sum) for step in (*self.done, *reversed(self.undone))]
        found = self._stateNow(states, len(self.done))
        if found == len(self.done):
            self._remember()
            return True
        self._active = None
        self._jobs.appendleft(job)
        if found is None:
            self._startFromHere()
        elif found < len(self.done):  # undone elsewhere, as by the Segment Editor
            for _count in range(len(self.done) - found):
                self.undone.append(self.done.pop())
                self._jobs.appendleft(_Job("undo", follow=True))
        else:
            for _count in range(found - len(self.done)):
                step = self.undone.pop()
                self.done.append(step)
                self._jobs.appendleft(_Job("redo", prompt=step.prompt, follow=True))
        self._remember()
        return False

    def _stateNow(self, states: list[tuple[Box | None, tuple[int, int]]], current: int) -> int | None:
        """Which of the states the segment is in; None for none of them."""
        volume = self._volume()
        everything: Box | None = None
        for box, _sum in states:
            everything = union(everything, box) if box is not None else everything
        if everything is None:
            return 0 if self.target.bounds(volume) is None else None
        now = self.target.read(volume, everything)
        voxels = int(np.count_nonzero(now))
        for number in sorted(range(len(states)), key=lambda n: abs(n - current)):
            box, expected = states[number]
            if voxels != expected[0]:
                continue
            if voxels == 0 or (box is not None and checksum(now[_inside(everything, box)]) == expected):
                return number
        return None

    def _startFromHere(self) -> None:
        """Somebody else has changed the segment: the worker goes on from what it is now."""
        self._readBase()
        self.done.clear()
        self.undone.clear()
        self._jobs.appendleft(_Job("reset", follow=True))
        self._notice = _("The segment was changed elsewhere: clicks go on from there, earlier ones cannot be undone.")

    # What can go wrong

    def _volume(self) -> Any:
        volume = self._scene.GetNodeByID(self._volumeId)
        if volume is None:
            raise InputError(
                _("The volume '{name}' is no longer in the scene.").format(name=self._volumeName),
                _("Start a session on another volume."),
            )
        return volume

    def _checkVolume(self) -> None:
        """The volume is as it was sent; otherwise the session is opened anew, from the segment as it is."""
        self._volume()
        assert self._watch is not None
        if not self._watch.changed():
            return
        if self._active is not None:
            # The job is done on the new voxels, but a step cannot be undone that was made on others.
            if self._active.kind in ("prompt", "next") and not self._active.follow:
                self._active.prompt = None
                self._jobs.appendleft(self._active)
            self._active = None
        self._forgetRequests(jobs=False)
        self._closeAtWorker()
        self._click = ""
        self.done.clear()
        self.undone.clear()
        self._fresh = True
        self.state = ClickState.CLOSED
        raise _VolumeChanged(
            _("The volume '{name}' was changed, or shows another frame.").format(name=self._volumeName),
            _("The session is opened anew, from the segment as it is; earlier clicks cannot be undone."),
        )

    def _failed(self, error: MedAIError) -> None:
        """A request or a slice of work ended with an error; nothing was written for it."""
        self._requestId = None
        self._releaseFiles()
        job, self._active = self._active, None
        if self._ended or isinstance(error, Cancelled):
            return
        if isinstance(error, _VolumeChanged):
            self._notice = str(error)
            self._changed(ClickState.CLOSED, self._notice)
            return
        if self._scene.GetNodeByID(self._volumeId) is None:
            self._end(error.message)
            return
        opened = self.state not in (ClickState.SENDING, ClickState.OPENING, ClickState.CLOSED)
        outOfStep = job is not None and (job.kind != "prompt" or job.follow) and self.state is ClickState.COMPUTING
        gone = self._client.hello is None  # the process ended, also where that is told as a lack of memory
        if opened and (gone or outOfStep or isinstance(error, ClickSessionError)):
            self._lost(job, error)
            return
        self.error = error
        if not opened:
            self._jobs.clear()
        logger.info("Click session: %s", error)
        self._changed(ClickState.READY if opened else ClickState.CLOSED, str(error))

    def _lost(self, job: _Job | None, error: MedAIError) -> None:
        """The worker does not have the session any more: `advance` opens it again, with all prompts, for the next job.

        A prompt is tried once more. Of the other jobs this side has done its part, which is what will be replayed.
        """
        self._click, self._workerRedos = "", 0
        logger.warning("The click session was lost: %s", error)
        if job is not None and job.kind == "prompt" and not job.follow:
            if job.attempts:
                self.error = error
                self._changed(ClickState.CLOSED, _("The prompt was left out: {error}").format(error=error))
                return
            job.attempts += 1
            self._jobs.appendleft(job)
        self._changed(ClickState.CLOSED, _("The worker was started anew; the session is opened again."))

    def _finish(self, message: str) -> None:
        self._active = None
        message, self._notice = f"{self._notice} {message}".strip(), ""
        self._changed(ClickState.READY, message)

    def _end(self, message: str) -> None:
        self._forgetRequests()
        self._closeAtWorker()
        self._release()
        self._ended = True
        self.error = InputError(message, _("Start a session on another volume."))
        self._changed(ClickState.CLOSED, str(self.error))

    def _closeAtWorker(self) -> None:
        """Let the worker forget the volume; nothing is to be said where the worker is gone itself."""
        click, self._click = self._click, ""
        if not click:
            return
        try:
            self._client.request("click.close", ClickArgs(click), on_error=_ignoreLost)
        except WorkerError as error:
            _ignoreLost(error)

    def _forgetRequests(self, jobs: bool = True) -> None:
        if self._requestId is not None:
            self._client.drop(self._requestId)
            self._requestId = None
        if jobs:
            self._jobs.clear()
            self._active = None

    def _release(self) -> None:
        self._releaseFiles()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._base = None
        self.done.clear()
        self.undone.clear()

    def _releaseFiles(self) -> None:
        if self._writer is not None:
            self._writer.abort()
        if self._reader is not None:
            self._reader.abort()
        self._writer = self._reader = self._update = None

    def _changed(self, state: ClickState, message: str) -> None:
        self.state, self.message = state, message
        if self._onChanged is not None:
            self._onChanged(self)


class _VolumeChanged(InputError):
    """The voxels under the session are not those that were sent."""


def _inside(outer: Box, inner: Box) -> tuple[slice, slice, slice]:
    """A box within another, as slices of the other's voxels."""
    k, j, i = (slice(inner[2 * a] - outer[2 * a], inner[2 * a + 1] - outer[2 * a]) for a in range(3))
    return k, j, i


def _ignoreLost(error: MedAIError) -> None:
    """Closing a session that is gone already is no news."""
    logger.debug("click.close: %s", error)

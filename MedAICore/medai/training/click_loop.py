"""The training loop of click models: read it from top to bottom.

A batch is a handful of live sessions. Each step is one round of each: forward, loss, backward; then every session gets
a click where its result is most wrong and stays for the next step, until its rounds are over and a new sample takes its
place. So no forward pass is made without learning from it, and each sample is used for as many steps as it has rounds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from medai.errors import Cancelled, ConfigError
from medai.networks import build_network
from medai.networks.click_channels import CHANNELS, click_channels
from medai.progress import CancelCheck, Progress, ProgressCallback, check_cancelled
from medai.training.checkpoint import load_checkpoint, save_checkpoint
from medai.training.click_cases import ClickCase
from medai.training.click_prompts import ClickState, correct, start, start_plainly
from medai.training.click_samples import ClickSample, SampleStream, real_sample
from medai.training.click_settings import ClickTrainingSettings, rate_at
from medai.training.ema import WeightAverage
from medai.training.precision import Compute
from medai.training.run_folder import RunFolder

_log = logging.getLogger(__name__)
_REPORT_EVERY_S = 60.0
_GOOD_ENOUGH = 12  # wrong voxels at which a session ends before its rounds are over
_ROUNDS_SHOWN = (1, 3, 5)


class ClickTrainer:
    """State of one run: network, its average, optimiser, live sessions, and the number of the next sample."""

    def __init__(
        self, settings: ClickTrainingSettings, cases: Sequence[ClickCase], compute: Compute, root: Path
    ) -> None:
        arguments = settings.network.arguments
        if arguments.get("in_channels") != len(CHANNELS) or arguments.get("out_channels") != 1:
            raise ConfigError(
                f"A click network takes {len(CHANNELS)} channels and gives 1, not {arguments}.", "Correct the network."
            )
        torch.manual_seed(settings.seed)
        self.settings, self.compute, self.folder = settings, compute, RunFolder(root)
        network = build_network(settings.network.name, settings.network.arguments)
        # Channels last: a quarter less time per step on a CPU.
        self.network: nn.Module = network.to(compute.device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.average = WeightAverage(self.network, settings.ema_decay)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.step, self.seconds, self.drawn = 0, 0.0, 0
        self.stream = SampleStream(
            [case for case in cases if case.card.part == "training"],
            settings.size,
            settings.seed,
            settings.synthetic,
            settings.brains,
        )
        self._validation = [case for case in cases if case.card.part == "validation"]

    def run(self, progress: ProgressCallback, cancelled: CancelCheck) -> bool:
        """Train until the last step (True) or until `cancelled` (False); a checkpoint is left behind in both cases."""
        watched = validation_samples(self._validation, self.settings)
        try:
            with ThreadPoolExecutor(1) as pool:
                self._steps(pool, watched, progress, cancelled)
            finished = True
        except Cancelled:
            finished = False
        self.save()
        self.folder.report("end", step=self.step, seconds=round(self.seconds, 1), finished=finished)
        return finished

    def _steps(
        self,
        pool: ThreadPoolExecutor,
        watched: Sequence[ClickSample],
        progress: ProgressCallback,
        cancelled: CancelCheck,
    ) -> None:
        s = self.settings
        feed = _Feed(self.stream, self.drawn, pool)
        sessions: list[ClickState] = []
        clock = reported = saved = validated = time.monotonic()
        losses: list[float] = []
        first_step, waited_s = self.step, 0.0
        while self.step < s.steps:
            check_cancelled(cancelled)
            while len(sessions) < s.batch_size:
                before = time.monotonic()
                sample = feed.next()
                waited_s += time.monotonic() - before
                sessions.append(start(sample, self._generator(feed.taken)))
            sessions, loss = self.train_step(sessions)
            losses.append(loss)
            self.drawn = feed.taken
            now = time.monotonic()
            self.seconds, clock = self.seconds + now - clock, now
            progress(Progress(min(self.step / s.steps, 1.0), "training"))
            if now - reported > _REPORT_EVERY_S:
                self._report(losses, self.step - first_step, now - reported, waited_s)
                reported, first_step, waited_s, losses = now, self.step, 0.0, []
            if now - saved > 60 * s.checkpoint_minutes:
                self.save()
                saved = now
            if now - validated > 60 * s.validation_minutes:
                self.validate(watched, cancelled)
                validated = clock = time.monotonic()

    def train_step(self, sessions: list[ClickState]) -> tuple[list[ClickState], float]:
        """One round of every session and one update; the sessions that go on, and the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.step, self.settings)
        self.network.train()
        target = torch.stack([s.sample.target for s in sessions])[:, None].float().to(self.compute.device)
        with torch.no_grad():
            channels = batch_channels(sessions).to(self.compute.device, memory_format=torch.channels_last_3d)
        with self.compute.autocast():
            logits = self.network(channels).float()
        loss = click_loss(logits, target)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
        else:
            _log.warning("Step %d has no finite gradient and is skipped.", self.step)
        self.step += 1
        self.average.update(self.network, self.step)
        found = (logits.detach() > 0).float().cpu()
        return self._go_on(sessions, found), float(loss.detach())

    def _go_on(self, sessions: list[ClickState], found: torch.Tensor) -> list[ClickState]:
        """The sessions with rounds left and errors to click on, each with its next click."""
        kept = []
        for number, (state, mask) in enumerate(zip(sessions, found, strict=True)):
            state.rounds -= 1
            state.previous = mask[0]
            wrong = int(((mask[0] > 0.5) ^ state.sample.target).sum())
            if state.rounds > 0 and wrong > _GOOD_ENOUGH:
                correct(state, self._generator(self.step * 64 + number))
                kept.append(state)
        return kept

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(number * 7919 + self.settings.seed)

    def _report(self, losses: list[float], steps: int, seconds: float, waited_s: float) -> None:
        self.folder.report(
            "step",
            step=self.step,
            seconds=round(self.seconds, 1),
            samples=self.drawn,
            loss=round(sum(losses) / max(len(losses), 1), 4),
            steps_per_s=round(steps / seconds, 3),
            waited_for_data=round(waited_s / seconds, 3),
            learning_rate=rate_at(self.step, self.settings),
        )

    def validate(self, samples: Sequence[ClickSample], cancelled: CancelCheck) -> dict[str, dict[str, float]]:
        """Dice of the averaged network after 1, 3 and 5 clicks by group, written to progress.jsonl."""
        started = time.monotonic()
        dice = click_dice(self.average.network, samples, self.compute, cancelled)
        self.folder.report(
            "validation",
            step=self.step,
            seconds=round(self.seconds, 1),
            dice=dice,
            validation_seconds=round(time.monotonic() - started, 1),
        )
        return dice

    def save(self) -> None:
        """Write the checkpoint from which `restore` goes on."""
        state: dict[str, Any] = {
            "step": self.step,
            "seconds": self.seconds,
            "drawn": self.drawn,
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        save_checkpoint(self.folder.checkpoint, state)
        self.folder.report("checkpoint", step=self.step, seconds=round(self.seconds, 1))

    def restore(self) -> None:
        """Go back to the newest checkpoint; sessions begin with new samples."""
        state = load_checkpoint(self.folder.checkpoint, self.compute.device)
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.drawn = state["step"], state["seconds"], state["drawn"]
        self.folder.forget_after(self.step)


class _Feed:
    """Samples in the order of their numbers; a thread draws the next ones while the network computes."""

    def __init__(self, stream: SampleStream, taken: int, pool: ThreadPoolExecutor, ahead: int = 6) -> None:
        self.taken = taken
        self._stream, self._pool = stream, pool
        self._waiting: list[Future[ClickSample]] = [pool.submit(stream.sample, taken + n) for n in range(ahead)]

    def next(self) -> ClickSample:
        future = self._waiting.pop(0)
        self._waiting.append(self._pool.submit(self._stream.sample, self.taken + len(self._waiting) + 1))
        self.taken += 1
        return future.result()


def batch_channels(sessions: Sequence[ClickState]) -> torch.Tensor:
    """(b, channels, n, n, n): what the network sees of these sessions."""
    maps = [torch.stack(kind)[:, None] for kind in zip(*(s.maps() for s in sessions), strict=True)]
    return click_channels(*maps)


def click_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross entropy plus soft Dice (Milletari et al. 2016), per sample: each structure counts the same."""
    entropy = functional.binary_cross_entropy_with_logits(logits, target)
    probability = torch.sigmoid(logits).flatten(1)
    truth = target.flatten(1)
    dice = (2 * (probability * truth).sum(1) + 1) / (probability.sum(1) + truth.sum(1) + 1)
    return entropy + (1 - dice).mean()


def validation_samples(cases: Sequence[ClickCase], settings: ClickTrainingSettings) -> list[ClickSample]:
    """Fixed cubes: painted ones, and per group of held-back real images as many of their objects, without variation."""
    count = settings.validation_samples
    stream = SampleStream([], settings.size, settings.seed + 10_007, 1.0, 0.0)
    samples = [stream.sample(number) for number in range(count)]
    groups = sorted({case.card.group for case in cases if case.card.image})
    for group in groups:
        members = [case for case in cases if case.card.group == group]
        found = 0
        for number in range(8 * count):
            generator = torch.Generator().manual_seed(settings.seed + 31 * number)
            sample = real_sample(members[number % len(members)], settings.size, generator, augmented=False)
            if sample is not None:
                samples.append(sample)
                found += 1
            if found == count:
                break
    return samples


@torch.no_grad()
def click_dice(
    network: nn.Module, samples: Sequence[ClickSample], compute: Compute, cancelled: CancelCheck
) -> dict[str, dict[str, float]]:
    """Group -> {"1": mean Dice after one click, "3", "5"}; each click goes into the deepest point of the error."""
    network.eval()
    sums: dict[str, dict[str, list[float]]] = {}
    generator = torch.Generator().manual_seed(0)
    for sample in samples:
        check_cancelled(cancelled)
        state = start_plainly(sample)
        for rounds in range(1, max(_ROUNDS_SHOWN) + 1):
            logits = network(batch_channels([state]).to(compute.device)).float().cpu()
            state.previous = (logits[0, 0] > 0).float()
            if rounds in _ROUNDS_SHOWN:
                sums.setdefault(sample.group, {}).setdefault(str(rounds), []).append(
                    _dice(state.previous > 0, sample.target)
                )
            correct(state, generator, careful=1.0)
    return {g: {r: round(sum(v) / len(v), 4) for r, v in by_round.items()} for g, by_round in sums.items()}


def _dice(found: torch.Tensor, target: torch.Tensor) -> float:
    total = int(found.sum()) + int(target.sum())
    return 2 * int((found & target).sum()) / max(total, 1)

"""The shipped classifiers on the validation split of MedMNIST: figures, calibration, and what they find unusual.

python -m benchmarks.classification                    all three tables (Testing on the path)
python -m benchmarks.classification --seed-cnn         also trains the seed article's CNN briefly, by the same command
python -m benchmarks.classification --data FOLDER      where breast.npz, pneumonia.npz and adrenal3d_64.npz lie

There is no peer: these are scripts of their own, and the official test splits are not used.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.child import REPOSITORY
from medai.classify import LoadedClassifier, evaluation, load_model
from medai.config.classify import ClassifyConfig
from medai.dataset.classification import LabelledSet, list_labelled
from medai.dataset.framed import image_of
from medai.dataset.stratified import stratified_folds
from medai.image import Image
from medai.inference.classification import vote
from medai.metrics import classification as figures
from medai.metrics.calibration import cross_fitted, softmax
from medai.models import open_model
from medai.progress import never_cancelled

MODELS = {
    "chest-xray-pneumonia": "pneumonia.npz",
    "breast-ultrasound": "breast.npz",
    "adrenal-shape": "adrenal3d_64.npz",
}
_MOST_STRANGE = 150
PASSES = {"pneumonia.npz": "1", "breast.npz": "8"}


@dataclass(frozen=True, eq=False)
class Subject:
    """A shipped model with the data set that it was made from, and its predictions on the validation split."""

    name: str
    model: LoadedClassifier
    data: LabelledSet
    made: evaluation.Predictions


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.classification", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data" / "medmnist")
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="ids of shipped models, or paths")
    parser.add_argument("--seed-cnn", action="store_true", help="train the seed CNN on the 2D sets, a few passes")
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        print(f"benchmarks: there is no folder '{options.data}'; give --data.", file=sys.stderr)
        return 1
    subjects = [_subject(name, options.data) for name in options.models]
    print_figures(subjects)
    print_calibration(subjects)
    print_anomaly(subjects, options.data)
    if options.seed_cnn:
        print_seed_cnn(options.data)
    return 0


def _subject(name: str, data: Path) -> Subject:
    package = open_model(name)
    found = list_labelled(data / MODELS[package.card.id], [spec.name for spec in package.card.classes])
    model = load_model(package, "cpu")
    return Subject(package.card.id, model, found, evaluation.predict(found, found.part("val"), model))


def print_figures(subjects: list[Subject]) -> None:
    """AUC and accuracy with their intervals, and the decisions."""
    print("\nFigures on the validation split (95 % bootstrap intervals)")
    print(f"{'model':22} {'n':>4}  {'AUC':22} {'accuracy':22} balanced  sens.  spec.   F1")
    for s in subjects:
        _print_row(s.name, evaluation.measured(s.made, s.model))


def _print_row(name: str, row: dict) -> None:
    ranges = [f"{row[k]['value']:.3f} ({row[k]['ci95'][0]:.3f}-{row[k]['ci95'][1]:.3f})" for k in ("auc", "accuracy")]
    rest = "  ".join(f"{row[k]:.3f}" for k in ("balanced_accuracy", "sensitivity", "specificity", "f1"))
    print(f"{name:22} {row['n']:>4}  {ranges[0]:22} {ranges[1]:22} {rest}")


def print_calibration(subjects: list[Subject]) -> None:
    """Calibration error and Brier score with a temperature fitted on the other four fifths, beside what is possible."""
    print("\nCalibration on the validation split; temperature cross-fitted in five parts")
    print(f"{'model':22} {'ECE before':>10} {'after':>7} {'perfect, 95th':>14} {'Brier before':>13} {'after':>7}")
    for s in subjects:
        labels = s.made.labels
        parts = stratified_folds(labels.tolist(), [str(n) for n in range(len(labels))], 5, seed=0)
        before, after = softmax(s.made.logits), cross_fitted(s.made.logits, labels, parts)
        errors = [figures.calibration_error(p, labels) for p in (before, after)]
        scores = [figures.brier_score(p, labels) for p in (before, after)]
        limit = figures.perfect_calibration_limit(after)
        print(f"{s.name:22} {errors[0]:10.4f} {errors[1]:7.4f} {limit:14.4f} {scores[0]:13.4f} {scores[1]:7.4f}")


def print_anomaly(subjects: list[Subject], data: Path) -> None:
    """How well the anomaly score tells a model's own validation cases from other images."""
    print("\nAnomaly score: AUROC of own validation cases against others; share of own cases flagged")
    print(f"{'model':22} {'against':34} {'n':>4}  AUROC")
    sets = {name: list_labelled(data / file) for name, file in MODELS.items()}
    for s in subjects:
        own = s.made.scores
        if own is None or s.model.anomaly is None:
            print(f"{s.name:22} stores no features")
            continue
        for what, images in _strange(s, sets):
            scores = np.array([_score(s.model, image) for image in images])
            auroc = figures.auc(np.r_[scores, own], np.r_[np.ones(len(scores)), np.zeros(len(own))])
            print(f"{s.name:22} {what:34} {len(scores):>4}  {auroc:.3f}")
        flagged = (own > s.model.anomaly.threshold).mean()
        print(f"{s.name:22} {'own cases above the threshold':34} {len(own):>4}  {flagged:.3f}")


def _score(model: LoadedClassifier, image: Image) -> float:
    framed, _ = model.framing.apply(image)
    x = torch.from_numpy(framed.array)[None]
    votes = vote(x.squeeze(2) if model.planar else x, model, ClassifyConfig(), never_cancelled)
    assert votes.scores is not None
    return float(votes.scores[0])


def _strange(subject: Subject, sets: dict[str, LabelledSet]) -> list[tuple[str, list[Image]]]:
    """Images that a model was not made for: the two other data sets, noise, and its own images inverted.

    Volumes reach a 2D model by their middle slice. Pictures reach the model of masks as what is brighter than their
    mean, drawn out over a third of the cube.
    """
    groups: list[tuple[str, list[Image]]] = []
    planar = subject.model.planar
    own = [image_of(subject.data, item) for item in subject.data.part("val")][:_MOST_STRANGE]
    for name, found in sets.items():
        if name == subject.name:
            continue
        images = [image_of(found, item) for item in found.part("val")][:_MOST_STRANGE]
        if planar:
            images = [_slice(image) for image in images if image.shape[0] == 1 or _slice(image).array.any()]
        else:
            images = [_drawn_out(image) for image in images]
        groups.append((name + ("" if planar else ", as masks"), images))
    rng = np.random.default_rng(0)
    make: Callable[[Image], np.ndarray] = lambda image: rng.random(image.array.shape)  # noqa: E731
    noise = [Image((make(image) > 0.5 if not planar else 255 * make(image)).astype(np.float32), image.ijk_to_ras)
             for image in own[:60]]  # fmt: skip
    groups.append(("noise", noise))
    groups.append(("own, inverted", [Image(image.array.max() - image.array, image.ijk_to_ras) for image in own]))
    return groups


def _slice(image: Image) -> Image:
    middle = image.shape[0] // 2
    return Image(image.array[:, middle : middle + 1], image.ijk_to_ras)


def _drawn_out(image: Image) -> Image:
    mask = image.channel(0)[0] > image.array.mean()
    side = np.linspace(0, mask.shape[0] - 1, 64).round().astype(int)
    volume = np.zeros((1, 64, 64, 64), np.uint8)
    volume[0, 21:43] = mask[np.ix_(side, side)]
    return Image(volume, image.ijk_to_ras)


def print_seed_cnn(data: Path) -> None:
    """The seed article's CNN, trained by `medai train` for a few passes with SGD, measured by `medai evaluate`."""
    print("\nSeed CNN (24 x 24, SGD with momentum, cross entropy; 1 and 8 passes) on the validation split")
    with tempfile.TemporaryDirectory() as folder:
        for file in PASSES:
            output = Path(folder) / f"seed-{file[:-4]}.medai"
            _medai("train", str(data / file), "--task", "classification", "--network", "seed_cnn", "--optimizer", "sgd",
                   "--epochs", PASSES[file], "--output", str(output), "--device", "cpu")  # fmt: skip
            row = _medai("evaluate", "--task", "classification", "--model", str(output), str(data / file))
            _print_row(f"seed_cnn {file[:-4]}", row)


def _medai(*arguments: str) -> dict:
    from medai.cli.app import run

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run([*arguments, "--json"])
    if code:
        raise SystemExit(f"medai {' '.join(arguments)} failed: {out.getvalue()}")
    return json.loads(out.getvalue().splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())

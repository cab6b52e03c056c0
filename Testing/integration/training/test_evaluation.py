"""A trained model measured: by its own run on the cases that it held back, and on a data set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training_phantoms import write_cache, write_dataset

from medai import evaluate, train
from medai.cli.app import run as command
from medai.config.training import TrainConfig
from medai.errors import ConfigError, DatasetError, OutputError
from medai.imageio import read_label_map
from medai.training import RunFolder


def trained(dataset: Path, output: Path, **options: object) -> train.TrainResult:
    values: dict[str, object] = {"preset": "quick", "device": "cpu", "width": 8, "learning_rate": 5e-3, "seed": 3}
    return train.run(TrainConfig(dataset=str(dataset), output=str(output), **{**values, **options}))  # type: ignore[arg-type]


def test_a_run_measures_itself_on_its_held_back_cases_and_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_dataset(tmp_path / "balls")
    result = trained(data, tmp_path / "ball.medai", steps=30)
    folder = result.run_folder / "evaluation"
    report = json.loads((folder / evaluate.REPORT_NAME).read_text(encoding="utf-8"))
    held = RunFolder(result.run_folder).read_settings().validation_cases
    assert sorted(case["case"] for case in report["cases"]) == sorted(held)
    for case in report["cases"]:
        assert set(case["labels"]) == {"label 1", "label 2"}
        reference, _ = read_label_map(case["reference"])
        prediction, scheme = read_label_map(folder / case["prediction"])
        assert prediction.same_grid(reference)
        assert Path(case["images"][0]).is_file()
        # The figures are those of the files that are shown.
        again = evaluate.compare_label_maps(reference, prediction, None, scheme)
        assert again["label 2"]["dice"] == pytest.approx(case["labels"]["label 2"]["dice"])
    # As training measured itself on its own grid, which is the images' here.
    assert report["mean"]["label 2"]["dice"] == pytest.approx(result.metrics["label 2"]["dice"], abs=0.05)

    other = evaluate.run_model(data, tmp_path / "ball.medai", tmp_path / "all", "cpu")
    assert len(other["cases"]) == 6
    some = evaluate.run_model(data, tmp_path / "ball.medai", tmp_path / "one", "cpu", cases=[held[0]])
    assert [case["case"] for case in some["cases"]] == [held[0]]
    with pytest.raises(OutputError, match="exists already"):
        evaluate.run_model(data, tmp_path / "ball.medai", tmp_path / "one", "cpu")
    with pytest.raises(DatasetError, match="no case 'nobody'"):
        evaluate.run_model(data, tmp_path / "ball.medai", tmp_path / "two", "cpu", cases=["nobody"])
    # The same network on the same cases: no difference at all.
    same = evaluate.compare(folder, tmp_path / "all", ["dice"])["metrics"]["dice"]["overall"]
    assert (same["difference"], same["p"]) == (0.0, 1.0)

    capsys.readouterr()
    table = tmp_path / "again.csv"
    assert command(["evaluate", "--run-folder", str(result.run_folder), "--csv", str(table), "--json"]) == 0
    data_again = json.loads(capsys.readouterr().out)
    assert data_again["cases"] == report["cases"]
    assert len(evaluate.read_report(table)["cases"]) == len(held)


def test_a_run_from_a_cache_is_measured_on_the_caches_grid_each_case_by_the_network_that_did_not_see_it(
    tmp_path: Path,
) -> None:
    cache = write_cache(tmp_path / "cache").root
    result = trained(cache, tmp_path / "m.medai", steps=12, folds=2)
    assert not (result.run_folder / "evaluation").exists()
    report = evaluate.run_folder(result.run_folder, "cpu")
    assert sorted(case["case"] for case in report["cases"]) == ["case0", "case1", "case2", "case3"]
    # What training measured itself with the unpackaged weights; half precision changes single voxels.
    own = result.metrics["upper"]["dice"]
    assert report["mean"]["upper"]["dice"] == pytest.approx(own, abs=0.03)
    first = report["cases"][0]
    reference, scheme = read_label_map(result.run_folder / "evaluation" / first["reference"])
    assert scheme is not None
    assert list(scheme.names) == ["lower", "upper"]
    assert reference.spacing_mm == pytest.approx((1.1, 1.0, 1.2))
    assert (result.run_folder / "evaluation" / first["images"][0]).is_file()


def test_a_run_without_a_model_is_not_measured(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache").root
    calls = iter(range(10_000))
    config = TrainConfig(
        dataset=str(cache), output=str(tmp_path / "m.medai"), preset="quick", device="cpu", width=8, steps=8
    )
    stopped = train.run(config, cancelled=lambda: next(calls) >= 3)
    with pytest.raises(ConfigError, match="no model yet"):
        evaluate.run_folder(stopped.run_folder, "cpu")
    with pytest.raises(ConfigError, match="holds no run"):
        evaluate.run_folder(tmp_path, "cpu")

"""Model packages: written, opened, checked; and every way in which one can be wrong or unsafe."""

from __future__ import annotations

import hashlib
import json
import pickle
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medai.config.model_card import (
    InputSpec,
    LabelSpec,
    ModelCard,
    NetworkSpec,
    Training,
    TrainingData,
    load_card,
)
from medai.errors import ModelError, OutputError
from medai.models import UNWRITTEN_WEIGHTS, install, list_models, open_model, remove, verify, write_package
from medai.models.library import version_key


@pytest.fixture
def card() -> ModelCard:
    return ModelCard(
        format=1,
        id="phantom-balls",
        version="1.0",
        title="Balls",
        task="segment",
        network=NetworkSpec("unet", {"in_channels": 1, "out_channels": 2, "channels": [4, 8]}),
        weights=UNWRITTEN_WEIGHTS,
        inputs=(InputSpec("T1", "MR"),),
        licence="CC-BY-SA-4.0",
        spacing_mm=(1.0, 0.5, 0.5),
        patch=(16, 32, 32),
        labels=(LabelSpec(1, "ball", (1.0, 0.5, 0.0)),),
        training=Training((TrainingData("phantoms", "Apache-2.0", "https://example.org/a/b", 3),), {"dice": 0.9}),
    )


@pytest.fixture
def states() -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    shared = torch.randn(4, 3, generator=generator)
    return [
        {"a.weight": shared * (fold + 1), "tied": shared * (fold + 1), "count": torch.tensor(7), "t": shared.T}
        for fold in range(2)
    ]


@pytest.fixture(params=["model.medai", "model"])
def package(request, tmp_path, card, states) -> Path:
    write_package(tmp_path / request.param, card, states, files={"LICENSE": b"text of the licence"})
    return tmp_path / request.param


def test_what_is_written_is_read(package, card, states):
    model = open_model(package)
    assert replace(model.card, weights=card.weights) == card
    assert model.folds == (0, 1)
    assert model.licence_text() == "text of the licence"
    for fold, state in enumerate(states):
        found = model.weights(fold)
        assert found.keys() == state.keys()
        assert found["a.weight"].dtype == torch.float32
        assert torch.equal(found["a.weight"], state["a.weight"].half().float())
        assert found["count"].item() == 7
    assert verify(package) == ["weights-0.safetensors", "weights-1.safetensors"]
    with pytest.raises(ModelError, match="no fold 2"):
        model.weights(2)


def test_equal_models_are_equal_files(tmp_path, card, states):
    for name in ("a.medai", "b.medai"):
        write_package(tmp_path / name, card, states)
    assert (tmp_path / "a.medai").read_bytes() == (tmp_path / "b.medai").read_bytes()


def test_a_folder_package_has_a_readable_card(tmp_path, card, states):
    write_package(tmp_path / "m", card, states)
    assert load_card(tmp_path / "m").weights[1].fold == 1
    with pytest.raises(OutputError, match="is a folder"):
        write_package(tmp_path / "m", card, states)


def test_values_beyond_half_precision_stay_float32(tmp_path, card):
    state = {"w": torch.tensor([1e6, 1.0])}
    model = write_package(tmp_path / "m.medai", card, [state])
    assert model.card.weights[0].dtype == "float32"
    assert torch.equal(open_model(tmp_path / "m.medai").weights()["w"], state["w"])


def test_weights_that_are_not_finite_are_not_written(tmp_path, card):
    with pytest.raises(ModelError, match="'w' of model 'phantom-balls' is not finite"):
        write_package(tmp_path / "m.medai", card, [{"w": torch.tensor([float("nan")])}])
    with pytest.raises(ModelError, match="no weights"):
        write_package(tmp_path / "m.medai", card, [])
    assert list(tmp_path.iterdir()) == []


def test_figures_that_are_not_defined_become_null(tmp_path, card, states):
    card = replace(card, training=Training(metrics={"hd95_mm": float("nan"), "per": [1.0, float("inf")]}))
    write_package(tmp_path / "m", card, states)
    text = (tmp_path / "m" / "model.json").read_text()
    assert json.loads(text)["training"]["metrics"] == {"hd95_mm": None, "per": [1.0, None]}


@pytest.mark.parametrize(
    "text",
    [
        "trained on /data/case7.nii.gz",
        "/data/x",
        "C:\\Users\\me\\x.nii",
        "see file:///x",
        "~/images/x.nii",
        "uid 1.2.840.113619.2.55.3.604688119",
        "DOE^JOHN",
    ],
)
def test_paths_uids_and_names_of_patients_are_not_written(tmp_path, card, states, text):
    for spoilt in (
        replace(card, description=text),
        replace(card, training=Training(run={"note": [text]})),
        replace(card, training=Training(metrics={text: 1.0})),
    ):
        with pytest.raises(ModelError, match="holds"):
            write_package(tmp_path / "m.medai", spoilt, states)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["mm/min and a/b/c", "https://example.org/a/b.html", "version 1.2.3.4", "T1 / T2", "x^2"]
)
def test_plain_texts_are_written(tmp_path, card, states, text):
    write_package(tmp_path / "m.medai", replace(card, description=text), states)
    assert open_model(tmp_path / "m.medai").card.description == text


# --- damaged and unsafe packages


def repacked(package: Path, change: dict[str, bytes | None]) -> None:
    """Rewrite an archive with some files changed, added or (None) left out."""
    with zipfile.ZipFile(package) as archive:
        content = {name: archive.read(name) for name in archive.namelist()} | change
    with zipfile.ZipFile(package, "w") as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)


@pytest.fixture
def archive(tmp_path, card, states) -> Path:
    write_package(tmp_path / "m.medai", card, states)
    return tmp_path / "m.medai"


def card_text(archive: Path) -> dict:
    with zipfile.ZipFile(archive) as opened:
        return json.loads(opened.read("model.json"))


def test_changed_weights_are_found(archive):
    with zipfile.ZipFile(archive) as opened:
        data = bytearray(opened.read("weights-1.safetensors"))
    data[-1] ^= 1
    repacked(archive, {"weights-1.safetensors": bytes(data)})
    with pytest.raises(ModelError, match=r"'weights-1.safetensors' .* damaged or was changed") as caught:
        open_model(archive)
    assert str(archive) in caught.value.message
    assert caught.value.remedy


def test_weights_changed_after_opening_are_found(tmp_path, card, states):
    write_package(tmp_path / "m", card, states)
    model = open_model(tmp_path / "m")
    (tmp_path / "m" / "weights-0.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match="damaged or was changed"):
        model.weights()


def test_missing_weights_and_card(archive):
    repacked(archive, {"weights-0.safetensors": None})
    with pytest.raises(ModelError, match=r"lacks its file 'weights-0.safetensors'"):
        open_model(archive)
    repacked(archive, {"model.json": None})
    with pytest.raises(ModelError, match=r"has no model.json"):
        open_model(archive)


@pytest.mark.parametrize("part", [0.3, 0.95])
def test_truncated_archives(archive, part):
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ModelError, match=r"no readable .medai file"):
        open_model(archive)


def test_damage_inside_an_archive(archive):
    data = bytearray(archive.read_bytes())
    start = data.index(b'"channels"') if b'"channels"' in data else data.index(b"weights-0.safetensors") + 200
    data[start : start + 4] = b"\xff\xff\xff\xff"
    archive.write_bytes(data)
    with pytest.raises(ModelError):
        open_model(archive)


class Exploit:
    """What a malicious pickle would run."""

    def __reduce__(self):
        return (open, ("exploited", "w"))


def test_a_pickle_with_the_right_hash_is_not_loaded(archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evil = pickle.dumps(Exploit()) + b"\0" * 64
    data = card_text(archive)
    data["weights"][0]["sha256"] = hashlib.sha256(evil).hexdigest()
    repacked(archive, {"weights-0.safetensors": evil, "model.json": json.dumps(data).encode()})
    with pytest.raises(ModelError, match="is no safetensors file"):
        open_model(archive)
    assert not (tmp_path / "exploited").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=2), "format is 2"),
        (lambda d: d.update(surprise=1), "unknown key 'surprise'"),
        (lambda d: d.pop("licence"), "'licence' is missing"),
        (lambda d: d["inputs"][0]["normalization"].update(name="magic"), r"inputs\[0\].normalization.name: 'magic'"),
        (lambda d: d["weights"][0].update(file="../weights-0.safetensors"), "not a plain file name"),
        (lambda d: d["weights"][0].update(file="/etc/passwd"), "not a plain file name"),
        (lambda d: d["weights"][0].update(dtype="float32"), "not the listed float32"),
        (lambda d: d["weights"][1].update(fold=0), "lists a fold twice"),
        (lambda d: d["labels"].append(d["labels"][0]), "same value"),
        (lambda d: d.update(spacing_mm=[1, 0, 1]), "not positive"),
        (lambda d: d.update(patch=[8, 8]), r"patch: \[8, 8\] is not a list of 3"),
    ],
)
def test_wrong_cards_name_the_key(archive, change, message):
    data = card_text(archive)
    change(data)
    repacked(archive, {"model.json": json.dumps(data).encode()})
    with pytest.raises(ModelError, match=message):
        open_model(archive)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_cards_that_are_no_json(archive, content):
    repacked(archive, {"model.json": content})
    with pytest.raises(ModelError, match=r"model\.json"):
        open_model(archive)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "folder/file", "C:evil", ".hidden", "a\\b"])
def test_unsafe_names_are_refused(archive, name):
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(ModelError, match="unsafe entry"):
        open_model(archive)


def test_links_doubled_names_and_bombs_are_refused(archive):
    good = archive.read_bytes()
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(ModelError, match="link or another special file"):
        open_model(archive)
    archive.write_bytes(good)
    with zipfile.ZipFile(archive, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr("model.json", "{}")
    with pytest.raises(ModelError, match="twice"):
        open_model(archive)
    archive.write_bytes(good)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("bomb.safetensors", b"\0" * 20_000_000)
    with pytest.raises(ModelError, match="suspiciously small"):
        open_model(archive)


def test_links_in_a_folder_are_not_followed(tmp_path, card, states):
    write_package(tmp_path / "m", card, states)
    weights = tmp_path / "m" / "weights-0.safetensors"
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="lacks its file"):
        open_model(tmp_path / "m")


def test_not_a_package(tmp_path):
    (tmp_path / "x.medai").write_text("hello")
    with pytest.raises(ModelError, match=r"no readable .medai file"):
        open_model(tmp_path / "x.medai")
    with pytest.raises(ModelError, match="There is no model package"):
        open_model(tmp_path / "none.medai")
    with pytest.raises(ModelError, match=r"has no model\.json"):
        open_model(tmp_path)


# --- the user's folder


def test_install_list_open_remove(tmp_path, package, card):
    root = tmp_path / "user"
    installed = install(package, root)
    assert installed.root == root / "phantom-balls"
    assert installed.source == "user"
    assert sorted(p.name for p in installed.root.iterdir()) == [
        "LICENSE", "model.json", "weights-0.safetensors", "weights-1.safetensors",
    ]  # fmt: skip
    assert "phantom-balls" in [m.card.id for m in list_models(root)]
    assert open_model("phantom-balls", root).weights()["count"].item() == 7
    assert install(package, root).root == installed.root, "installing it again changes nothing"
    assert install(installed.root, root).root == installed.root, "nor does installing it from where it is"
    assert remove("phantom-balls", root) == installed.root
    assert list(root.iterdir()) == []
    with pytest.raises(ModelError, match="No model 'phantom-balls' is installed"):
        remove("phantom-balls", root)


def test_unknown_ids_list_the_known(tmp_path, archive):
    install(archive, tmp_path / "user")
    with pytest.raises(ModelError, match="There is no model 'nothing'") as caught:
        open_model("nothing", tmp_path / "user")
    assert "phantom-balls" in caught.value.remedy


def test_another_version_replaces_and_the_same_with_other_weights_does_not(tmp_path, archive, card, states):
    root = tmp_path / "user"
    install(archive, root)
    write_package(tmp_path / "newer.medai", replace(card, version="1.1"), states[:1])
    assert install(tmp_path / "newer.medai", root).card.version == "1.1"
    assert sorted(p.name for p in (root / "phantom-balls").iterdir()) == ["model.json", "weights-0.safetensors"]
    write_package(tmp_path / "other.medai", replace(card, version="1.1"), states)
    with pytest.raises(ModelError, match="installed already, with other content"):
        install(tmp_path / "other.medai", root)
    assert [p.name for p in root.iterdir()] == ["phantom-balls"]


def test_a_broken_package_is_not_installed(tmp_path, archive):
    repacked(archive, {"weights-0.safetensors": b"other"})
    with pytest.raises(ModelError):
        install(archive, tmp_path / "user")
    assert not (tmp_path / "user").exists()


def test_a_broken_installed_model_is_passed_over_and_can_be_replaced(tmp_path, archive, caplog):
    root = tmp_path / "user"
    install(archive, root)
    (root / "phantom-balls" / "weights-0.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match="damaged"):
        open_model("phantom-balls", root)
    assert install(archive, root).weights()["count"].item() == 7
    (root / "phantom-balls" / "model.json").write_text("{")
    assert "phantom-balls" not in [m.card.id for m in list_models(root)]
    assert "passed over" in caplog.text


def test_shipped_models_are_whole():
    for model in list_models(Path("/nonexistent")):
        assert model.source == "shipped"
        assert verify(model.root)
        assert model.licence_text(), f"{model.card.id} has no licence text"


def test_versions_are_ordered():
    ordered = ["0.9", "1.0-rc1", "1.0", "1.0.1", "1.9", "1.10", "2"]
    assert sorted(["2", "1.10", "1.0.1", "1.9", "1.0", "0.9", "1.0-rc1"], key=version_key) == ordered


def test_cards_are_listed_and_verified_without_torch(tmp_path, archive):
    install(archive, tmp_path / "user")
    code = (
        "import sys; sys.modules['torch'] = sys.modules['SimpleITK'] = None\n"
        "from pathlib import Path; from medai.models import *\n"
        "root = Path(sys.argv[1]); assert list_models(root); print(verify('phantom-balls', root))"
    )
    path = str(Path(__file__).resolve().parents[3] / "MedAICore")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r})\n{code}", str(tmp_path / "user")],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "weights-1.safetensors" in done.stdout

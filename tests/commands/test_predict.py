from __future__ import annotations

import csv
import dataclasses
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from commands.main import app
from fedmend import plugins
from fedmend.models import ModelFile
from fedmend.settings import Settings

_CLASSES = ("ill", "well")


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let nothing be written but where it is asked for."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return 18 images, a third of them noisy, and one file that is none."""
    generator = np.random.default_rng(0)
    ramp = np.linspace(40, 200, 32)[None, :].repeat(32, 0)
    for number in range(18):
        path = tmp_path / "data" / _CLASSES[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = generator.normal(0, 60, ramp.shape) if number % 3 == 0 else number
        Image.fromarray((ramp + noise).clip(0, 255).astype(np.uint8)).save(path)
    (tmp_path / "data" / "ill" / "torn.png").write_bytes(b"\x89PNG torn")
    return tmp_path / "data"


def _settings(**own: object) -> Settings:
    given = {key.replace("_", "-"): value for key, value in own.items()}
    return Settings.read({"image-size": 32, "noise": "none()", "detector": "residual()", **given})


def _classifier(path: str = "c.safetensors", arm: str = "imputed", **own: object) -> ModelFile:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = plugins.BACKBONES.build("small_cnn(width=8)", 1, 2)
    settings = _settings(**own)
    file = ModelFile(
        "classifier", "small_cnn(width=8)", 1, settings.image_size, _CLASSES, arm, settings,
        model.state_dict(),
    )  # fmt: skip
    file.write(Path(path))
    return file


def _imputer(path: str = "i.safetensors", **own: object) -> ModelFile:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = plugins.DENOISERS.build("unet(width=8)", 1)
    settings = _settings(**own)
    file = ModelFile(
        "imputer", "unet(width=8)", 1, settings.image_size, (), "", settings, model.state_dict()
    )
    file.write(Path(path))
    return file


def _predicted(*words: str) -> Result:
    given = ["predict", "--device", "cpu", *words]
    return CliRunner().invoke(app, given, env={"COLUMNS": "120"})


def _mended(*words: str) -> Result:
    return _predicted(
        "data", "--classifier", "c.safetensors", "--imputer", "i.safetensors", "--out", "p.csv",
        *words,
    )  # fmt: skip


def _rows(path: str = "p.csv") -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_image_has_a_row_and_the_list_is_private(folder: Path) -> None:
    _classifier()
    _imputer()
    result = _mended()
    assert result.exit_code == 0, result.output
    rows = _rows()
    assert list(rows[0]) == [
        "path", "frame", "uid", "score", "flagged", "mended", "p:ill", "p:well", "predicted",
        "label",
    ]  # fmt: skip
    assert [row["path"] for row in rows] == sorted(
        f"{_CLASSES[number % 2]}/{number:02d}.png" for number in range(18)
    )
    for row in rows:
        odds = float(row["p:ill"]), float(row["p:well"])
        assert sum(odds) == pytest.approx(1, abs=2e-6)
        assert row["predicted"] == _CLASSES[int(odds[1] > odds[0])]
        assert row["label"] == row["path"].split("/")[0]
        assert row["mended"] == row["flagged"] == str(int(float(row["score"]) > 0))
        assert (row["frame"], len(row["uid"])) == ("0", 64)
    assert stat.S_IMODE(Path("p.csv").stat().st_mode) == 0o600
    assert "18 images, 6 held to be noisy, 6 mended; classifier of arm imputed" in result.stdout
    assert f"written to {Path.cwd() / 'p.csv'}" in result.stdout
    assert result.stderr.startswith("1 files cannot be used: ")
    right = sum(row["predicted"] == row["label"] for row in rows) / 18
    assert f"on 18 labelled images: accuracy {right:.3f}" in result.stdout
    assert "AUROC" in result.stdout


def test_the_same_is_written_twice_and_for_a_single_image(folder: Path) -> None:
    _classifier()
    _imputer()
    _mended()
    first = Path("p.csv").read_bytes()
    assert _mended("--force").exit_code == 0
    assert Path("p.csv").read_bytes() == first
    one = folder / "ill" / "00.png"
    result = _predicted(
        str(one), "--classifier", "c.safetensors", "--imputer", "i.safetensors", "--out", "o.csv"
    )
    assert result.exit_code == 0, result.output
    (row,) = _rows("o.csv")
    known = next(each for each in _rows() if each["path"] == "ill/00.png")
    assert row == known | {"path": "00.png", "label": ""}
    assert "labelled images" not in result.stdout


def test_it_says_what_the_detector_was_calibrated_on(folder: Path) -> None:
    _classifier(arm="raw")
    given = ("data", "--classifier", "c.safetensors", "--out", "p.csv", "--force")
    learning = _predicted(*given)
    assert "the detector is used as it comes: it learns nothing from 18" in learning.stdout
    assert "no calibration was asked for" in _predicted(*given, "--no-calibrate").stdout
    assert "1 files cannot be used" in learning.stderr


def test_an_arm_that_does_not_mend_says_what_is_flagged(folder: Path) -> None:
    _classifier(arm="removed")
    result = _predicted("data", "--classifier", "c.safetensors", "--out", "p.csv")
    assert result.exit_code == 0, result.output
    assert "18 images, 6 held to be noisy, 0 mended" in result.stdout
    assert sum(row["flagged"] == "1" for row in _rows()) == 6
    assert {row["mended"] for row in _rows()} == {"0"}


def test_an_imputer_of_another_run_is_pointed_out(folder: Path) -> None:
    _classifier()
    _imputer(seed=9)
    result = _mended()
    assert result.exit_code == 0
    assert "come from runs with different settings" in result.stderr
    _imputer()
    assert "different settings" not in _mended("--force").stderr


def test_labels_that_the_classifier_does_not_know_are_counted_apart(folder: Path) -> None:
    (folder / "well").rename(folder / "=odd")
    _classifier(arm="raw")
    result = _predicted("data", "--classifier", "c.safetensors", "--out", "p.csv")
    assert result.exit_code == 0, result.output
    assert "9 images have labels that the classifier does not know" in result.stderr
    assert "on 9 labelled images: " in result.stdout
    assert sum(row["label"] == "'=odd" for row in _rows()) == 9


def test_a_file_that_is_there_is_kept_unless_forced(folder: Path) -> None:
    _classifier()
    _imputer()
    Path("p.csv").write_text("precious")
    result = _mended()
    assert result.exit_code == 2
    assert "--out names a file that is there already" in result.stderr
    assert Path("p.csv").read_text() == "precious"
    assert _mended("--force").exit_code == 0
    assert len(_rows()) == 18


def test_models_that_do_not_go_together_are_refused_by_name(folder: Path) -> None:
    _classifier()
    _imputer(image_size=64)
    assert "trained on images of 64 pixels a side, the classifier on 32" in _mended().stderr
    alone = _predicted("data", "--classifier", "c.safetensors", "--out", "p.csv")
    assert alone.exit_code == 2
    assert "give the imputer of its run too, --imputer" in alone.stderr
    _classifier(arm="raw")
    assert "leave out --imputer" in _mended().stderr
    swapped = _predicted("data", "--classifier", "i.safetensors", "--out", "p.csv")
    assert "expected a classifier file, got one that holds 'imputer'" in swapped.stderr
    assert not Path("p.csv").exists()


def test_broken_models_are_one_sentence(folder: Path) -> None:
    file = _classifier(arm="raw")
    Path("torn.safetensors").write_bytes(Path("c.safetensors").read_bytes()[:-100])
    dataclasses.replace(file, spec="dreamer()").write(Path("dreamt.safetensors"))
    dataclasses.replace(file, spec="small_cnn(width=16)").write(Path("other.safetensors"))
    dataclasses.replace(file, arm="dreamt").write(Path("arm.safetensors"))
    for name in ("torn", "dreamt", "other", "arm", "absent"):
        given = ("data", "--classifier", f"{name}.safetensors", "--out", "p.csv")
        result = _predicted(*given)
        assert (result.exit_code, result.stdout) == (2, ""), name
        assert result.stderr.startswith("fedmend: ")
        assert result.stderr.count("\n") == 1
    assert not Path("p.csv").exists()


def test_nothing_usable_is_a_failure_and_writes_nothing(tmp_path: Path) -> None:
    _classifier(arm="raw")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    result = _predicted("d", "--classifier", "c.safetensors", "--out", "p.csv", "--list")
    assert result.exit_code == 1
    assert "1 files cannot be used: " in result.stderr
    assert "x.png" in result.stdout
    assert "there is no image here that can be used; nothing was written" in result.stderr
    assert not Path("p.csv").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["absent", "--out", "p.csv"], "there is no such file or folder"),
        (["data", "--out", "absent/p.csv"], "--out names a folder that does not exist"),
        (["data", "--out", "p.csv", "--device", "abacus"], "device 'abacus' cannot be used here"),
    ],
)
def test_wrong_use_is_one_sentence_and_status_2(
    folder: Path, words: list[str], sentence: str
) -> None:
    _classifier(arm="raw")
    result = _predicted(*words, "--classifier", "c.safetensors")
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_classifier_and_the_target_must_be_named() -> None:
    for words in (["data"], ["data", "--out", "p.csv"], ["data", "--classifier", "c"]):
        result = _predicted(*words)
        assert result.exit_code == 2
        assert "Traceback" not in result.output

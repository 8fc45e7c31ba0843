from __future__ import annotations

import csv
import stat
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from client_app.synth import rsna, tree
from client_app.synth.order import Order
from commands.main import app
from tests.dicom_files import write


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let nothing be written but where it is asked for."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return 12 images, the last ones noisy, and two files that are none."""
    generator = np.random.default_rng(0)
    ramp = np.linspace(40, 200, 32)[None, :].repeat(32, 0)
    for number in range(12):
        path = tmp_path / "data" / ("ill", "well")[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = generator.normal(0, 60, ramp.shape) if number >= 8 else number
        Image.fromarray((ramp + noise).clip(0, 255).astype(np.uint8)).save(path)
    (tmp_path / "data" / "ill" / "torn.png").write_bytes(b"\x89PNG torn")
    (tmp_path / "data" / "notes.txt").write_text("x")
    return tmp_path / "data"


GRAIN = ("--detector", "residual()")
"""A detector that has nothing against ramps, which no scanner has ever made."""


def _inspected(*words: str) -> Result:
    return CliRunner().invoke(app, ["inspect", *words], env={"COLUMNS": "120"})


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_what_is_there_is_counted_and_the_worst_are_named(folder: Path) -> None:
    result = _inspected(str(folder), "--worst", "5", "--size", "32", *GRAIN)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(
        "read as folder(…)\n"
        "12 images, 12 files, 12 patients, 12 labelled images, 2 cannot be used\n"
    )
    assert "noise scores: 4 of 12 images flagged" in result.stdout
    assert "the 5 worst" in result.stdout
    worst = result.stdout[result.stdout.index("the 5 worst") :]
    assert all(f"{number:02d}.png" in worst for number in range(8, 12))
    assert sum(".png" in line for line in worst.splitlines()) == 5
    assert "torn.png" not in result.output
    assert result.stderr.count("1 files cannot be used: ") == 2


def test_scores_are_calibrated_as_in_a_run_unless_that_is_not_wanted(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    ramp = np.linspace(60, 190, 32)[None, :] + np.linspace(-30, 30, 32)[:, None]
    (tmp_path / "many").mkdir()
    for number in range(60):
        pixels = ramp + generator.normal(0, 1 + number % 2, ramp.shape)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "many" / f"{number}.png")
    given = ("many", "--size", "32", "--csv", "s.csv", "--force")
    assert "the detector is calibrated on 42 of the images here" in _inspected(*given).stdout
    own = {row["path"]: row["score"] for row in _rows(Path("s.csv"))}
    plain = _inspected(*given, "--no-calibrate")
    assert "no calibration was asked for" in plain.stdout
    assert all(row["score"] != own[row["path"]] for row in _rows(Path("s.csv")))


def test_files_that_cannot_be_used_are_named_on_request(folder: Path) -> None:
    result = _inspected(str(folder), "--list", "--worst", "0")
    assert "torn.png" in result.stdout
    assert "notes.txt" in result.stdout
    assert "worst" not in result.stdout


def test_the_list_is_private_complete_and_worst_first(tmp_path: Path, folder: Path) -> None:
    result = _inspected(str(folder), "--csv", "scores.csv", "--size", "32", *GRAIN)
    assert result.exit_code == 0
    assert f"scores: {tmp_path / 'scores.csv'}" in result.stdout
    assert stat.S_IMODE((tmp_path / "scores.csv").stat().st_mode) == 0o600
    rows = _rows(tmp_path / "scores.csv")
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert len(rows) == 12
    assert [row["flagged"] for row in rows] == ["1"] * 4 + ["0"] * 8
    assert rows[0]["format"] == "PNG"
    assert (rows[0]["rows"], rows[0]["columns"], rows[0]["bits"]) == ("32", "32", "8")


def test_the_page_is_private_and_has_as_many_pictures_as_asked(
    tmp_path: Path, folder: Path
) -> None:
    result = _inspected(str(folder), "--html", "p.html", "--thumbnails", "3")
    assert result.exit_code == 0
    assert stat.S_IMODE((tmp_path / "p.html").stat().st_mode) == 0o600
    assert (tmp_path / "p.html").read_text(encoding="utf-8").count("<img ") == 3


def test_no_pixel_is_left_behind(tmp_path: Path, folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert _inspected(str(folder)).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_size_and_detector_are_the_runs_to_choose(folder: Path) -> None:
    _inspected(str(folder), "--csv", "a.csv")
    _inspected(str(folder), "--csv", "b.csv", "--size", "16")
    assert _rows(Path("a.csv"))[0]["score"] != _rows(Path("b.csv"))[0]["score"]
    strict = _inspected(str(folder), "--detector", "residual(threshold=-20)")
    assert "12 of 12 images flagged" in strict.stdout


def test_a_single_dicom_file_is_looked_at_alone(tmp_path: Path) -> None:
    write(tmp_path / "d" / "a.dcm", 1)
    write(tmp_path / "d" / "b.dcm", 2)
    result = _inspected(str(tmp_path / "d" / "a.dcm"))
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "read as dicom(…)\n1 images, 1 files, 1 patients, 1 studies, 0 cannot"
    )


def test_nothing_usable_says_so_and_still_lists_why(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    result = _inspected(str(tmp_path / "d"))
    assert result.exit_code == 1
    assert result.stderr == "fedmend: there is no image here that can be used\n"
    (tmp_path / "d" / "x.dcm").write_bytes(b"\0" * 128 + b"DICM")
    result = _inspected(str(tmp_path / "d"), "--list", "--html", "p.html", "--csv", "s.csv")
    assert result.exit_code == 1
    assert "1 files cannot be used: the data set is empty" in result.stderr
    assert result.stderr.endswith("there is no image here that can be used\n")
    assert "x.dcm" in result.stdout
    assert "the data set is empty" in (tmp_path / "p.html").read_text(encoding="utf-8")
    assert _rows(tmp_path / "s.csv") == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["absent"], "there is no such file or folder"),
        (["data", "--size", "2"], "image-size must be from 16 to 4096; got 2"),
        (["data", "--channels", "2"], "channels must be 1 (grey) or 3 (RGB); got 2"),
        (["data", "--detector", "nose()"], "detector 'nose' does not exist; there is evidence, "),
        (["data", "--detector", "residual("], "a spec is ill-formed"),
        (["data", "--csv", "there.csv"], "--csv names a file that is there already"),
        (["data", "--html", "absent/p.html"], "--html names a folder that does not exist"),
        (["data", "--csv", "x", "--html", "x"], "--csv and --html name the same file"),
        (["dicom(path=data, labels=absent.csv)"], "the labels cannot be read"),
        (["dicom(path=data, window=dark)"], "window"),
    ],
)
def test_wrong_use_is_one_sentence_and_status_2(
    folder: Path, words: list[str], sentence: str
) -> None:
    Path("there.csv").write_text("precious")
    result = _inspected(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("fedmend: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert Path("there.csv").read_text() == "precious"


@pytest.mark.parametrize("words", [[], ["data", "--worst", "-1"], ["data", "--thumbnails", "x"]])
def test_what_does_not_exist_is_wrong_use(words: list[str]) -> None:
    result = _inspected(*words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_hostile_names_reach_no_terminal_as_they_are(tmp_path: Path) -> None:
    write(tmp_path / "d" / "a\x1b[31m\n.dcm", 1, Manufacturer="[red]M[/red]\x1b[2J")
    (tmp_path / "d" / "b\udcff\x07.dcm").write_bytes(b"junk")
    result = _inspected(str(tmp_path / "d"), "--list", "--csv", "s.csv", "--html", "p.html")
    assert result.exit_code == 0, result.output
    assert not {"\x1b", "\x07"} & set(result.output)
    assert "a\\x1b[31m\\n.dcm" in result.stdout
    assert "[red]M[/red]" in result.stdout
    assert "b\\udcff\\x07.dcm" in result.stdout
    assert _rows(tmp_path / "s.csv")[0]["path"] == "a\\x1b[31m\\n.dcm"


@pytest.mark.parametrize("labelled", [False, True])
def test_a_synthetic_site_is_looked_at_to_the_end(tmp_path: Path, labelled: bool) -> None:
    order = Order(sites=2, images=6, size=48, noise="gaussian(std=0.2)", broken=2)
    tree.write(order, tmp_path / "synth", lambda: None)
    site = tmp_path / "synth" / "site-0"
    labels = "labels=labels.csv, image=SOPInstanceUID, label=label, noisy=noisy"
    path = f"dicom(path={site}, {labels})" if labelled else str(site)
    result = _inspected(path, "--csv", "s.csv", "--html", "p.html", "--size", "48")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("read as dicom(…)\n6 images, 6 files")
    rows = _rows(tmp_path / "s.csv")
    assert len(rows) == 6
    assert all(np.isfinite(float(row["score"])) for row in rows)
    assert all(bool(row["label"]) == labelled for row in rows)
    assert "cannot be used: " in result.stderr
    assert ("AUROC" in result.stdout) == labelled


def test_the_synthetic_mammograms_are_looked_at_to_the_end(tmp_path: Path) -> None:
    rsna.write(Order(sites=1, images=6, size=48), tmp_path / "synth", lambda: None)
    result = _inspected(str(tmp_path / "synth"), "--csv", "s.csv")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("read as rsna(…)\n")
    assert {row["modality"] for row in _rows(tmp_path / "s.csv")} == {"MG"}


@pytest.mark.data
def test_the_torture_sets_files_are_looked_at_to_the_end(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "dicom-torture"
    if not folder.is_dir():
        pytest.skip("no torture set here")
    result = _inspected(str(folder), "--csv", "s.csv", "--html", "p.html", "--list")
    assert result.exit_code == 0, result.stderr
    rows = _rows(tmp_path / "s.csv")
    assert sum(row["modality"] == "CT" for row in rows) >= 8
    # One of them is another's pixels, run-length encoded and identified anew.
    assert not {"mutants/00_good.dcm", "mutants/31_rle.dcm"} <= {row["path"] for row in rows}
    assert all(np.isfinite(float(row["score"])) for row in rows)
    assert "sr_document.dcm" in result.stdout

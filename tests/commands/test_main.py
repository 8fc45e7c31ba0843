from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from commands.main import app
from commands.superlink import SuperLink
from fedmend import __version__
from tests.dicom_files import write

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _nothing_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def start(self: SuperLink) -> None:
        pytest.fail("a SuperLink was started")

    monkeypatch.setattr(SuperLink, "start", start)
    monkeypatch.chdir(tmp_path)


def _invoked(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["seed=one"], "seed must be a whole number"),
        (["sed=1"], "did you mean seed?"),
        (["absent.toml"], "the experiment file cannot be read"),
        (["a.toml", "b.toml"], "one experiment file is expected"),
        (["noise=nois()"], "noise: noise 'nois' does not exist; there is"),
        (["noise=gaussian(sd=0.1)"], "noise: noise 'gaussian' has no parameter 'sd'; it has"),
        (["noise=gaussian("], "a spec is ill-formed"),
        (["data=/srv/images"], "'phantom' has none"),
        (["arms=raw,fancy"], "arm 'fancy' does not exist"),
        (["noise-fraction=2"], "noise-fraction must be from 0 to 1"),
        (["--sites", "1"], "the number of sites, 1, is below min-sites = 2"),
        (["threads=1", "--workers", "1000000"], "cores; there are"),
        (["resume=absent"], "there is no run 'absent' to resume"),
        (["run-name=a/b"], "run-name must be a plain folder name"),
        (["--log", "absent/log"], "--log names a folder that does not exist"),
    ],
)
def test_wrong_use_is_one_sentence_and_status_2(words: list[str], sentence: str) -> None:
    result = _invoked("run", *words)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.startswith("fedmend: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [["fly"], ["run", "--fast"], ["run", "--sites", "none"], ["run", "--sites", "0"], ["report"]],
)
def test_what_does_not_exist_is_wrong_use(words: list[str]) -> None:
    result = _invoked(*words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_the_same_mistake_in_a_file_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text("[simulation]\nsides = 3\n")
    result = _invoked("run", "e.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "unknown key 'sides' in [simulation]" in result.stderr


def test_a_run_folder_given_twice_is_wrong_use(tmp_path: Path) -> None:
    result = _invoked("run", "run-dir=a", "--run-dir", "b")
    assert result.exit_code == 2
    assert "run-dir is given twice" in result.stderr


def test_an_incomplete_runs_report_is_a_failure(tmp_path: Path) -> None:
    result = _invoked("report", str(tmp_path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "holds no summary.json" in result.stderr
    assert str(tmp_path) in result.stderr.replace("\n", "")


def test_a_runs_report_is_its_table_again(tmp_path: Path) -> None:
    summary = {"status": "complete", "run": "first", "arms": {"raw": {"clean": {"accuracy": 0.75}}}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    result = _invoked("report", str(tmp_path))
    assert result.exit_code == 0
    assert "0.750" in result.stdout


def test_a_file_that_the_system_refuses_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "summary.json").mkdir()
    result = _invoked("report", str(tmp_path))
    assert result.exit_code == 1
    assert "the system refused: Is a directory" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_terminal_that_lacks_a_character_is_shown_another(tmp_path: Path) -> None:
    write(tmp_path / "\u0141.dcm", 1)
    done = subprocess.run(
        [sys.executable, "-c", "from commands.main import main; main()", "inspect", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"?.dcm" in done.stdout


def test_version() -> None:
    assert _invoked("--version").stdout == f"fedmend {__version__}\n"


def test_help_is_answered_without_the_heavy_imports() -> None:
    code = (
        "import sys\nfrom commands.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'flwr', 'ray', 'numpy', 'psutil'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"run" in done.stdout

from __future__ import annotations

import shlex
import stat
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from commands.main import app

SMALL = ("--sites", "2", "--images", "3", "--size", "36")


def _invoked(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["synth", *map(str, words)])


def _files(root: Path) -> int:
    return sum(path.is_file() for path in root.rglob("*"))


def _run_words(result: Result) -> list[str]:
    """Return the words of the run that the output proposes, which a shell would hand over."""
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("fedmend run ")]
    return shlex.split(line)[2:]


def test_it_says_what_it_wrote_and_how_to_run_on_it(tmp_path: Path) -> None:
    result = _invoked(tmp_path / "a b", *SMALL, "--broken", "1")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(
        f"2 sites, each with 3 images and 1 broken files (broken.csv), written to {tmp_path}/a b\n"
    )
    assert _files(tmp_path / "a b") == 2 * (3 + 1 + 1) + 1
    assert _run_words(result) == [
        f"data=dicom(path={tmp_path}/a b/site-{{site}}, labels=labels.csv, "
        "image=SOPInstanceUID, label=label, patient=patient)",
        "partition=sites()",
        "--sites",
        "2",
    ]


def test_images_noisy_from_the_start_need_no_simulated_noise(tmp_path: Path) -> None:
    result = _invoked(tmp_path / "a", *SMALL, "--noise", "gaussian(std=0.2)")
    words = _run_words(result)
    assert words[0].endswith("patient=patient, noisy=noisy)")
    assert words[2:4] == ["noise=none()", "imputation.noise=gaussian(std=0.2)"]


def test_a_single_site_is_enough(tmp_path: Path) -> None:
    words = _run_words(_invoked(tmp_path / "a", "--sites", "1", "--images", "2", "--size", "36"))
    assert words[-3:] == ["min-sites=1", "--sites", "1"]


def test_the_rsna_layout_is_one_tree(tmp_path: Path) -> None:
    result = _invoked(tmp_path / "a", *SMALL, "--layout", "rsna")
    assert _run_words(result)[:2] == [
        f"data=rsna(path={tmp_path}/a)",
        "partition=column(name=site_id)",
    ]
    assert (tmp_path / "a" / "train.csv").is_file()


@pytest.mark.parametrize("layout", ["dicom", "rsna"])
def test_check_reads_what_synth_wrote(tmp_path: Path, layout: str) -> None:
    result = _invoked(
        tmp_path / "a", "--sites", "2", "--images", "24", "--size", "36", "--layout", layout
    )
    words = [*_run_words(result), f"cache-dir={tmp_path / 'cache'}", "image-size=32"]
    checked = CliRunner().invoke(app, ["check", *words])
    assert checked.exit_code == 0, checked.stderr
    assert "cannot be used" not in checked.stdout + checked.stderr


def test_a_relative_folder_is_taken_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = _invoked("here", *SMALL)
    assert _run_words(result)[0].startswith(f"data=dicom(path={tmp_path}/here/site-{{site}},")


def test_a_path_that_no_spec_carries_is_said_to_be_one(tmp_path: Path) -> None:
    result = _invoked(tmp_path / "Ada's", *SMALL)
    assert result.exit_code == 0
    assert "use a link to it" in result.stdout
    assert "fedmend run" not in result.stdout


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    assert _invoked(tmp_path, *SMALL).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site-0", "site-1"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--sites", "0"), "sites must be from 1 to 10000; got 0"),
        (("--noise", "nois()"), "noise: noise 'nois' does not exist; there is"),
        (("--noise", "gaussian("), "a spec is ill-formed"),
        (("--noise-share", "2"), "noise-share must be from 0 to 1; got 2"),
        (("--broken", "-1"), "broken must be from 0"),
    ],
)
def test_wrong_use_is_one_sentence_and_writes_nothing(
    tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    result = _invoked(tmp_path / "a", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("fedmend: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("--layout", "flat"), ("--sites", "many"), ("--colour", "red")])
def test_what_does_not_exist_is_wrong_use(tmp_path: Path, words: tuple[str, ...]) -> None:
    result = _invoked(tmp_path / "a", *words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    result = _invoked(tmp_path, *SMALL)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the folder is not empty; nothing was written" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_the_system_refuses_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    result = _invoked(tmp_path / "a", *SMALL)
    assert result.exit_code == 1
    assert "the system refused: No space left on device" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_other_users_of_the_machine_can_read_the_sites(tmp_path: Path) -> None:
    _invoked(tmp_path / "a", *SMALL)
    (tmp_path / "plain").mkdir()
    mode = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a").rglob("*")
            if path.is_dir()} == {mode}  # fmt: skip

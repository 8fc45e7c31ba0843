from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmend import logs
from fedmend.errors import DataError, SettingsError
from fedmend.logs import Subject
from tests.federation import failing, run, tiny

log = logging.getLogger("fedmend.coordinator")


@pytest.fixture
def as_json(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(logs.VARIABLE, "json")
    logs.begin()
    yield
    logs.concern(Subject())
    monkeypatch.setenv(logs.VARIABLE, "text")
    logs.begin()


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines() if line[:1] == "{"]


@pytest.mark.usefixtures("as_json")
def test_a_line_says_what_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin()  # twice does not write twice
    logs.concern(Subject("spring", "imputation", "", 3))
    log.warning("%s is left out", "west", extra={"site": "west", "seconds": 2.5})
    (line,) = written(capsys)
    time = line.pop("time")
    assert isinstance(time, str)
    assert time.endswith("+00:00")
    assert line == {
        "level": "warning", "logger": "fedmend.coordinator", "run": "spring",
        "phase": "imputation", "round": 3, "site": "west", "message": "west is left out",
        "seconds": 2.5,
    }  # fmt: skip


@pytest.mark.usefixtures("as_json")
def test_what_an_exception_says_stays_out(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise DataError("cannot be read", local="/srv/patients/Jane^Doe.dcm")
    except DataError:
        log.exception("a view cannot be made")
    try:
        Path("/srv/patients/Jane^Doe.dcm").read_text()
    except OSError:
        log.exception("a view cannot be made")
    text = capsys.readouterr().err
    assert "Jane" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["error"] for line in lines] == ["DataError", "FileNotFoundError"]
    assert lines[1]["way"][0].startswith("test_what_an_exception_says_stays_out:")


@pytest.mark.usefixtures("as_json")
def test_a_whole_run_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tiny(tmp_path, arms="raw"), faults={1: failing("train")})
    lines = written(capsys)
    assert all(line["run"] == "tiny" for line in lines)
    assert {line.get("site") for line in lines} >= {"site-0", "site-1", "site-2"}
    rounds = [line for line in lines if "bytes_up" in line]
    assert [(line["phase"], line["arm"], line["round"]) for line in rounds] == [
        ("classification", "raw", 1), ("classification", "raw", 2),
        ("classification", "raw", 3), ("classification", "raw", 3),
    ]  # fmt: skip
    left_out = [line for line in lines if "is left out of round" in str(line["message"])]
    assert [(line["site"], line["level"]) for line in left_out] == [("site-1", "warning")] * 2
    trained = [line for line in lines if "steps" in line]
    assert len(trained) == 3 * 2
    assert str(tmp_path) not in json.dumps(lines)


def test_another_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(logs.VARIABLE, "xml")
    with pytest.raises(SettingsError, match="FEDMEND_LOG must be text or json; got 'xml'"):
        logs.begin()


def test_text_is_the_default(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(logs.VARIABLE, raising=False)
    logs.begin()
    with caplog.at_level(logging.INFO):
        log.info("round 1")
    assert caplog.messages == ["round 1"]

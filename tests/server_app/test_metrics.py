from __future__ import annotations

import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from commands.ports import free_port
from fedmend.errors import SettingsError
from server_app.metrics import VARIABLE, address_of, monitored
from server_app.run_folder import RunFolder
from tests.federation import run, tiny

LINE: dict[str, Any] = {
    "phase": "imputation", "arm": "", "round": 3, "final": False, "score": 21.5,
    "sites": {"north": {}, "south": {}}, "left_out": {"west": "no answer within 60 s"},
    "seconds": 12.5, "bytes": {"up": 1000, "down": 3000},
}  # fmt: skip


def got(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
        text: str = reply.read().decode()
    return text


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    chosen = free_port()
    monkeypatch.setenv(VARIABLE, f"127.0.0.1:{chosen}")
    return chosen


def test_a_line_becomes_metrics(tmp_path: Path, port: int) -> None:
    pytest.importorskip("prometheus_client")
    folder = RunFolder(tmp_path / "spring")
    folder.path.mkdir()
    with monitored(folder):
        assert got(port, "/health") == "ok\n"
        folder.note(LINE)
        folder.note(LINE | {"round": 4, "score": None})
        text = got(port, "/metrics")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            got(port, "/elsewhere")
    where = '{arm="",phase="imputation",run="spring"}'
    for line in (
        f"fedmend_round{where} 4.0",
        f"fedmend_rounds_total{where} 2.0",
        f"fedmend_score{where} 21.5",
        f"fedmend_seconds_total{where} 25.0",
        'fedmend_bytes_total{direction="up",run="spring"} 2000.0',
        'fedmend_bytes_total{direction="down",run="spring"} 6000.0',
        'fedmend_sites{run="spring",state="in"} 2.0',
        'fedmend_sites{run="spring",state="left_out"} 1.0',
        'fedmend_site_failures_total{run="spring",site="west"} 2.0',
    ):
        assert line in text.splitlines()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0  # with the run its port is closed


def test_a_port_that_is_taken_does_not_end_a_run(
    tmp_path: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("prometheus_client")
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        _, summary = run(tiny(tmp_path, arms="raw"), sites=2)
    assert summary["status"] == "complete"
    assert f"no metrics: port {port} cannot be listened on" in caplog.text


def test_without_the_variable_nothing_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    folder = RunFolder(tmp_path)
    with monitored(folder):
        assert folder.listeners == []


@pytest.mark.parametrize("text", ["9464", ":9464", "localhost", "localhost:x", "localhost:70000"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="must be HOST:PORT"):
        address_of(text)

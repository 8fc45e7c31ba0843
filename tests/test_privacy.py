"""What identifies a patient stays in the patient's hospital, whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from flwr.common.serde import message_to_proto
from typer.testing import CliRunner

from client_app.app import app as client_app
from client_app.dicom.headers import NUMBERS, SPACINGS, TEXTS
from commands.main import app
from fedmend.errors import RunError
from server_app.federation import federate
from tests import identified
from tests.federation import tiny
from tests.grid import LocalGrid
from tests.identified import LEAK, TEXT, write_site

READER = "labels=labels.csv, image=SOPInstanceUID, label=label"


def leaks(data: bytes) -> list[bytes]:
    """Return what is found, with what stands around it."""
    return [data[max(0, at.start() - 60) : at.end() + 40] for at in LEAK.finditer(data)]


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def test_the_markers_are_found_where_they_are(tmp_path: Path) -> None:
    """A search that finds nothing is worth something only if it would find."""
    write_site(tmp_path / "site", 1, count=2)
    data = (tmp_path / "site" / "0.dcm").read_bytes()
    found = {match[0].upper() for match in LEAK.finditer(data)}
    for marker in (identified.TEXT, identified.DAY, identified.TIME, identified.UID_DIGITS):
        assert marker.encode() in found
    assert {identified.AGE.encode(), str(identified.NUMBER).encode()} <= found


def test_no_fact_that_is_read_is_one_that_identifies(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset

    filled = identified.identify(Dataset(), 1)
    assert len(filled) > 550
    assert not set(filled) & {*TEXTS, *NUMBERS, *SPACINGS}


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good hospitals; one whose labels are broken; one that does not exist."""
    root = tmp_path_factory.mktemp("archives")
    for number in (0, 1, 2):
        write_site(root / f"{TEXT}-{number}", number)
    broken = (root / f"{TEXT}-2" / "labels.csv").read_text().replace("label", TEXT, 1)
    (root / f"{TEXT}-2" / "labels.csv").write_text(broken)
    return root


def _grid(root: Path, config: Mapping[str, object]) -> LocalGrid:
    nodes = {
        10 - number: {
            "data": f"dicom(path='{root}/{TEXT}-{number}', {READER})", "name": f"north-{number}",
        }
        for number in range(4)
    }  # fmt: skip
    return LocalGrid(client_app, config, nodes)


def test_a_whole_run_says_nothing_of_patients(
    tmp_path: Path,
    hospitals: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    settings = tiny(
        tmp_path, noise_known=False,
        arms="raw,removed,filtered,imputed,local",
    )  # fmt: skip
    net = _grid(hospitals, settings.flat())
    with caplog.at_level(logging.DEBUG):
        run = federate(net, settings, "1")

    assert len(net.received) > 20
    for message in (*net.sent, *net.received):
        assert not leaks(message_to_proto(message).SerializeToString())
    assert not leaks(caplog.text.encode())
    for text in capfd.readouterr():
        assert not leaks(text.encode())
    written = list(files(run.path))
    assert {path.name for path in written} >= {"summary.json", "report.html", "metrics.jsonl"}
    for path in written:
        assert not leaks(str(path).encode()), path.name
        assert not leaks(path.read_bytes()), path.name
    kept = list(files(tmp_path / "cache"))
    assert kept
    for path in kept:
        assert not leaks(str(path.relative_to(tmp_path)).encode())
        assert path.stat().st_mode & 0o077 == 0


def test_nor_does_a_site_whose_images_vanish(tmp_path: Path) -> None:
    root = tmp_path / "archives"
    for number in (0, 1, 2, 3):
        write_site(root / f"{TEXT}-{number}", number)
    settings = tiny(tmp_path, arms="imputed", min_sites=4)
    net = _grid(root, settings.flat())
    net.faults[9] = lambda message, reply: reply
    ordinary = net.push_messages

    def vanish(messages: object) -> object:
        if len(net.received) >= 4:  # all have joined
            for path in (root / f"{TEXT}-1").glob("*.dcm"):
                path.unlink(missing_ok=True)
            for path in (tmp_path / "cache" / "images").rglob("*"):
                path.unlink() if path.is_file() else None
        return ordinary(messages)  # type: ignore[arg-type]

    net.push_messages = vanish  # type: ignore[assignment, method-assign]
    with pytest.raises(RunError) as caught:
        federate(net, settings, "1")
    assert "north-1" in str(caught.value)
    assert not leaks(str(caught.value).encode())
    assert any(message.has_error() for message in net.received)
    for message in net.received:
        assert not leaks(message_to_proto(message).SerializeToString())


def test_nor_do_the_commands_that_a_site_runs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for number in (0, 1):
        write_site(tmp_path / "in" / f"site-{number}", number)
    settings = tiny(
        tmp_path, data=f"dicom(path='{tmp_path}/in/site-{{site}}', {READER})",
        partition="sites()", arms="imputed",
    )  # fmt: skip
    run = federate(LocalGrid.simulated(client_app, settings.flat(), 2), settings, "1").path
    site = f"dicom(path={tmp_path}/in/site-0, {READER})"
    imputer, out = f"--imputer={run}/imputer.safetensors", tmp_path / "out"
    out.mkdir()
    words = {
        "inspect": [site, "--list", f"--csv={out}/scores.csv", f"--html={out}/page.html"],
        "impute": [site, imputer, f"--out={out}/mended",
                   "--detector=residual(threshold=-30)"],
        "predict": [
            site, imputer, f"--classifier={run}/classifier-imputed.safetensors",
            f"--out={out}/predictions.csv",
        ],
        "check": ["data=" + site.replace("site-0", "site-{site}"), "partition=sites()", "--list",
                  "noise=none()", "image-size=32", "--sites=2", f"cache-dir={tmp_path}/home/c"],
    }  # fmt: skip
    for command, given in words.items():
        said = CliRunner().invoke(app, [command, *given])
        assert said.exit_code == 0, said.output
        assert not leaks(said.output.encode()), command
    written = [path for path in files(out) if path.suffix != ".dcm"]
    assert {path.name for path in written} >= {
        "scores.csv", "page.html", "mended.csv", "quarantine.csv", "predictions.csv",
    }  # fmt: skip
    assert any(path.suffix == ".dcm" for path in files(out))
    for path in files(out):
        assert not leaks(str(path.relative_to(out)).encode())
    for path in written:
        assert not leaks(path.read_bytes()), path.name

from __future__ import annotations

import contextlib
import shutil
import ssl
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from commands.diagnosis import images, network, programs, secrets
from commands.diagnosis.finding import Finding, Level
from commands.main import app
from commands.ports import free_port
from commands.provisioning import certificates
from commands.provisioning.federation import Federation
from commands.provisioning.names import Address
from fedmend.errors import SettingsError


def _run(*words: str) -> tuple[int, list[str]]:
    done = CliRunner().invoke(app, ["doctor", *words])
    return done.exit_code, done.output.splitlines()


class _Healthy(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@contextlib.contextmanager
def _serving(certificate: certificates.Pair, folder: Path, status: int = 200) -> Iterator[int]:
    """Serve /health over TLS on this machine; yield the port."""
    (folder / "s.crt").write_text(certificates.certificate_text(certificate.certificate))
    (folder / "s.key").write_text(certificates.key_text(certificate.key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "s.crt", folder / "s.key")
    handler = type("_Handler", (_Healthy,), {"status": status})

    class Quiet(HTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that does not trust the certificate hangs up

    with Quiet(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def authority() -> certificates.Pair:
    return certificates.authority(certificates.now() - timedelta(days=800))


@pytest.fixture
def ca(authority: certificates.Pair, tmp_path: Path) -> Path:
    path = tmp_path / "ca.crt"
    path.write_text(certificates.certificate_text(authority.certificate))
    return path


def _look(port: int, ca: Path, host: str = "localhost") -> list[Finding]:
    return list(network.coordinator(Address(host, port), ca))


def _server(
    authority: certificates.Pair, began: int = 0, days: int = 365, hosts: Sequence[str] = ("hub",)
) -> certificates.Pair:
    return certificates.server(authority, hosts, certificates.now() - timedelta(days=began), days)


def test_a_coordinator_that_is_well(authority: certificates.Pair, ca: Path, tmp_path: Path) -> None:
    with _serving(_server(authority), tmp_path) as port:
        found = _look(port, ca)
    assert {each.level for each in found} == {Level.OK}
    assert [each.subject for each in found] == ["coordinator", "its certificate", "clock"]


@pytest.mark.parametrize(
    ("began", "days", "said"),
    [(400, 365, "its certificate has ended"), (-10, 365, "its certificate is not valid yet")],
)
def test_a_certificate_at_the_wrong_time(
    authority: certificates.Pair, ca: Path, tmp_path: Path, began: int, days: int, said: str
) -> None:
    with _serving(_server(authority, began, days), tmp_path) as port:
        [found] = _look(port, ca)
    assert found.level is Level.PROBLEM
    assert said in found.words


def test_a_certificate_near_its_end_is_spoken_of(
    authority: certificates.Pair, ca: Path, tmp_path: Path
) -> None:
    with _serving(_server(authority, 340, 365), tmp_path) as port:
        found = {each.subject: each for each in _look(port, ca)}
    assert found["its certificate"].level is Level.WARNING
    assert "ends in 24 days" in found["its certificate"].words


def test_another_federations_coordinator(ca: Path, tmp_path: Path) -> None:
    stranger = certificates.authority(certificates.now())
    with _serving(_server(stranger), tmp_path) as port:
        [found] = _look(port, ca)
    assert found.level is Level.PROBLEM
    assert "not from this CA" in found.words


def test_a_certificate_for_other_names(
    authority: certificates.Pair, ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "INNER_HOSTS", ())
    with _serving(_server(authority), tmp_path) as port:
        for host, kind in (("localhost", "names"), ("127.0.0.1", "addresses")):
            [found] = _look(port, ca, host)
            assert f"for other {kind} than this" in found.words


def test_a_gateway_without_a_superlink(
    authority: certificates.Pair, ca: Path, tmp_path: Path
) -> None:
    with _serving(_server(authority), tmp_path, status=502) as port:
        found = _look(port, ca)
    assert found[-1].level is Level.PROBLEM
    assert "SuperLink behind it is not (HTTP 502)" in found[-1].words


def test_nobody_there(ca: Path, tmp_path: Path) -> None:
    [found] = _look(free_port(), ca)
    assert "nothing listens" in found.words
    [found] = _look(free_port(), ca, "no-such-host.invalid")
    assert "this name is not known here" in found.words
    (tmp_path / "empty.crt").touch()
    [found] = _look(free_port(), tmp_path / "empty.crt")
    assert "cannot be used as a CA" in found.words


def test_what_listens_speaks_no_tls(ca: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), _Healthy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            [found] = _look(server.server_port, ca)
        finally:
            server.shutdown()
            thread.join()
    assert "speaks no TLS" in found.words


@pytest.mark.parametrize(
    ("theirs", "level"),
    [(0.0, Level.OK), (-4.0, Level.OK), (-60.0, Level.PROBLEM), (60.0, Level.PROBLEM)],
)
def test_clocks(theirs: float, level: Level) -> None:
    assert network.clock(1e9 + theirs, 1e9).level is level


def _validity(began: int, days: int, authority: certificates.Pair, now: datetime) -> Finding:
    made = certificates.server(authority, ["hub"], now - timedelta(days=began), days)
    return secrets.validity("it", made.certificate, now)


def test_validity_over_time(authority: certificates.Pair) -> None:
    now = certificates.now()
    levels = {
        began: _validity(began, 365, authority, now).level for began in (-2, 0, 334, 336, 364, 366)
    }
    assert levels == {
        -2: Level.PROBLEM, 0: Level.OK, 334: Level.OK, 336: Level.WARNING, 364: Level.WARNING,
        366: Level.PROBLEM,
    }  # fmt: skip


def _site(tmp_path: Path, data: str, extra: str = "") -> Path:
    federation = Federation(tmp_path / "federation")
    with federation.alone():
        federation.create(["localhost"], free_port())
        folder = federation.add("north")
    path = folder / "site.toml"
    kept = [line for line in path.read_text().splitlines() if line.startswith(("name", "coord"))]
    kept += [f'data = "{data}"', f'cache-dir = "{tmp_path / "cache"}"', extra]
    path.write_text("\n".join(kept) + "\n")
    return path


def test_a_site_that_is_ready_but_for_its_coordinator(tmp_path: Path) -> None:
    path = _site(tmp_path, "phantom(count=12)")
    code, lines = _run("--site", str(path))
    problems = [line for line in lines if line.startswith("problem")]
    assert code == 1
    assert len(problems) == 1
    assert "nothing listens" in problems[0]
    assert any("12 in" in line and "patients" in line for line in lines)
    assert any("classes: " in line for line in lines)
    assert lines[-1].startswith("1 problem,")


def test_a_site_that_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100 * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)  # how full this machine's disk is
    path = _site(tmp_path, "phantom(count=12)")
    root = tmp_path / "federation"
    pair = certificates.Pair(
        certificates.read(root / "coordinator" / "server.crt"),
        certificates.read_key(root / "coordinator" / "server.key"),
    )
    with _serving(pair, tmp_path) as port:
        old = Federation(root).roll().port
        path.write_text(path.read_text().replace(f":{old}", f":{port}"))
        (path.parent / ".env").write_text(f"# kept\nFEDMEND_COORDINATOR=localhost:{port}\n")
        code, lines = _run("--site", str(path))
        assert code == 0, lines
        assert lines[-1] == "0 problems, 0 to see to", lines
        (path.parent / ".env").write_text("FEDMEND_COORDINATOR=elsewhere:1\n")
        code, lines = _run("--site", str(path))
        assert code == 0
        assert any(line.startswith("warning") and ".env says elsewhere:1" in line for line in lines)


def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    path = _site(tmp_path, "phantom(count=4)")
    (path.parent / "site.key").chmod(0o644)
    (tmp_path / "cache").mkdir(mode=0o755)
    code, lines = _run("--site", str(path))
    assert code == 1
    assert any(line.startswith("problem") and "chmod 600" in line for line in lines)
    assert any(line.startswith("problem") and "chmod 700" in line for line in lines)


def test_a_site_of_which_everything_is_missing(tmp_path: Path) -> None:
    code, lines = _run("--site", str(tmp_path / "site.toml"))
    assert code == 1
    said = [line.split()[1] for line in lines if line.startswith("problem")]
    assert said == ["site.toml", "key", "CA"]
    assert not any("Traceback" in line for line in lines)


def test_images_are_counted_and_what_is_set_aside_too(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    for label, number in (("ill", 2), ("well", 3)):
        (tmp_path / label).mkdir()
        for each in range(number):
            Image.fromarray(np.full((9, 9), 10 * number + each, np.uint8)).save(
                tmp_path / label / f"{each}.png"
            )
    (tmp_path / "ill" / "broken.png").write_bytes(b"nothing")
    found = list(images.listed(f"folder(path='{tmp_path}')"))
    words = [each.words for each in found]
    assert "classes: ill 2, well 3" in words, words
    assert "splits: left to the run 5" in words, words


def test_a_folder_without_an_image_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(
        f'name = "n"\ncoordinator = "localhost:1"\ndata = "folder(path={tmp_path / "none"})"\n'
    )
    code, lines = _run("--site", str(tmp_path / "site.toml"))
    assert code == 1
    assert any(line.startswith("problem  images") for line in lines)


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert [each.words for each in programs.device("auto")] == ["cuda: GPU 0"]
    assert [each.words for each in programs.device("cpu")] == ["cpu"]
    for wanted, said in (("cuda:1", "torch sees 1 GPUs"), ("mps", "no Mac")):
        with pytest.raises(SettingsError, match=said):
            list(programs.device(wanted))


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    for free, level in ((2**28, Level.PROBLEM), (2**31, Level.WARNING), (2**34, Level.OK)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        assert list(images.cache(str(tmp_path / "cache")))[-1].level is level


def test_a_coordinators_folder(tmp_path: Path) -> None:
    _site(tmp_path, "phantom(count=4)")
    root = tmp_path / "federation"
    for folder in (root, root / "coordinator"):
        code, lines = _run("--coordinator", str(folder))
        assert code == 1
        assert any(x.startswith("problem") and "nothing listens" in x for x in lines)
    federation = Federation(root)
    key = (federation.coordinator / "server.key").read_text()
    federation.renew([])
    (federation.coordinator / "server.key").write_text(key)
    federation.revoke("north")
    _, lines = _run("--coordinator", str(root))
    assert any("belongs to another certificate" in line for line in lines)
    assert any(line.startswith("warning") and "no site has a valid key" in line for line in lines)
    assert any("site north revoked on" in line for line in lines)


def test_one_thing_at_a_time(tmp_path: Path) -> None:
    code, lines = _run("--site", "x", "--coordinator", str(tmp_path))
    assert code == 2
    assert "one at a time" in " ".join(lines)
    code, lines = _run()
    assert code == 0
    assert lines[-1] == "0 problems, 0 to see to"

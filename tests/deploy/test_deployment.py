"""The compose files' own commands, run as processes on this machine's loopback."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from commands.main import app
from commands.ports import free_port
from commands.processes import Family
from commands.provisioning.federation import Federation
from tests.deploy.compose_files import GIVEN, ROOT, compose, move_gateway

pytestmark = pytest.mark.engine

_PATIENCE = 60.0


def _await(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def _fedmend(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


class Deployment:
    """A provisioned federation, whose containers are processes."""

    def __init__(self, root: Path, family: Family) -> None:
        self.root = root
        self.family = family
        self.port = free_port()
        self.federation = Federation(root / "federation")
        _fedmend(
            "provision", "--out", str(self.federation.root), "--coordinator", "localhost",
            "--port", str(self.port), "--site", "north",
        )  # fmt: skip
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, file: str, service: str, folder: Path, moved: Mapping[str, str]) -> str:
        """Start a service's command where its container's folders and hosts are others here."""
        given = {**GIVEN, "FEDMEND_COORDINATOR": f"localhost:{self.port}"}
        command = [str(word) for word in compose(file, given)["services"][service]["command"]]
        name = f"{folder.name}-{service}"
        state = self.root / f"{name}-state"
        state.mkdir(exist_ok=True)
        everywhere = {
            "/etc/fedmend": str(folder), "/var/lib/fedmend": str(state),
            "/opt/fedmend": str(ROOT / "deploy" / "image"), **moved,
        }  # fmt: skip
        for there, here in everywhere.items():
            command = [word.replace(there, here) for word in command]
        environment = {
            **os.environ, **self.family.environment(), "FLWR_HOME": str(state), "HOME": str(state),
            "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }  # fmt: skip
        with self.log(name).open("wb") as log:
            self.started[name] = subprocess.Popen(
                command, env=environment, cwd=state, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        return name

    def log(self, name: str) -> Path:
        return self.root / f"{name}.log"

    def said(self, name: str, words: str) -> bool:
        return words in self.log(name).read_text(errors="replace")

    def superlink(self, port: int) -> str:
        moved = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=8000": f"--port={port}"}
        name = self.start(
            "deploy/coordinator/compose.yml", "superlink", self.federation.coordinator, moved
        )
        _await(lambda: self.said(name, "Uvicorn running"), "the SuperLink does not start")
        return name

    def supernode(self, site: str, port: int) -> str:
        moved = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=8000": f"--port={port}"}
        folder = self.federation.root / "sites" / site
        return self.start("deploy/site/compose.yml", "supernode", folder, moved)

    def close(self) -> None:
        for process in self.started.values():
            process.terminate()
        self.family.end(grace=5.0)
        for process in self.started.values():  # nginx overwrites its mark, so it is no family
            try:
                process.wait(timeout=5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    family = Family()
    made = Deployment(tmp_path, family)
    try:
        yield made
    finally:
        made.close()
        assert family.members() == []


def _healthy(*words: str) -> bool:
    script = ROOT / "deploy" / "image" / "healthy.py"
    return subprocess.run([sys.executable, script, *words], check=False).returncode == 0


def test_a_registered_site_is_let_in_and_others_are_not(deployment: Deployment) -> None:
    federation, link = deployment.federation, deployment.port
    ca = str(federation.coordinator / "ca.crt")
    superlink = deployment.superlink(link)
    register = ("register", str(federation.coordinator), "--superlink", f"127.0.0.1:{link}")
    assert "site north: registered" in _fedmend(*register)
    assert "site north: registered" in _fedmend(*register)  # that is how it stands: not online yet

    inner, health = free_port(), free_port()
    north = deployment.supernode("north", inner)
    _await(lambda: deployment.said(north, "SuperNode ID: "), "north is not let in")
    assert "site north: online" in _fedmend(*register)
    exec_ = deployment.start(
        "deploy/site/compose.yml", "superexec", federation.root / "sites" / "north",
        {"supernode:8000": f"127.0.0.1:{inner}", "127.0.0.1:8001": f"127.0.0.1:{health}"},
    )  # fmt: skip
    _await(lambda: deployment.said(exec_, "gRPC health server"), "no superexec")
    assert _healthy(f"https://localhost:{link}/health", ca)
    assert _healthy(f"http://127.0.0.1:{inner}/health")
    assert _healthy(f"grpc://127.0.0.1:{health}")
    assert deployment.started[exec_].poll() is None

    _fedmend("provision", "--out", str(federation.root), "--site", "south")  # known to nobody
    south = deployment.supernode("south", free_port())
    assert deployment.started[south].wait(timeout=_PATIENCE) != 0
    assert deployment.said(south, "Failed to activate SuperNode")
    assert deployment.said(superlink, "No SuperNode found with the given public key")
    assert deployment.started[north].poll() is None

    _fedmend("revoke", "north", "--out", str(federation.root))
    said = _fedmend(*register)
    assert "site north: unregistered" in said
    assert "site south: registered" in said
    deployment.started[north].wait(timeout=_PATIENCE)  # it is told at its next heartbeat
    assert "north" not in _fedmend(*register)


def test_doctor_calls_a_running_coordinator_well(deployment: Deployment) -> None:
    deployment.superlink(deployment.port)
    site = deployment.federation.root / "sites" / "north" / "site.toml"
    text = site.read_text().replace("dicom(path=/data)", "phantom(count=8)")
    site.write_text(text.replace("/var/lib/fedmend", str(deployment.root)))
    said = _fedmend("doctor", "--site", str(site))
    assert "the CA vouches for it" in said
    assert _to_see_to(said) <= {"disk"}  # this machine's may be nearly full
    said = _fedmend("doctor", "--coordinator", str(deployment.federation.root))
    assert _to_see_to(said) == set()


def _to_see_to(said: str) -> set[str]:
    """Read off what a diagnosis gives out the subjects that are not well."""
    lines = [line.split() for line in said.splitlines()]
    return {words[1] for words in lines if words[0] in ("warning", "problem")}


def _asked(port: int, path: str, ca: Path, method: str = "POST") -> int:
    context = ssl.create_default_context(cafile=str(ca))
    connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
    with contextlib.closing(connection):
        connection.request(method, path, body=b"" if method == "POST" else None)
        return connection.getresponse().status


def test_the_gateway_lets_sites_through_and_nothing_else(deployment: Deployment) -> None:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed (apt-get install nginx-light)")
    folder, inner = deployment.federation.coordinator, free_port()
    deployment.superlink(inner)
    move_gateway(
        folder / "gateway.conf", f"127.0.0.1:{deployment.port}", free_port(), inner, deployment.root
    )
    deployment.start("deploy/coordinator/compose.yml", "gateway", folder, {})
    ca = folder / "ca.crt"

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return _asked(deployment.port, "/health", ca, "GET") == 200
        return False

    _await(answers, "the gateway does not answer")
    for path in (
        "/v1/control/list-nodes", "/v1/control/start-run", "/v1/runtime/pull-task", "/docs", "/",
        "/v1/fleet/../control/list-nodes", "/v1/fleet/..%2fcontrol/list-nodes",
        "/v1/fleet/%2e%2e/control/list-nodes", "//v1/control/list-nodes",
    ):  # fmt: skip
        assert _asked(deployment.port, path, ca) == 403, path
    # Within, whoever gets there is heard: what is wrong is the request alone.
    assert _asked(inner, "/v1/control/list-nodes", ca) == 415
    _fedmend("register", str(folder), "--superlink", f"127.0.0.1:{inner}")
    north = deployment.supernode("north", free_port())
    _await(lambda: deployment.said(north, "SuperNode ID: "), "north is not let in")

"""A whole federation of real processes: provisioned, its containers' own commands, its runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import httpx
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import ListRunsRequest, StartRunRequest, StreamLogsRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from typer.testing import CliRunner

from client_app.synth import tree
from client_app.synth.order import Order
from commands import bundle
from commands.main import app
from commands.provisioning import registry
from commands.provisioning.federation import Federation
from fedmend.settings import Settings
from tests.deploy.compose_files import GIVEN, ROOT, compose, image_environment, move_gateway
from tests.deploy.containers import Container, await_
from tests.deploy.networks import GATE, GATE_HEALTH, HEALTH, PORT, Network, network

HUB = "coordinator"
READER = (
    "dicom(path={path}, labels=labels.csv, image=SOPInstanceUID, label=label, patient=patient, "
    "noisy=noisy)"
)
RUN: dict[str, Any] = {
    "image-size": 32, "noise": "none()", "noise-known": True, "min-sites": 2,
    "imputation.noise": "gaussian(std=0.1..0.3)", "imputation.model": "unet(width=8)",
    "imputation.rounds": 1, "imputation.epochs": 1, "classification.model": "small_cnn(width=8)",
    "classification.rounds": 1, "classification.epochs": 1, "arms": "imputed",
    "deadline": 60.0, "join-deadline": 60.0, "device": "cpu",
}  # fmt: skip
PATIENCE = 120.0
"""Seconds for a process to start on a machine of two cores that has other work."""
_T = TypeVar("_T")


class Outcome(NamedTuple):
    """How a run ended."""

    outcome: str
    """completed, failed or stopped."""
    details: str
    log: str
    seconds: float


def fedmend(*words: str) -> str:
    """Run the command in this process; return what it said."""
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


class Hospitals:
    """A coordinator and its sites.

    Args:
        root: an empty folder for everything that they write.
        network: with the machines :data:`HUB` and the sites.
        sites: names of the sites.
        images: of each.
        size: side of the images as stored, in pixels.
    """

    def __init__(
        self, root: Path, network: Network, sites: tuple[str, ...], images: int = 24, size: int = 40
    ) -> None:
        self.root = root
        self.network = network
        self.sites = sites
        self.data = root / "data"
        noise = "gaussian(std=0.3)"
        order = Order(sites=len(sites), images=images, size=size, noise=noise)
        tree.write(order, self.data, lambda: None)
        self.federation = Federation(root / "federation")
        self.gateway = shutil.which("nginx") is not None
        """Whether sites come through the gateway, as they do; else straight to the SuperLink."""
        hub, port = network.address(HUB), network.port(HUB, GATE if self.gateway else PORT)
        self.door = f"{hub}:{port}"
        """Where sites knock."""
        fedmend(
            "provision", "--out", str(self.federation.root), "--coordinator", hub,
            "--coordinator", "localhost", "--coordinator", "superlink", "--port", str(port),
        )  # fmt: skip
        self.containers: dict[str, Container] = {}
        for name in sites:
            self.provision(name)
        self._thread = ThreadPoolExecutor(1, initializer=lambda: network.enter(HUB))
        self._fab: bytes = b""

    def folder_of(self, site: str) -> Path:
        """Return the folder that a site was handed."""
        return self.federation.root / "sites" / site

    def provision(self, site: str, **keys: str | int) -> None:
        """Make a site's folder, and write its site file."""
        fedmend("provision", "--out", str(self.federation.root), "--site", site)
        self.configure(site, **keys)

    def configure(self, site: str, **keys: str | int) -> None:
        """Write a site's file as its hospital would."""
        known: dict[str, str | int] = {
            "name": site,
            "coordinator": self.door,
            "data": READER.format(path=self.data / site),
            "cache-dir": str(self.state(site) / "cache"),
        }
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in (known | keys).items()]
        (self.folder_of(site) / "site.toml").write_text("".join(lines))

    def state(self, machine: str) -> Path:
        """Return what a machine's volume is."""
        return self.root / "state" / machine

    def start(self, *, connected: bool = True) -> None:
        """Start every container, and let the sites in."""
        self.start_hub()
        self.register()
        for site in self.sites:
            self.start_site(site)
        if connected:
            self.await_online(*self.sites)

    def start_hub(self) -> None:
        """Start the coordinator's containers."""
        folder = self.federation.coordinator
        for service in ("superlink", "superexec"):
            self.start_service("deploy/coordinator/compose.yml", service, HUB, folder)
        await_(self._answers, "the SuperLink does not answer", PATIENCE)
        if self.gateway:
            self._open_gateway(folder)
            self.start_service("deploy/coordinator/compose.yml", "gateway", HUB, folder)

    def _open_gateway(self, folder: Path) -> None:
        """Let the gateway's configuration speak of this machine's ports and folders."""
        net = self.network
        host = "127.0.0.1:" if net.kind == "loopback" else ""
        move_gateway(
            folder / "gateway.conf", f"{host}{net.port(HUB, GATE)}", net.port(HUB, GATE_HEALTH),
            net.port(HUB, PORT), self.state(HUB),
        )  # fmt: skip

    def start_site(self, site: str) -> None:
        """Start a site's containers."""
        for service in ("supernode", "superexec"):
            self.start_service("deploy/site/compose.yml", service, site, self.folder_of(site))

    def start_service(
        self,
        file: str,
        service: str,
        machine: str,
        given: Path,
        without: str = "",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Container:
        """Start one container.

        Args:
            file: compose file.
            service: in it.
            machine: where it runs.
            given: folder with the files that it is given.
            without: beginning of a word of its command to leave out.
            environment: beside its image's.
        """
        net, state = self.network, self.state(machine)
        command = compose(file, {**GIVEN, "FEDMEND_COORDINATOR": self.door})["services"][service]
        words = [str(word) for word in command["command"]]
        words = [word for word in words if not without or not word.startswith(without)]
        inner = f"127.0.0.1:{net.port(machine, PORT)}"
        moved = {
            "/etc/fedmend": str(given), "/var/lib/fedmend": str(state),
            "/opt/fedmend": str(ROOT / "deploy" / "image"),
            "supernode:8000": inner,
            "superlink:8000": f"localhost:{net.port(HUB, PORT)}",
            "127.0.0.1:8001": f"127.0.0.1:{net.port(f'{machine} {service}', HEALTH)}",
            "--port=8000": f"--port={net.port(machine, PORT)}",
        }  # fmt: skip
        for there, here in moved.items():
            words = [word.replace(there, here) for word in words]
        if net.kind == "loopback":
            words = [word.replace("--host=0.0.0.0", "--host=127.0.0.1") for word in words]
        name = f"{machine}-{service}"
        limits = {**image_environment(), "OMP_NUM_THREADS": "1", **environment}
        self.containers[name] = Container(name, [*net.prefix(machine), *words], limits, state)
        self.containers[name].start()
        return self.containers[name]

    def control(self, ask: Callable[[ControlHttpClient], _T]) -> _T:
        """Ask the SuperLink's Control API, from the coordinator's own machine."""

        def asked() -> _T:
            ca = (self.federation.coordinator / "ca.crt").read_bytes()
            client = ControlHttpClient.from_server_address(
                self._control(), insecure=False, root_certificates=ca, interceptors=[]
            )
            try:
                return ask(client)
            finally:
                client.close()

        return self._thread.submit(asked).result()

    def _control(self) -> str:
        return f"localhost:{self.network.port(HUB, PORT)}"

    def _answers(self) -> bool:
        try:
            self.control(lambda client: client.ListRuns(ListRunsRequest()))
        except (httpx.HTTPError, OSError):
            return False
        return True

    def register(self) -> dict[str, str]:
        """Bring the SuperLink's list in line with the roll; return what became of each site."""
        folder = self.federation.coordinator
        done = self._thread.submit(
            registry.align, self._control(), folder / "ca.crt", self.federation.roll()
        ).result()
        return {change.name: change.what for change in done}

    def await_online(self, *sites: str) -> None:
        """Wait until sites are connected."""
        await_(
            lambda: all(self.register().get(site) == "online" for site in sites),
            f"{', '.join(sites)} online", PATIENCE, pause=0.5,
        )  # fmt: skip

    def submit(self, changes: Mapping[str, Any]) -> int:
        """Start a run; return its id."""
        with warnings.catch_warnings():  # of the pattern library, about Flower's use of it
            warnings.simplefilter("ignore", DeprecationWarning)
            self._fab = self._fab or bundle.build()
        config = {**RUN, **changes}
        Settings.parse(config)
        request = StartRunRequest(
            fab=fab_to_proto(Fab(hashlib.sha256(self._fab).hexdigest(), self._fab, {})),
            override_config=user_config_to_proto(config),
        )
        return int(self.control(lambda client: client.StartRun(request)).run_id)

    def wait(self, run_id: int, seconds: float) -> Outcome:
        """Wait for a run's end."""
        began = time.monotonic()
        asked = ListRunsRequest(run_id=run_id)

        def status() -> Any:
            try:
                return self.control(lambda client: client.ListRuns(asked)).run_dict[run_id].status
            except (httpx.HTTPError, OSError):
                return None  # the SuperLink is just being started again

        found: list[Any] = []

        def ended() -> bool:
            found[:] = [status()]
            return found[0] is not None and found[0].status == "finished"

        await_(ended, f"the end of the run:\n{self.run_log(run_id)[-3000:]}", seconds, pause=1.0)
        took = time.monotonic() - began
        return Outcome(found[0].sub_status, found[0].details, self.run_log(run_id), took)

    def run_log(self, run_id: int) -> str:
        """Return what the coordinator has said in a run so far."""
        request = StreamLogsRequest(run_id=run_id)

        def first(client: ControlHttpClient) -> str:
            stream = client.StreamLogs(request)
            try:
                said = next(stream, None)
            finally:
                stream.close()
            return said.log_output if said is not None else ""

        try:
            return self.control(first)
        except (httpx.HTTPError, OSError):
            return ""

    def run(self, seconds: float = 400.0, **changes: Any) -> Outcome:
        """Run to the end; ``__`` in a name stands for a dot, ``_`` for a dash."""
        return self.wait(self.submit(keys(changes)), seconds)

    def folder(self, name: str) -> Path:
        """Return a run's folder at the coordinator."""
        return self.state(HUB) / ".fedmend" / "runs" / name

    def close(self) -> None:
        """End every process."""
        for container in self.containers.values():
            container.ask()
        for container in reversed(self.containers.values()):
            container.stop()
        self._thread.shutdown()


@contextlib.contextmanager
def opened(
    root: Path, sites: tuple[str, ...], *, strangers: tuple[str, ...] = (), images: int = 24
) -> Iterator[Hospitals]:
    """Yield a coordinator and its sites, on machines of their own; nothing runs yet.

    Args:
        root: an empty folder.
        sites: their names.
        strangers: machines beside theirs.
        images: of each site.
    """
    with (
        contextlib.closing(network((HUB, *sites, *strangers))) as machines,
        contextlib.closing(Hospitals(root, machines, sites, images)) as made,
    ):
        yield made


def keys(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by their keys from Python names."""
    return {name.replace("__", ".").replace("_", "-"): value for name, value in changes.items()}

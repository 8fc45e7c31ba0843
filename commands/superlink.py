"""One run's own SuperLink: started, given the run, asked how it goes.

``flwr run`` would start one that stays behind, shared by all runs of this user, and answers 0 for
a run that failed. Its Control API is used directly here, because each call of ``flwr`` spends a
second on imports; the package is pinned to the version that this was written for.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from commands.ports import free_port
from commands.processes import Family
from commands.simulation import Simulation
from fedmend.errors import RunError
from fedmend.settings import Value

if TYPE_CHECKING:
    from flwr.supercore.control import ControlHttpClient

_START_UP = 60.0
_ATTEMPTS = 3
LOG = "superlink.log"


class State(NamedTuple):
    """How a run stands."""

    status: str
    """pending, starting, running or finished."""
    outcome: str
    """Of a finished run: completed, failed or stopped."""
    details: str
    """Why it failed; empty otherwise."""


class SuperLink:
    """A SuperLink of this launch alone.

    Args:
        home: an empty folder: Flower's home, the working directory and the log.
        family: to which every process belongs.
        environment: of the process, the family's mark in it.
    """

    def __init__(self, home: Path, family: Family, environment: Mapping[str, str]) -> None:
        self.home = home
        self.family = family
        self.environment = dict(environment)
        self.address = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._client: ControlHttpClient | None = None

    def start(self) -> None:
        """Start the process; :meth:`connect` waits for it."""
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        command = [
            str(Path(sys.executable).parent / "flower-superlink"),
            "--insecure", "--simulation", "--isolation", "subprocess",
            "--host", "127.0.0.1", "--port", str(port),
            "--disable-runtime-dependency-installation",
        ]  # fmt: skip
        with (self.home / LOG).open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the words are all our own
                command,
                env={**self.environment, "FLWR_HOME": str(self.home)},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the launcher, which then ends all of it
            )

    def connect(self) -> None:
        """Wait until it answers; where another program took its port first, start it anew.

        Raises:
            RunError: it ends or stays silent.
        """
        for _ in range(_ATTEMPTS):
            if self._answers():
                break
            self.start()
        else:
            raise RunError("Flower's SuperLink does not start", local=self.last_words())
        from flwr.supercore.control import ControlHttpClient

        self._client = ControlHttpClient.from_server_address(
            self.address, insecure=True, root_certificates=None, interceptors=[]
        )

    def _answers(self) -> bool:
        import httpx

        deadline = time.monotonic() + _START_UP
        while self.lives() and time.monotonic() < deadline:
            try:
                if httpx.get(f"http://{self.address}/health", timeout=1.0).is_success:
                    return self.lives()
            except httpx.HTTPError:
                time.sleep(0.05)
        return False

    def lives(self) -> bool:
        """Say whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def submit(self, bundle: bytes, config: Mapping[str, Value], size: Simulation) -> int:
        """Hand over the app with its whole run config; return the run's id.

        Raises:
            RunError: the SuperLink refuses it.
        """
        from flwr.common.serde import fab_to_proto, user_config_to_proto
        from flwr.proto.control_pb2 import StartRunRequest
        from flwr.proto.federation_config_pb2 import SimulationConfig
        from flwr.supercore.fab import Fab

        request = StartRunRequest(
            fab=fab_to_proto(Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})),
            override_config=user_config_to_proto(dict(config)),
            override_federation_config=SimulationConfig(
                num_supernodes=size.sites,
                client_resources_num_cpus=size.threads,
                client_resources_num_gpus=size.gpus_per_worker,
                init_args_log_to_driver=True,
            ),
        )
        import httpx

        try:
            response = self._connected().StartRun(request)
        except httpx.HTTPError as error:
            raise RunError(f"Flower's SuperLink refused the run: {error}") from error
        if not response.HasField("run_id"):
            raise RunError(
                f"Flower's SuperLink refused the run: {response.note or 'no reason given'}"
            )
        return int(response.run_id)

    def state(self, run_id: int) -> State:
        """Return how the run stands.

        Raises:
            RunError: the SuperLink is gone.
        """
        import httpx
        from flwr.proto.control_pb2 import ListRunsRequest

        try:
            runs = self._connected().ListRuns(ListRunsRequest(run_id=run_id)).run_dict
        except httpx.HTTPError as error:
            raise RunError(
                "Flower's SuperLink ended in mid-run", local=self.last_words()
            ) from error
        status = runs[run_id].status
        return State(status.status, status.sub_status, status.details)

    def simulates(self) -> bool:
        """Say whether the simulation's process lives: without it nobody finishes the run."""
        return self.family.has("flwr-simulation")

    def run_log(self, run_id: int) -> str:
        """Return what the coordinator and the sites of a run have said so far."""
        import httpx
        from flwr.proto.control_pb2 import StreamLogsRequest

        try:
            stream = self._connected().StreamLogs(StreamLogsRequest(run_id=run_id))
            first = next(stream, None)
            stream.close()
        except httpx.HTTPError:
            return ""
        return first.log_output if first is not None else ""

    def own_log(self) -> str:
        """Return what the SuperLink itself and its SuperExec have said so far."""
        log = self.home / LOG
        return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""

    def last_words(self, lines: int = 3) -> str:
        """Return the end of the SuperLink's log, for the terminal of this machine's user."""
        said = [line.strip() for line in self.own_log().splitlines() if line.strip()]
        return " / ".join(said[-lines:])

    def close(self) -> None:
        """Drop the connection and reap the process, which the family has ended."""
        if self._client is not None:
            self._client.close()
        if self._process is not None:
            self._process.wait()

    def _connected(self) -> ControlHttpClient:
        if self._client is None:
            raise RuntimeError("connect() comes first")
        return self._client

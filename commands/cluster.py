"""One run's own Ray, started beside the SuperLink instead of after it.

Flower starts Ray from within the simulation when everything else is up, and shuts it down before
it reports; both take seconds in which nothing else is done. A Ray that is there already is joined
and left in no time.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from commands.ports import free_port
from commands.simulation import Simulation

LOG = "ray.log"
_HOLD = """
import sys, ray
ray.init(num_cpus=int(sys.argv[1]), include_dashboard=False, log_to_driver=False)
sys.stdin.read()
ray.shutdown()
"""


class Cluster:
    """A Ray cluster of one node, alive for as long as its owner.

    Args:
        home: an empty folder for its session and log; its path must be short.
        environment: of its processes.
    """

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        self._port = free_port()
        self._environment = {
            **environment,
            "RAY_TMPDIR": str(home),
            "RAY_GCS_SERVER_PORT": str(self._port),
            # No worker for the process below, which has no work for it.
            "RAY_prestart_worker_first_driver": "0",
            "RAY_enable_worker_prestart": "0",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """Return what lets another process join; it waits where the cluster is not up yet."""
        return {"RAY_ADDRESS": f"127.0.0.1:{self._port}", "RAY_TMPDIR": str(self.home)}

    def start(self, size: Simulation) -> None:
        """Start it, without waiting."""
        command = [sys.executable, "-P", "-c", _HOLD, str(size.workers * size.threads)]
        with (self.home / LOG).open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the words are all our own
                command,
                env=self._environment,
                cwd=self.home,
                stdin=subprocess.PIPE,  # its end is how the child learns of ours
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def lives(self) -> bool:
        """Say whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """Reap the process, which the family has ended."""
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.wait()

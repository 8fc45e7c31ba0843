"""The same run as a federation's, in this process: what it must come to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from flwr.supercore.task_identity import TaskIdentity

from client_app.app import app as client_app
from fedmend.settings import Settings
from server_app.federation import federate
from tests import federation as in_process
from tests.deploy.hospitals import READER, RUN
from tests.grid import LocalGrid


def simulated(data: Path, folder: Path, sites: int, changes: Mapping[str, Any]) -> Path:
    """Run with simulated sites; return the run folder.

    Args:
        data: folder of the sites' folders.
        folder: an empty one.
        sites: number of sites.
        changes: to the usual settings.
    """
    settings = Settings.parse(_given(data, folder, changes))
    # A fixture of a module's has no run yet.
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        return federate(LocalGrid.simulated(client_app, settings.flat(), sites), settings, "1").path
    finally:
        torch.set_num_threads(threads)


def _given(data: Path, folder: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    own = {
        "data": READER.format(path=data / "site-{site}"), "partition": "sites()",
        "run-dir": str(folder / "runs"), "cache-dir": str(folder / "cache"),
    }  # fmt: skip
    return {**RUN, **own, **changes}


def by_flower(data: Path, folder: Path, sites: int, changes: Mapping[str, Any]) -> Path:
    """Do the same by ``fedmend run``: with Flower's own simulation, in processes of Ray's."""
    given = _given(data, folder, changes)
    words = [f"{key}={json.dumps(value)}" if isinstance(value, bool) else f"{key}={value}"
             for key, value in given.items()]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="t") as place:  # a short path, for Ray's sockets
        done = subprocess.run(
            [sys.executable, "-c", "from commands.main import main; main()", "run", *words,
             "--sites", str(sites)],
            env={**os.environ, "TMPDIR": place}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "runs" / str(given["run-name"])


def comparable(folder: Path) -> dict[str, Any]:
    """Return a run's summary without what may differ: its name and its times."""
    read: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {key: value for key, value in read.items() if key not in {"run", "seconds"}}


def unlike(one: Path, other: Path, models: tuple[str, ...]) -> list[str]:
    """Return the models of two run folders that differ in any bit."""
    return [
        name for name in models
        if not in_process.same(in_process.weights(one, name), in_process.weights(other, name))
    ]  # fmt: skip

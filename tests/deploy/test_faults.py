"""What befalls machines and disks in mid-round, and what becomes of the run.

``python benchmarks/faults.py`` runs all of it and writes the table of docs/deployment.md; without
the marker ``faults`` one fault of every kind is run, in one phase.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from server_app.checkpoint import Checkpoint
from tests.deploy.containers import await_
from tests.deploy.hospitals import HUB, READER, Hospitals, Outcome, fedmend, opened
from tests.deploy.simulation import simulated, unlike

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

SITES = ("site-0", "site-1")
STRUCK, LATE = "site-1", "late"
BALLAST, ADDED = "ballast", "added.dcm"
WORKER = "client_app.warm.worker"
WORKERS = (WORKER, "flwr-clientapp")
DEADLINE = 75.0
OURS: dict[str, Any] = {
    "min-sites": 1, "deadline": DEADLINE, "join-deadline": 75.0,
    "imputation.epochs": 45, "classification.epochs": 160,
}  # fmt: skip
"""A round that trains for seconds, so that a fault strikes a site in the midst of it."""
LINES = {"imputation": 0, "classification": 3}
"""Exchanges noted before the first round of each phase."""
MODELS = ("imputer", "classifier-imputed")


class Fault(NamedTuple):
    """Something that happens to a federation."""

    name: str
    strike: Callable[[Hospitals], None]
    end: str
    """"goes on", with all sites or without the struck one, or "stops", to be resumed."""
    cuts: bool = False
    """Whether it needs a link that can be cut."""
    fills: bool = False
    """Whether it needs disks of a size of their own."""
    mend: Callable[[Hospitals], None] = lambda hospitals: None
    """What is to be done afterwards, for those that follow."""
    always: str = ""
    """The phase in which it is struck whenever tests are run, and not only on request."""


def _worker(service: str, program: str, number: int) -> Callable[[Hospitals], None]:
    def strike(hospitals: Hospitals) -> None:
        worker = hospitals.containers[service].worker(program)
        assert worker is not None, "it was there a moment ago"
        worker.send_signal(number)

    return strike


def _service(service: str, number: int) -> Callable[[Hospitals], None]:
    return lambda hospitals: hospitals.containers[service].signal(number)


def _cut(hospitals: Hospitals, seconds: float) -> None:
    hospitals.network.link(STRUCK, "down")
    threading.Timer(seconds, hospitals.network.link, (STRUCK, "up")).start()


def _link(hospitals: Hospitals, state: str) -> None:
    hospitals.network.link(STRUCK, state)


def _rate(hospitals: Hospitals, rate: str) -> None:
    hospitals.network.slow(STRUCK, rate)


def _fill(hospitals: Hospitals, machine: str) -> None:
    """Leave no byte free on a machine's volume."""
    folder = hospitals.state(machine)
    with contextlib.suppress(OSError), (folder / BALLAST).open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(folder).free - 2**20)
        file.seek(0, os.SEEK_END)
        while True:
            file.write(bytes(512))


def _free(hospitals: Hospitals, machine: str) -> None:
    (hospitals.state(machine) / BALLAST).unlink()


def _take_away(hospitals: Hospitals, *, empty: bool) -> None:
    """Move the struck site's images elsewhere; perhaps leave an empty folder in their place."""
    folder = hospitals.data / STRUCK
    folder.rename(folder.with_name("elsewhere"))
    if empty:
        folder.mkdir()


def _bring_back(hospitals: Hospitals) -> None:
    folder = hospitals.data / STRUCK
    if folder.exists():
        folder.rmdir()
    folder.with_name("elsewhere").rename(folder)


def _add(hospitals: Hospitals) -> None:
    """Put one more image among the struck site's."""
    folder = hospitals.data / SITES[0]
    image = next(path for path in sorted(folder.rglob("*")) if path.is_file() and _dicom(path))
    shutil.copy(image, hospitals.data / STRUCK / ADDED)


def _dicom(path: Path) -> bool:
    return path.read_bytes()[128:132] == b"DICM"


def _take_out(hospitals: Hospitals) -> None:
    (hospitals.data / STRUCK / ADDED).unlink()


def _join(hospitals: Hospitals) -> None:
    """Start another site."""
    if not hospitals.folder_of(LATE).exists():
        hospitals.provision(LATE, data=READER.format(path=hospitals.data / SITES[0]))
        hospitals.register()
    hospitals.start_site(LATE)


def _leave(hospitals: Hospitals) -> None:
    for service in ("superexec", "supernode"):
        hospitals.containers[f"{LATE}-{service}"].stop()


KILL, TERM = signal.SIGKILL, signal.SIGTERM
FAULTS = (
    Fault("kill -9 of the clientapp", _worker(f"{STRUCK}-superexec", "flwr-clientapp", KILL),
          "goes on", always="imputation"),
    Fault("SIGTERM of the clientapp", _worker(f"{STRUCK}-superexec", "flwr-clientapp", TERM),
          "goes on"),
    Fault("kill -9 of a site's warm worker", _worker(f"{STRUCK}-superexec", WORKER, KILL),
          "goes on", always="classification"),
    Fault("kill -9 of a site's superexec", _service(f"{STRUCK}-superexec", KILL), "goes on"),
    Fault("SIGTERM of a site's superexec", _service(f"{STRUCK}-superexec", TERM), "goes on"),
    Fault("kill -9 of the supernode", _service(f"{STRUCK}-supernode", KILL), "goes on"),
    Fault("SIGTERM of the supernode", _service(f"{STRUCK}-supernode", TERM), "goes on",
          always="classification"),
    Fault("a site's link cut for 30 s", partial(_cut, seconds=30), "goes on", cuts=True,
          always="imputation"),
    Fault("a site's link cut for 150 s", partial(_cut, seconds=150), "goes on", cuts=True),
    Fault("a site's link cut for good", partial(_link, state="down"), "goes on", cuts=True,
          mend=partial(_link, state="up")),
    Fault("a site's link down to 1 Mbit/s", partial(_rate, rate="1mbit"), "goes on", cuts=True,
          mend=partial(_rate, rate="")),
    Fault("a site's disk is full", partial(_fill, machine=STRUCK), "goes on", fills=True,
          mend=partial(_free, machine=STRUCK), always="imputation"),
    Fault("a site's images are gone", partial(_take_away, empty=False), "goes on",
          mend=_bring_back),
    Fault("a site's folder is empty", partial(_take_away, empty=True), "goes on",
          mend=_bring_back),
    Fault("a site's folder gets another image", _add, "goes on", mend=_take_out),
    Fault("another site comes in", _join, "goes on", mend=_leave),
    Fault("the coordinator's disk is full", partial(_fill, machine=HUB), "stops", fills=True,
          mend=partial(_free, machine=HUB), always="classification"),
    Fault("kill -9 of the server app", _worker(f"{HUB}-superexec", "flwr-serverapp", KILL),
          "stops"),
    Fault("SIGTERM of the server app", _worker(f"{HUB}-superexec", "flwr-serverapp", TERM),
          "stops", always="classification"),
    Fault("kill -9 of the superlink", _service(f"{HUB}-superlink", KILL), "goes on",
          always="imputation"),
    Fault("SIGTERM of the superlink", _service(f"{HUB}-superlink", TERM), "goes on"),
    Fault("kill -9 of the coordinator's superexec", _service(f"{HUB}-superexec", KILL), "stops"),
    Fault("SIGTERM of the coordinator's superexec", _service(f"{HUB}-superexec", TERM), "stops"),
)  # fmt: skip


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospitals]:
    folder = tmp_path_factory.mktemp("faults")
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(opened(folder, SITES, strangers=(LATE,)))
        for machine in (HUB, STRUCK):
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                _mount(made.state(machine))
                stack.callback(_unmount, made.state(machine))
        made.start()
        yield made


def _mount(folder: Path) -> None:
    """Give a machine a disk of its own."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def undisturbed(hospitals: Hospitals, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the same run in this process, where nothing happens."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return simulated(hospitals.data, folder, len(SITES), OURS)


def _lines(folder: Path) -> list[dict[str, Any]]:
    source = folder / "metrics.jsonl"
    return [json.loads(line) for line in source.read_text().splitlines()] if source.exists() else []


def _in_mid_round(hospitals: Hospitals, folder: Path, phase: str) -> bool:
    """Say whether the struck site has been at work on the phase's first round for a second."""
    joined, noted = folder / "checkpoints" / "sites.json", folder / "metrics.jsonl"
    exchanges = len(_lines(folder))
    assert exchanges <= LINES[phase], f"the first round of {phase} went by too fast to be struck"
    if not joined.exists() or exchanges < LINES[phase]:
        return False
    worker = hospitals.containers[f"{STRUCK}-superexec"].worker("flwr-clientapp")
    began = (noted if noted.exists() else joined).stat().st_mtime
    try:
        # The process that answered the message before may still be about to end.
        return worker is not None and began < worker.create_time() < time.time() - 1.0
    except psutil.Error:
        return False


def _whole(folder: Path) -> None:
    """Check that nothing half-written is left."""
    assert json.loads((folder / "summary.json").read_text())["status"] == "complete"
    assert len(_lines(folder)) >= 6
    for path in (folder / "checkpoints").glob("*.safetensors"):
        assert Checkpoint.load(path).done
    assert [path.name for path in folder.rglob(".*")] == []
    assert list(folder.rglob("*.partial")) == []


CASES = [
    pytest.param(fault, phase, id=f"{fault.name}, {phase}",
                 marks=[] if phase == fault.always else pytest.mark.faults)
    for fault in FAULTS for phase in LINES
]  # fmt: skip


@pytest.mark.parametrize(("fault", "phase"), CASES)
def test_a_run_outlives(
    fault: Fault, phase: str, hospitals: Hospitals, undisturbed: Path,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    if fault.cuts and not hospitals.network.cuttable:
        pytest.skip("no link can be cut here: it takes root and ip netns")
    if fault.fills and not all(hospitals.state(each).is_mount() for each in (HUB, STRUCK)):
        pytest.skip("no file system can be mounted here: it takes root")
    hospitals.await_online(*SITES)
    name = re.sub(r"\W+", "-", request.node.callspec.id)
    run = hospitals.submit({**OURS, "run-name": name})
    folder = hospitals.folder(name)
    await_(partial(_in_mid_round, hospitals, folder, phase), "mid-round", 240)
    try:
        fault.strike(hospitals)
        outcome = hospitals.wait(run, 420)
    finally:
        fault.mend(hospitals)
    if fault.end == "stops":
        assert outcome.outcome == "failed", outcome
        again = hospitals.wait(hospitals.submit({**OURS, "resume": name}), 300)
        assert again.outcome == "completed", again
    else:
        assert outcome.outcome == "completed", outcome
    _whole(folder)
    struck = _lines(folder)[LINES[phase]]
    assert set(struck["left_out"]) <= {STRUCK}, struck
    assert all(line["seconds"] < DEADLINE + 45 for line in _lines(folder))
    absent = sum(STRUCK in line["left_out"] for line in _lines(folder))
    if not absent:
        assert unlike(folder, undisturbed, MODELS) == []
    _report(fault, phase, outcome, struck, absent)


def test_fedmend_stop_ends_a_run_and_its_sites_work(hospitals: Hospitals) -> None:
    """They are in the first of a thousand epochs, and the deadline is far."""
    hospitals.await_online(*SITES)
    ours = {**OURS, "run-name": "stopped", "deadline": 3600.0, "imputation.epochs": 1000}
    run = hospitals.submit(ours)
    folder = hospitals.folder("stopped")
    await_(partial(_in_mid_round, hospitals, folder, "imputation"), "mid-round", 240)
    began = time.monotonic()
    assert "stopped; resume=stopped" in fedmend("stop", "--run-dir", str(folder.parent))
    await_(lambda: not _at_work(hospitals), "the sites' work ends", 60)
    seconds = time.monotonic() - began
    outcome = hospitals.wait(run, 60)
    assert outcome.outcome == "failed"
    assert "run stopped was stopped; resume=stopped goes on with it" in outcome.details
    _row("fedmend stop", "imputation", "stops; the sites' work ends, too", seconds)
    after = hospitals.submit({**OURS, "run-name": "after-stopped"})
    assert hospitals.wait(after, 300).outcome == "completed"
    assert all(not line["left_out"] for line in _lines(hospitals.folder("after-stopped")))


def _at_work(hospitals: Hospitals) -> list[str]:
    """Return the sites where a process works on a message, or keeps what it worked with."""
    return [
        site
        for site in SITES
        if any(hospitals.containers[f"{site}-superexec"].worker(each) for each in WORKERS)
    ]


def _report(
    fault: Fault, phase: str, outcome: Outcome, struck: dict[str, Any], absent: int
) -> None:
    """Add a row to the table, where one is asked for."""
    if fault.end == "stops":
        seen = f"stops ({outcome.details.strip() or 'no reason given'}); resumed: same weights"
    elif absent:
        reason = struck["left_out"].get(STRUCK, "later on")
        seen = f"{STRUCK} left out of {absent} of 6 exchanges: {reason}"
    else:
        seen = "nothing is lost: same weights"
    seconds = outcome.seconds if fault.end == "stops" else struck["seconds"]
    _row(fault.name, phase, seen, seconds)


def _row(fault: str, phase: str, seen: str, seconds: float) -> None:
    row = {"fault": fault, "phase": phase, "seen": seen, "seconds": str(round(seconds))}
    if target := os.environ.get("FEDMEND_FAULT_ROWS"):
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

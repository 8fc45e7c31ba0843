"""Seconds that a round costs in deployment beyond its work: sites of real processes here.

    python benchmarks/deployment.py [--rounds 4] [--out benchmarks/deployment.md]

The federation is that of the tests (tests/deploy): provisioned, TLS and keys on, the commands of
the compose files, in network namespaces where they are to be had. The work is what the same
exchanges take in one process, where nothing is started and nothing is polled. Where the rest goes
is told by the processor time of each kind of process, and by that of imports.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from tests.deploy.containers import await_
from tests.deploy.hospitals import HUB, Hospitals
from tests.deploy.networks import network
from tests.deploy.simulation import simulated

CASES = (
    ("three sites, no worker (`keep-warm = 0`)", 3, 0),
    ("three sites", 3, 600),
    ("one site", 1, 600),
)
"""What is measured, by how many sites, and how long they keep their workers."""
FLOWER = "import flwr.supernode.cli.flwr_clientapp"
IMPORTS = {
    "Python alone": "pass",
    "and what Flower starts for a message": FLOWER,
    "and fedmend where a worker answers": f"{FLOWER}, client_app.warm.app",
    "and torch and the app, where none does": f"{FLOWER}, client_app.app, imputation.phase",
}
NO_GATEWAY = "Sites go straight to the SuperLink: there is no nginx for a gateway here."
_CPU = "import os; t = os.times(); print(t.user + t.system)"


def exchanges(folder: Path) -> dict[str, list[float]]:
    """Return the seconds of a run's exchanges by what they ask for."""
    found: dict[str, list[float]] = {"train": [], "validate": [], "test": []}
    for text in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        trained = line["metrics"]["loss"] is not None
        found["test" if line["final"] else "train" if trained else "validate"].append(
            line["seconds"]
        )
    return found


def import_seconds(repeats: int = 3) -> dict[str, float]:
    """Return the processor seconds after each stage of what a site's process imports."""
    root = Path(__file__).parents[1]
    return {
        name: min(
            float(
                subprocess.run(
                    [sys.executable, "-c", f"{script}; {_CPU}"],
                    cwd=root, check=True, capture_output=True, text=True,
                ).stdout
            )
            for _ in range(repeats)
        )
        for name, script in IMPORTS.items()
    }  # fmt: skip


class Case(NamedTuple):
    """What one federation's run came to."""

    real: Mapping[str, list[float]]
    """Seconds by kind of exchange."""
    plain: Mapping[str, list[float]]
    """The same in one process."""
    processor: Mapping[str, float]
    """Processor seconds of one exchange by kind of process."""


def processor(hospitals: Hospitals) -> dict[str, float]:
    """Return the processor seconds so far by kind of process, of all sites together."""
    totals = dict.fromkeys(
        ("gateway", "SuperLink", "SuperNodes", "SuperExecs", "messages", "workers"), 0.0
    )
    for name, container in hospitals.containers.items():
        if name.endswith("gateway"):
            for process in container.members():
                with contextlib.suppress(psutil.Error):
                    times = process.cpu_times()
                    totals["gateway"] += times.user + times.system
            continue
        number = container.process()
        assert number is not None, f"{name} does not run"
        times = psutil.Process(number).cpu_times()
        own = times.user + times.system
        if name.endswith("superexec"):
            totals["SuperExecs"] += own
            totals["messages"] += (times.children_user + times.children_system) * (
                not name.startswith(HUB)
            )
        else:
            totals["SuperLink" if name.startswith(HUB) else "SuperNodes"] += own
        for process in container.members():
            with contextlib.suppress(psutil.Error):
                if "client_app.warm.worker" in process.cmdline():
                    times = process.cpu_times()
                    totals["workers"] += times.user + times.system
    return totals


def measured(folder: Path, rounds: int, count: int, warm: int) -> Case:
    """Run both ways.

    Args:
        folder: an empty one.
        rounds: of each phase.
        count: of sites.
        warm: seconds that each keeps its worker.
    """
    sites = tuple(f"site-{number}" for number in range(count))
    changes = {
        "run-name": "timed", "arms": "raw,imputed", "imputation.rounds": rounds,
        "classification.rounds": rounds, "min-sites": count, "deadline": 300.0,
        "join-deadline": 300.0,
    }  # fmt: skip
    machines = network((HUB, *sites))
    try:
        hospitals = Hospitals(folder, machines, sites)
        try:
            for site in sites:
                hospitals.configure(site, **{"keep-warm": warm})
            hospitals.start()
            run = hospitals.submit(changes)
            log = hospitals.containers[f"{sites[0]}-supernode"]
            await_(lambda: log.said("Sending: query"), "the sites' introductions", 300)
            before = processor(hospitals)
            outcome = hospitals.wait(run, 3000)
            if outcome.outcome != "completed":
                raise SystemExit(f"the run did not complete: {outcome.details}\n{outcome.log}")
            after = processor(hospitals)
            real = exchanges(hospitals.folder("timed"))
            plain = exchanges(simulated(hospitals.data, folder / "plain", count, changes))
        finally:
            hospitals.close()
    finally:
        machines.close()
    asked = sum(map(len, real.values()))
    return Case(real, plain, {key: (after[key] - before[key]) / asked for key in after})


BEFORE = """\
What each change gave, three sites, measured one after the other on the same day with the
benchmark's processes given precedence over a busy machine's others (load average 7 to 35):

| version | seconds of an exchange (median) | processor seconds of one message's process |
|---|---:|---:|
| every array for itself, no worker | 21.4 (U-Net of 52 arrays), 10.2 (CNN of 14) | 3.8 |
| a model as one array | 8.9 | 3.9 |
| and a warm worker | 5.5 | 1.5, and the worker's 0.2 |
| and a SuperNode that asks every second (another day, idle) | 4.6 | 1.8, and the worker's 0.2 |
| the same through the gateway (a third day, idle) | 5.8 | 2.2, and the worker's 0.3 |
| and messages without the SuperNode's imports (that day) | 5.0 | 1.3, and the worker's 0.3 |

Before, the SuperLink alone took some 12 s of processor time for an exchange of the 52 arrays; now
1.5 s. Without precedence the first version took 27 s on that machine."""


def table(cases: Mapping[str, Case], imports: Mapping[str, float], load: float) -> str:
    """Return the page."""
    lines = [
        "# What a round costs in deployment",
        "",
        "`python benchmarks/deployment.py`: a coordinator and its sites on one machine. "
        f"{machine.described()}; the load average before it began was {load:.1f}. "
        + ("Sites come through the gateway." if shutil.which("nginx") else NO_GATEWAY),
        "",
        "| federation | exchange | n | seconds (median) | work itself | fixed cost |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name, case in cases.items():
        for kind, seconds in case.real.items():
            whole, work = statistics.median(seconds), statistics.median(case.plain[kind])
            lines.append(
                f"| {name} | {kind} | {len(seconds)} | {whole:.1f} | {work:.1f} "
                f"| {whole - work:.1f} |"
            )
    kinds = list(next(iter(cases.values())).processor)
    lines += [
        "",
        "Processor seconds of one exchange, of all sites together; messages are the processes",
        "that Flower starts for them, without the workers:",
        "",
        f"| federation | {' | '.join(kinds)} |",
        f"|---|{'---:|' * len(kinds)}",
        *(
            f"| {name} | {' | '.join(f'{case.processor[kind]:.2f}' for kind in kinds)} |"
            for name, case in cases.items()
        ),
        "",
        "| imported | processor seconds, cumulative |",
        "|---|---:|",
        *(f"| {name} | {seconds:.2f} |" for name, seconds in imports.items()),
        "",
        "Beside it, time passes unused: a SuperNode sleeps 1 s whenever no message waits for it",
        "(`deploy/image/supernode.py`; Flower's own 3 s), and looks for a finished answer every",
        "0.5 s; the SuperExec asks for tasks every `FLWR_SUPEREXEC_TASK_POLL_INTERVAL` (0.2 s",
        "here, 1 s where it is not set). A site asks for the next message as soon as it has",
        "answered one, before the coordinator can have it ready: no round takes less than 1 s.",
        "",
        BEFORE,
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the page."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=4)
    words.add_argument("--out", type=Path)
    given = words.parse_args()
    load = psutil.getloadavg()[0]
    imports = import_seconds()
    cases = {}
    with tempfile.TemporaryDirectory() as root:
        for number, (name, count, warm) in enumerate(CASES):
            folder = Path(root) / str(number)
            folder.mkdir()
            cases[name] = measured(folder, given.rounds, count, warm)
    page = table(cases, imports, load)
    if given.out:
        given.out.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()

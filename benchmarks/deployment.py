"""Seconds that a round costs in deployment beyond its work: three sites of real processes here.

    python benchmarks/deployment.py [--rounds 4] [--out benchmarks/deployment.md]

The federation is that of the tests (tests/deploy): provisioned, TLS and keys on, the commands of
the compose files, in network namespaces where they are to be had. The work is what the same
exchanges take in one process, where nothing is started and nothing is polled. Where the rest goes
is told by the processor time of a site's short-lived processes, and by that of their imports.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from tests.deploy.containers import Container
from tests.deploy.hospitals import HUB, Hospitals
from tests.deploy.networks import network
from tests.deploy.simulation import simulated

SITES = ("site-0", "site-1", "site-2")
IMPORTS = {
    "Python alone": "pass",
    "and Flower's client": "import flwr.clientapp",
    "and torch": "import flwr.clientapp, torch",
    "and fedmend": "import flwr.clientapp, torch, client_app.app, imputation.phase",
}
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


def spent(containers: Sequence[Container]) -> float:
    """Return the processor seconds of the processes that these have started and seen end."""
    total = 0.0
    for container in containers:
        process = container.process()
        if process is not None:
            times = psutil.Process(process).cpu_times()
            total += times.children_user + times.children_system
    return total


def measured(
    folder: Path, rounds: int
) -> tuple[str, dict[str, list[float]], dict[str, list[float]], float]:
    """Run both ways.

    Returns:
        The kind of network, seconds by kind of exchange in deployment and in one process, and
        processor seconds of a site's process for one message.
    """
    changes = {
        "run-name": "timed", "arms": "raw,imputed", "imputation.rounds": rounds,
        "classification.rounds": rounds, "min-sites": len(SITES), "deadline": 300.0,
        "join-deadline": 300.0,
    }  # fmt: skip
    machines = network((HUB, *SITES))
    try:
        hospitals = Hospitals(folder / "federation", machines, SITES)
        try:
            hospitals.start()
            workers = [hospitals.containers[f"{site}-superexec"] for site in SITES]
            before = spent(workers)
            outcome = hospitals.wait(hospitals.submit(changes), 3000)
            if outcome.outcome != "completed":
                raise SystemExit(f"the run did not complete: {outcome.details}\n{outcome.log}")
            real = exchanges(hospitals.folder("timed"))
            messages = len(SITES) * (1 + sum(map(len, real.values())))
            each = (spent(workers) - before) / messages
            plain = exchanges(simulated(hospitals.data, folder / "plain", len(SITES), changes))
        finally:
            hospitals.close()
    finally:
        machines.close()
    return machines.kind, real, plain, each


def table(
    kind: str, real: Mapping[str, list[float]], plain: Mapping[str, list[float]],
    each: float, imports: Mapping[str, float],
) -> str:  # fmt: skip
    """Return the page."""
    busy = psutil.getloadavg()[2]
    lines = [
        "# What a round costs in deployment",
        "",
        f"`python benchmarks/deployment.py`: {len(SITES)} sites and a coordinator on one machine "
        f"({kind}). {machine.described()}; load average {busy:.1f}.",
        "",
        "| exchange | n | seconds (median) | work itself | fixed cost |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, seconds in real.items():
        whole, work = statistics.median(seconds), statistics.median(plain[name])
        lines.append(f"| {name} | {len(seconds)} | {whole:.1f} | {work:.1f} | {whole - work:.1f} |")
    lines += [
        "",
        f"A site's process takes {each:.1f} s of processor time for one message. Of that, imports:",
        "",
        "| imported | processor seconds, cumulative |",
        "|---|---:|",
        *(f"| {name} | {seconds:.2f} |" for name, seconds in imports.items()),
        "",
        "Beside it, time passes unused: Flower's SuperNode asks for messages every 3 s, the",
        "SuperExec for tasks every `FLWR_SUPEREXEC_TASK_POLL_INTERVAL` (0.2 s here, 1 s where it",
        "is not set), the coordinator for replies every 0.5 s.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the page."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=4)
    words.add_argument("--out", type=Path)
    given = words.parse_args()
    imports = import_seconds()
    with tempfile.TemporaryDirectory() as folder:
        page = table(*measured(Path(folder), given.rounds), imports)
    if given.out:
        given.out.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()

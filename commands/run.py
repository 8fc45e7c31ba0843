"""``fedmend run``: a whole federation on this machine, from settings to a table."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import typer

from commands import bundle, progress, results, simulation
from commands.arguments import read
from commands.console import complain, out
from commands.failure import reason
from commands.processes import Family, Stopped, stoppable, undisturbed
from commands.simulation import Simulation
from commands.superlink import SuperLink
from fedmend.errors import RunError, SettingsError
from fedmend.settings import Settings

RUNS = Path("~/.fedmend/runs")
INTERRUPTED = 130
_POLL = 0.2
_LOOK_AROUND = 5.0
_GRACE = 3.0
_LONGEST_ROOT = 40
"""Ray's sockets lie some 65 characters below its folder, and a socket's path has at most 107."""


class Options(NamedTuple):
    """What a command line asks for beside settings."""

    simulation: Mapping[str, int | float | None]
    log: Path | None = None


def run(words: Sequence[str], options: Options) -> None:
    """Check everything, run it, show how it gets on and what it came to.

    Raises:
        UserError: wrong use; nothing was started.
        RunError: the run failed; the message says why.
    """
    request = read(words)
    wanted = simulation.merged(request.simulation, options.simulation)
    settings = named(Settings.parse(request.settings))
    size = simulation.sized(
        settings, wanted, core_count=simulation.cores(), gpu_count=simulation.gpus()
    )
    folder = run_folder(settings)
    try:
        with stoppable():
            _simulate(settings, size, folder, options.log)
            results.show(out(), results.load(folder), folder)
    except KeyboardInterrupt:
        complain("fedmend: interrupted; nothing is left running")
        raise typer.Exit(INTERRUPTED) from None
    except Stopped as stop:
        complain(f"fedmend: ended by {stop}; nothing is left running")
        raise typer.Exit(128 + stop.number) from None


def named(settings: Settings) -> Settings:
    """Return the settings with the run's folder named: as asked, or after the time of day."""
    if settings.resume and settings.run_name not in {"", settings.resume}:
        raise SettingsError(f"resume={settings.resume} goes on under that name; leave run-name out")
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    name = settings.resume or settings.run_name or stamp
    return replace(settings, run_name=name, run_dir=settings.run_dir or str(RUNS.expanduser()))


def run_folder(settings: Settings) -> Path:
    """Return where the run's results will be.

    Raises:
        SettingsError: the folder is another run's, or there is none to go on with.
    """
    folder = Path(settings.run_dir) / settings.run_name
    if settings.resume:
        if not (folder / "settings.json").is_file():
            raise SettingsError(f"there is no run {settings.resume!r} to resume", local=str(folder))
    elif folder.exists() and not folder.is_dir():
        raise SettingsError(
            f"run {settings.run_name!r} cannot have a folder: a file is in its place",
            local=str(folder),
        )
    elif folder.is_dir() and any(folder.iterdir()):
        raise SettingsError(
            f"run {settings.run_name!r} exists; choose another run-name, "
            f"or resume={settings.run_name}",
            local=str(folder),
        )
    return folder


def _simulate(settings: Settings, size: Simulation, folder: Path, log: Path | None) -> None:
    family = Family()
    console = out()
    with _scratch() as home, progress.shown(console, settings) as display:
        link = SuperLink(home, family, environment(home, settings.threads))
        run_id, grace = 0, _GRACE
        try:
            display.stage(f"starting: {size.sites} sites, {size.workers} workers")
            link.start()
            bundled = bundle.build()
            link.connect()
            run_id = link.submit(bundled, settings.flat(), size)
            _follow(link, run_id, folder, display)
            grace = 0.0  # the run is complete: what still lives has nothing left to save
        finally:
            with undisturbed():
                if log is not None:
                    _keep(link, run_id, log)
                family.end(grace)
                link.close()


def _follow(link: SuperLink, run_id: int, folder: Path, display: progress.Display) -> None:
    """Show the run's rounds until it is finished.

    Raises:
        RunError: it failed.
    """
    follower = progress.Follower(folder / "metrics.jsonl")
    looked = time.monotonic()
    while True:
        state = link.state(run_id)
        for line in follower.fresh():
            display.line(line)
        if state.status == "finished":
            break
        if state.status == "running" and time.monotonic() - looked > _LOOK_AROUND:
            looked = time.monotonic()
            if not link.simulates() and link.state(run_id).status != "finished":
                raise RunError(
                    "the simulation's process was ended from outside; most often memory ran out: "
                    "try fewer --workers or a smaller batch-size",
                )
        time.sleep(_POLL)
    if state.outcome != "completed" or not (folder / "summary.json").is_file():
        raise RunError(reason(state, link.run_log(run_id)))


def environment(home: Path, threads: int) -> dict[str, str]:
    """Return the environment of everything that is started."""
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("FLWR_") and key not in {"RAY_ADDRESS", "RAY_NAMESPACE"}
    }
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return (
        inherited
        | dict.fromkeys(counts, str(threads))
        | {
            "PATH": os.pathsep.join(
                [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
            ),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.05",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(home),
            # Pages that a worker frees are kept: giving them back costs seconds of faults a round.
            "MALLOC_MMAP_THRESHOLD_": str(2**30),
            "MALLOC_TRIM_THRESHOLD_": str(2**32),
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it cuBLAS does not repeat to the bit
        }
    )


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """Yield a folder for Flower's home, its log and Ray's session; nothing of it stays."""
    usual = Path(tempfile.gettempdir())
    root = usual if len(str(usual)) <= _LONGEST_ROOT - len("/fedmend-12345678") else Path("/tmp")  # noqa: S108
    home = Path(tempfile.mkdtemp(prefix="fedmend-", dir=root))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _keep(link: SuperLink, run_id: int, log: Path) -> None:
    """Write what Flower, the coordinator and the sites have said into a file."""
    said = link.run_log(run_id) if run_id and link.lives() else ""
    log.expanduser().write_text(f"{link.own_log()}\n{said}", encoding="utf-8")

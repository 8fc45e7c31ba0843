"""``fedmend run``: a whole federation on this machine, from settings to a table."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import typer

from commands import bundle, progress, results, simulation
from commands.arguments import read
from commands.cluster import Cluster
from commands.console import complain, out
from commands.failure import reason
from commands.guard import Guard
from commands.processes import Family, Stopped, stoppable, undisturbed
from commands.simulation import Simulation
from commands.superlink import SuperLink
from commands.workplace import environment, scratch
from fedmend.errors import RunError, SettingsError
from fedmend.settings import Settings

RUNS = Path("~/.fedmend/runs")
INTERRUPTED = 130
_POLL = 0.2
_LOOK_AROUND = 5.0
_GRACE = 3.0


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
    if options.log is not None and not options.log.expanduser().absolute().parent.is_dir():
        raise SettingsError("--log names a folder that does not exist", local=str(options.log))
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
    family, console = Family(), out()
    with scratch() as home, progress.shown(console, settings) as display:
        shared = environment(settings.threads) | family.environment()
        guard, cluster = Guard(home, family, shared), Cluster(home, shared)
        link = SuperLink(home, family, shared | cluster.environment())
        run_id, grace = 0, _GRACE
        try:
            display.stage(f"starting: {size.sites} sites, {size.workers} workers")
            guard.start()
            link.start()
            cluster.start(size)
            bundled = bundle.build()
            link.connect()
            run_id = link.submit(bundled, settings.flat(), size)
            _follow(link, cluster, run_id, folder, display)
            grace = 0.0  # the run is complete: what still lives has nothing left to save
        finally:
            with undisturbed():
                try:
                    if log is not None:
                        _keep(link, run_id, log)
                finally:
                    family.end(grace)
                    link.close()
                    cluster.close()
                    guard.close()


def _follow(
    link: SuperLink, cluster: Cluster, run_id: int, folder: Path, display: progress.Display
) -> None:
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
            alive = cluster.lives() and link.simulates()
            if not alive and link.state(run_id).status != "finished":
                raise RunError(
                    "the simulation was ended from outside; most often memory ran out: "
                    "try fewer --workers or a smaller batch-size"
                )
        time.sleep(_POLL)
    if state.outcome != "completed" or not (folder / "summary.json").is_file():
        raise RunError(reason(state, link.run_log(run_id)))


def _keep(link: SuperLink, run_id: int, log: Path) -> None:
    """Write what Flower, the coordinator and the sites have said into a file."""
    said = link.run_log(run_id) if run_id and link.lives() else ""
    log.expanduser().write_text(f"{link.own_log()}\n{said}", encoding="utf-8")

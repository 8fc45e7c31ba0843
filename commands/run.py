"""``fedmend run``: a whole federation on this machine, from settings to a table."""

from __future__ import annotations

import os
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
from commands.progress import Follower
from commands.simulation import Simulation
from commands.superlink import SuperLink
from commands.workplace import environment, scratch
from fedmend.errors import WORKER_DIED, RunError, SettingsError
from fedmend.settings import RUNS, Settings
from server_app.running import LAUNCHER

INTERRUPTED = 130
_POLL = 0.2
_LOOK_AROUND = 5.0
_GRACE = 3.0
_PATIENCE = 1
"""Attempts without a new round after which a run is given up."""


class Options(NamedTuple):
    """What a command line asks for beside settings."""

    simulation: Mapping[str, int | float | None]
    log: Path | None = None


class Watch(NamedTuple):
    """Where a run's rounds are read, and where they are shown."""

    folder: Path
    follower: Follower
    display: progress.Display


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
            _persevere(settings, size, folder, options.log)
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


def _persevere(settings: Settings, size: Simulation, folder: Path, log: Path | None) -> None:
    """Simulate, and go on from the last round where a worker process has died.

    Raises:
        RunError: the run failed for another reason, or workers die without a round between.
    """
    follower, fruitless = Follower(folder / "metrics.jsonl"), 0
    if log is not None:
        log.expanduser().write_text("", encoding="utf-8")
    with progress.shown(out(), settings) as display:
        while True:
            before = follower.noted
            try:
                return _simulate(settings, size, log, Watch(folder, follower, display))
            except RunError as error:
                fruitless = fruitless + 1 if follower.noted == before else 0
                if WORKER_DIED not in str(error) or fruitless > _PATIENCE:
                    raise
            display.stage(f"{WORKER_DIED}; going on from the last round")
            settings = replace(settings, resume=settings.run_name)


def _simulate(settings: Settings, size: Simulation, log: Path | None, watch: Watch) -> None:
    family, display = Family(), watch.display
    with scratch() as home:
        shared = environment(settings.threads) | family.environment()
        shared[LAUNCHER] = str(os.getpid())  # for fedmend stop
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
            _follow(link, cluster, run_id, watch)
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


def _follow(link: SuperLink, cluster: Cluster, run_id: int, watch: Watch) -> None:
    """Show the run's rounds until it is finished.

    Raises:
        RunError: it failed.
    """
    looked = time.monotonic()
    while True:
        state = link.state(run_id)
        for line in watch.follower.fresh():
            watch.display.line(line)
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
    if state.outcome != "completed" or not (watch.folder / "summary.json").is_file():
        raise RunError(reason(state, link.run_log(run_id)))


def _keep(link: SuperLink, run_id: int, log: Path) -> None:
    """Write what Flower, the coordinator and the sites have said into a file."""
    said = link.run_log(run_id) if run_id and link.lives() else ""
    with log.expanduser().open("a", encoding="utf-8") as file:
        file.write(f"{link.own_log()}\n{said}\n")

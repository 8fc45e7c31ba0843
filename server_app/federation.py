"""One run: the phases in their order, every arm of them, and what they leave in the run folder."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence

from flwr.serverapp import Grid
from torch import Tensor

from fedmend import logs, phase, plugins
from fedmend.arms import ARMS
from fedmend.errors import RunError, disk_full
from fedmend.logs import Subject
from fedmend.models import Kind, ModelFile
from fedmend.settings import Settings
from fedmend.wire import Task
from imputation import routing
from server_app import running
from server_app.checkpoint import Checkpoint
from server_app.metrics import monitored
from server_app.post import simulated
from server_app.report import write_report
from server_app.rounds import run_phase
from server_app.run_folder import RunFolder
from server_app.sites import Sites
from server_app.summary import summary

log = logging.getLogger("fedmend.coordinator")


def federate(grid: Grid, settings: Settings, run_id: str) -> RunFolder:
    """Run both phases over the grid's sites and return the run folder, complete.

    Raises:
        RunError: the run cannot go on; its checkpoints stay, to be resumed from.
    """
    try:
        return _federate(grid, settings, run_id)
    except Exception as error:
        if not disk_full(error):
            raise
        name = settings.resume or settings.run_name or run_id
        raise RunError(
            f"the coordinator's disk is full: make room, then go on with resume={name}",
            local=str(error),
        ) from error


def _federate(grid: Grid, settings: Settings, run_id: str) -> RunFolder:
    run = RunFolder.open(settings, run_id)
    logs.concern(Subject(run.name))
    with running.held(run.path, run_id), monitored(run):
        return _conducted(grid, settings, run)


def _conducted(grid: Grid, settings: Settings, run: RunFolder) -> RunFolder:
    started = time.monotonic()
    codec = plugins.CODECS.build(settings.codec)
    sites = Sites(grid, settings, codec, run.name, lambda: running.asked_to_stop(run.path))
    sites.join()
    _check_joined(sites, run)
    classes = class_names(settings, sites)
    log.info("run %s: %d sites, classes %s", run.name, len(sites.introductions), ", ".join(classes))
    start = Task(
        run=run.name, phase="", arm="", round=0, rounds=0, seed=settings.seed, classes=classes
    )
    imputation = _impute(sites, settings, run, start)
    if imputation is not None:
        start = start._replace(imputer=imputation.imputer)
    arms = {name: _classify(name, sites, settings, run, start) for name in settings.arm_list}
    seconds = time.monotonic() - started
    concluded = summary(run.name, settings, classes, sites, imputation, arms, seconds)
    write_report(run.path, concluded, run.lines())
    run.conclude(concluded)
    return run


def _check_joined(sites: Sites, run: RunFolder) -> None:
    """Compare the sites of a resumed run with those it began with.

    Hospitals get new images, and come and go; then the run goes on, if not to the same bits. A
    simulation's sites change where it is given another number of them, or other data: what was
    trained before and after would not be the same federation.

    Raises:
        RunError: a simulation is resumed with other sites.
    """
    images = {name: int(said.sums["train"][0]) for name, said in sites.introductions.items()}
    changes = run.joined(len(images) + len(sites.refused), images)
    if changes and simulated():
        raise RunError(
            f"run {run.name} began with other sites ({'; '.join(changes)}): resume it with as "
            "many sites and the same data"
        )
    for change in changes:
        log.warning("since run %s began: %s", run.name, change)


def class_names(settings: Settings, sites: Sites) -> tuple[str, ...]:
    """Return the run's classes: those set, or the sorted union of what the sites have.

    Raises:
        RunError: fewer than two, or one that no site has.
    """
    found = sorted({name for each in sites.introductions.values() for name in each.classes})
    wanted: Sequence[str] = settings.class_list or found
    strays = [name for name in wanted if name not in found]
    if strays:
        raise RunError(
            f"no site has images of class {', '.join(strays)}; they have {', '.join(found)}"
        )
    if len(wanted) < 2:
        raise RunError(
            f"a classifier needs at least two classes; the sites have {', '.join(found) or 'none'}"
        )
    return tuple(wanted)


def _impute(sites: Sites, settings: Settings, run: RunFolder, start: Task) -> Checkpoint | None:
    """Train the imputer and let every site mend its images, if any arm wants them mended."""
    if not any(ARMS[name].mend == "imputer" for name in settings.arm_list):
        return None
    task = start._replace(phase="imputation", rounds=settings.imputation.rounds)
    point = run_phase(sites, phase.load("imputation"), settings, run, task)
    kept = _kept(settings, start, "imputer", point.model())
    run.keep_model(
        "imputer", dataclasses.replace(kept, routes=routing.decided(point.compared, settings))
    )
    return point


def _classify(
    arm: str, sites: Sites, settings: Settings, run: RunFolder, start: Task
) -> Checkpoint:
    rounds = settings.classification.rounds
    task = start._replace(phase="classification", arm=arm, rounds=rounds)
    point = run_phase(sites, phase.load("classification"), settings, run, task)
    if point.model():
        kept = _kept(settings, start, "classifier", point.model(), arm)
        run.keep_model(f"classifier-{arm}", kept)
    return point


def _kept(
    settings: Settings, start: Task, kind: Kind, arrays: Mapping[str, Tensor], arm: str = ""
) -> ModelFile:
    key = "imputation.model" if kind == "imputer" else "classification.model"
    return ModelFile(
        kind=kind,
        spec=settings.portable(key),
        channels=settings.channels,
        image_size=settings.image_size,
        classes=start.classes,
        arm=arm,
        settings=settings,
        arrays=arrays,
    )

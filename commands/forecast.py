"""What a run will cost: time, bytes on the wire and disk, from a few measured steps."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from commands.simulation import Simulation
from fedmend import phase as phases
from fedmend import plugins, randomness, training, wire
from fedmend.arms import ARMS
from fedmend.phase import Phase
from fedmend.settings import Settings
from fedmend.site import VIEWS, Site
from fedmend.wire import Task

_WARM_UP, _MEASURED = 1, 4
_START_UP = 15.0
"""Seconds that Flower and Ray need before the first round and after the last."""
_PER_ROUND = 0.3
"""Seconds that a round needs beside the sites' work."""
_EVALUATION = 1 / 3
"""Of a training step: a forward pass without the backward one."""
_SENT_AFTER_TRAINING = 2
"""Broadcasts after the last round: to validate the last model and to test the best."""


class Cost(NamedTuple):
    """What one phase costs, all of its arms together."""

    phase: str
    arms: int
    parameters: int
    step: float
    """Seconds of one optimiser step on this machine."""
    seconds: float
    up: int
    """Bytes that the sites send."""
    down: int
    """Bytes that the coordinator sends."""


def costs(
    settings: Settings, sites: Sequence[Site], classes: Sequence[str], size: Simulation
) -> list[Cost]:
    """Measure both phases' steps on the largest site's images and add them up.

    Raises:
        DataError: a site's images cannot be read.
    """
    imputes = any(ARMS[name].mend == "imputer" for name in settings.arm_list)
    start = Task("check", "", "", 1, 1, settings.seed, tuple(classes))
    torch.set_num_threads(settings.threads)
    found = []
    if imputes:
        rounds = settings.imputation.rounds
        task = start._replace(phase="imputation", rounds=rounds)
        found.append(_cost(settings, sites, task, [""], size))
    rounds = settings.classification.rounds
    # Every arm takes the same steps; "raw" needs no imputer for them.
    task = start._replace(phase="classification", arm="raw", rounds=rounds)
    found.append(_cost(settings, sites, task, settings.arm_list, size))
    return found


def total(costs: Sequence[Cost]) -> float:
    """Return the seconds of the whole run."""
    return _START_UP + sum(cost.seconds for cost in costs)


def disk(settings: Settings, sites: Sequence[Site], images: int) -> int:
    """Return the bytes of the cache: decoded images, and what noise and imputer make of them."""
    one = settings.channels * settings.image_size**2 * 2
    menders = {ARMS[name].mend for name in settings.arm_list} - {""}
    kept = images
    for site in sites:
        for view in map(site.view, VIEWS):
            kept += len(view.uids) if settings.simulates_noise else 0
            kept += int(view.flagged.sum()) * len(menders)
    return one * kept


def _cost(
    settings: Settings, sites: Sequence[Site], task: Task, arms: Sequence[str], size: Simulation
) -> Cost:
    phase = phases.load(task.phase)
    hyper = phase.hyper(settings)
    model = training.build(phase, settings, task)
    largest = max(sites, key=lambda site: phase.size(site, settings, task))
    step = _step(phase, model, largest, settings, task)
    work = [_steps(phase, site, settings, task) * step for site in sites]
    # A worker takes the next site when it is done with one; no round ends before its largest site.
    spent = max(max(work), sum(work) / size.workers) + _PER_ROUND
    asked = min(len(sites), max(settings.min_sites, round(settings.site_fraction * len(sites))))
    once = sum(_message(model, settings, arm) for arm in arms)
    return Cost(
        phase=task.phase,
        arms=len(arms),
        parameters=sum(each.numel() for each in model.parameters()),
        step=step,
        seconds=len(arms) * hyper.rounds * spent,
        up=once * asked * task.rounds,
        down=once * (asked * task.rounds + len(sites) * _SENT_AFTER_TRAINING),
    )


def _steps(phase: Phase, site: Site, settings: Settings, task: Task) -> float:
    """Return a site's work in one round, in optimiser steps."""
    hyper = phase.hyper(settings)
    training_steps = hyper.epochs * math.ceil(phase.size(site, settings, task) / hyper.batch_size)
    validation = len(site.view("val").uids) / hyper.batch_size
    return training_steps + _EVALUATION * validation


def _step(phase: Phase, model: nn.Module, site: Site, settings: Settings, task: Task) -> float:
    """Return the seconds of one optimiser step, its batch's making included; 0 without images."""
    device = training.device_of(settings)
    model = model.to(device).train()
    optimiser = torch.optim.AdamW(model.parameters())
    generator = randomness.generator(task.seed, "check")
    started, count = 0.0, 0
    batches = itertools.islice(phase.train(site, settings, task), _WARM_UP + _MEASURED)
    for number, batch in enumerate(batches):
        if number == _WARM_UP:
            started = _now(device)
        losses = phase.loss(model, batch.to(device), settings, generator)
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        count = number + 1
    measured = count - _WARM_UP
    return (_now(device) - started) / measured if measured > 0 else 0.0


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _message(model: nn.Module, settings: Settings, arm: str) -> int:
    """Return the bytes of one message's arrays, encoded; 0 where an arm's sites train alone."""
    own = ARMS[arm].strategy if arm else ""
    strategy = plugins.STRATEGIES.build(own or settings.strategy)
    shared = strategy.shared(model)
    arrays = {name: value for name, value in model.state_dict().items() if name in shared}
    record = wire.pack(arrays, plugins.CODECS.build(settings.codec))
    return sum(len(each.data) for each in record.values())

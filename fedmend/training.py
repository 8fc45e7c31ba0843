"""The one local training loop, for every phase, arm and strategy."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from fedmend import phase as phases
from fedmend import plugins, randomness
from fedmend.accumulation import Accumulation
from fedmend.optimisers.base import Optimiser
from fedmend.phase import Phase
from fedmend.settings import Settings
from fedmend.site import Site
from fedmend.strategies.base import Strategy
from fedmend.sums import Sums
from fedmend.weights import Pretrained
from fedmend.wire import Task


class Trained(NamedTuple):
    """What a round of local training says of itself."""

    steps: int
    sums: Sums
    """"steps" and the summed "loss", so that the mean over sites is their ratio."""


def build(phase: Phase, settings: Settings, task: Task) -> nn.Module:
    """Return the phase's model with the initial weights that the run's seed gives.

    They are the same for every arm, and the same at every site and at the coordinator. The
    global generator that torch initialises layers from is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.number(task.seed, "model", phase.name))
        return phase.build(settings, task)


def fingerprint(settings: Settings) -> str:
    """Return SHA-256 of the names, shapes and types of all that a run's networks hold.

    Two programs that give the same can exchange models; the weights themselves do not count.
    The classes are taken for two, as before the sites have joined nobody knows them.
    """
    told = hashlib.sha256()
    start = Task("", "", "", 0, 0, settings.seed, ("0", "1"))
    for name in phases.PHASES:
        model = build(phases.load(name), settings, start._replace(phase=name))
        for key, value in sorted(model.state_dict().items()):
            told.update(f"{name} {key} {tuple(value.shape)} {value.dtype}\n".encode())
    return told.hexdigest()


def initial(phase: Phase, settings: Settings, task: Task) -> nn.Module:
    """Return the model that a run starts from: as built, or with the weights its spec names.

    Only the coordinator asks for it. Its first message brings the sites these weights.

    Raises:
        DataError: the file of weights cannot be read, or does not fit.
    """
    model = build(phase, settings, task)
    if isinstance(model, Pretrained):
        model.pretrain()
    return model


def device_of(settings: Settings) -> torch.device:
    """Return the device to compute on: as set, or the best there is."""
    if settings.device != "auto":
        return torch.device(settings.device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def placed(model: nn.Module, settings: Settings) -> nn.Module:
    """Return the model where it is to compute, laid out as convolutions are fastest.

    Channels last: on one CPU thread a step of the U-Net takes three quarters of the time.
    """
    moved = model.to(device_of(settings))
    return moved.to(memory_format=torch.channels_last)


def rate(initial: float, number: int, rounds: int) -> float:
    """Return the learning rate of a round: a cosine from ``initial`` at round 1 towards 0.

    >>> rate(0.1, 1, 10), rate(0.1, 6, 10)
    (0.1, 0.05)
    """
    return initial * (1 + math.cos(math.pi * (number - 1) / rounds)) / 2


def train(
    model: nn.Module,
    phase: Phase,
    site: Site,
    settings: Settings,
    task: Task,
    strategy: Strategy,
    before_step: Callable[[], None] = lambda: None,
) -> Trained:
    """Train ``model`` in place for one round on the site's images.

    Each submodule that the phase's loss names has an optimiser of its own, fresh in each round.
    ``before_step`` may end it by raising.
    """
    device = next(model.parameters()).device
    hyper = phase.hyper(settings)
    step_size = hyper.learning_rate
    if hyper.schedule == "cosine":
        step_size = rate(step_size, task.round, task.rounds)
    optimisers: dict[str, Optimiser] = {}
    generator = randomness.generator(task.seed, "loss", site.name, task.phase, task.round)
    steps, total = 0, 0.0
    model.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Dropout draws from torch's global generator, which is put back afterwards.
        torch.manual_seed(
            randomness.number(task.seed, "dropout", site.name, task.phase, task.round)
        )
        gradients = Accumulation(
            model, lambda part: phase.loss(model, part.to(device), settings, generator)
        )
        for batch in phase.train(site, settings, task):
            before_step()
            losses = gradients.backward(batch)
            strategy.adjust(model)
            for part in losses:
                if part not in optimisers:
                    chosen = model.get_submodule(part).parameters()
                    optimisers[part] = plugins.OPTIMISERS.build(hyper.optimiser, chosen, step_size)
                optimisers[part].step()
            steps += 1
            total += sum(losses.values())
    return Trained(steps, {"steps": np.array([float(steps)]), "loss": np.array([total])})

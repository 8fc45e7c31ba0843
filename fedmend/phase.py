"""A phase: everything that differs between two federated trainings."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fedmend.settings import PhaseSettings, Settings
from fedmend.site import Site
from fedmend.sums import Sums
from fedmend.wire import Task

PHASES = ("imputation", "classification")
"""In the order they are run; each is a package whose module ``phase`` holds its ``PHASE``."""


class Batch(NamedTuple):
    """What a model is given at one step, and what it should answer."""

    image: Tensor
    """(B, C, H, W) float32 in [0, 1]."""
    target: Tensor
    """(B, C, H, W) for imputation; (B,) class indices for classification."""
    hole: Tensor | None = None
    """(B, 1, H, W): 1 where the noise replaced pixels."""
    sigma: Tensor | None = None
    """(B, 1, H, W): local standard deviation of what the noise added."""
    weight: Tensor | None = None
    """(B,): how much each image counts; None: all the same."""
    known: bool = True
    """Whether the targets are clean; else they are noisy, independently of the images."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on ``device``, its images laid out channels last."""
        parts = {k: part.to(device) for k, part in self._asdict().items() if torch.is_tensor(part)}
        image = parts.pop("image").contiguous(memory_format=torch.channels_last)
        moved: dict[str, Any] = {"image": image, **parts}
        return self._replace(**moved)


Use = Callable[[nn.Module, Site, Settings, Task], Sums]
"""What a site does with the model that is kept, and says of it."""


def exact(total: Sums) -> float:
    """Return 0: a score whose rounds differ by more than the choice of images makes of it."""
    del total
    return 0.0


@dataclass(frozen=True)
class Phase:
    """All that differs between two phases; whoever runs a phase asks no other question."""

    name: str
    hyper: Callable[[Settings], PhaseSettings]
    """The phase's own group of the settings."""
    build: Callable[[Settings, Task], nn.Module]
    """A fresh model; the caller has seeded what it draws its initial weights from."""
    train: Callable[[Site, Settings, Task], Iterator[Batch]]
    """The batches of one round at one site, all local epochs in a row."""
    size: Callable[[Site, Settings, Task], int]
    """Number of training images: the site's weight in the average."""
    validation: Callable[[Site, Settings, Task], Iterable[Batch]]
    """The batches that choose the round that is kept."""
    tests: Callable[[Site, Settings, Task], Mapping[str, Iterable[Batch]]]
    """Named test sets, for the one model that is kept."""
    loss: Callable[[nn.Module, Batch, Settings, torch.Generator], Mapping[str, Tensor]]
    """Loss of each submodule that is stepped on its own ("" is the whole model)."""
    evaluate: Callable[[nn.Module, Iterable[Batch], Task], Sums]
    """Sums that merge across sites; all keys even where there is no batch."""
    score: Callable[[Sums], float]
    """What the validation sums are worth: larger is better, NaN where they say nothing."""
    error: Callable[[Sums], float] = exact
    """The score's standard error: the last round within one of the best is kept."""
    compare: Use | None = None
    """How the model that is kept does at the site beside its alternatives (phase 1: filters)."""
    decide: Callable[[Sums, Settings], tuple[str, ...]] | None = None
    """What the merged comparisons come to: the routes of all tasks from then on."""
    finish: Use | None = None
    """What the site does with the model that is kept (phase 1: mend its images)."""


def load(name: str) -> Phase:
    """Return a phase by name, importing its package only now."""
    if name not in PHASES:
        raise ValueError(f"phase {name!r} does not exist; there is {', '.join(PHASES)}")
    phase: Phase = importlib.import_module(f"{name}.phase").PHASE
    return phase

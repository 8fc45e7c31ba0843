"""Phase 2: how a classifier is trained, tested and chosen.

The arms are to differ in their images alone. So each round has the same number of optimiser steps
in every arm, goes through the images in the same order and augments the same step alike; an arm
that leaves images out goes through those it has more often.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from classification import augment, metrics
from classification.selection import Rows, Selection, select
from fedmend import randomness
from fedmend.accumulation import piecewise
from fedmend.phase import Batch, Phase
from fedmend.plugins import BACKBONES
from fedmend.settings import ClassificationSettings, PhaseSettings, Settings
from fedmend.site import Site
from fedmend.sums import Sums
from fedmend.wire import Task

_LEAST_WEIGHT, _MOST_WEIGHT = 0.25, 4.0
_MOST_TRUST = 8.0
_AS_OFTEN = 1 / 3
_MOST_OFTEN = 8.0


def hyper(settings: Settings) -> PhaseSettings:
    """Return the settings' group ``classification``."""
    return settings.classification


def build(settings: Settings, task: Task) -> nn.Module:
    """Return a fresh classifier: (B, channels, H, W) in [0, 1] to (B, classes) logits."""
    model: nn.Module = BACKBONES.build(
        settings.classification.model, settings.channels, len(task.classes)
    )
    return model


def size(site: Site, settings: Settings, task: Task) -> int:
    """Return how many images the arm trains on: fewer where it leaves some out."""
    return len(select(site, "train", settings, task).kept)


def train(site: Site, settings: Settings, task: Task) -> Iterator[Batch]:
    """Return one round's batches, all of them full.

    There are epochs * ceil(labelled / batch size) steps, however many of the site's labelled
    images the arm uses; none where it uses none.
    """
    selection = select(site, "train", settings, task)
    return _batches(selection, site.name, settings.classification, task)


def _batches(
    selection: Selection, site: str, group: ClassificationSettings, task: Task
) -> Iterator[Batch]:
    steps = group.epochs * math.ceil(len(selection.labelled) / group.batch_size)
    order = rows_in_order(selection, group, steps * group.batch_size, site, task)
    often = frequency(selection, group)[selection.kept]
    weights = torch.ones(len(task.classes))
    if group.class_weights == "inverse":
        weights = class_weights(selection.labels[selection.kept], len(task.classes), often)
    counts = trust(selection, group)
    for step in range(len(order) // group.batch_size):
        rows = order[step * group.batch_size :][: group.batch_size]
        generator = randomness.generator(task.seed, "augment", site, task.round, step)
        target = selection.targets(rows)
        drawn = randomness.generator(task.seed, "as-acquired", site, task.round, step)
        most = group.as_acquired * (task.round - 1 + step / steps) / task.rounds
        acquired = most * torch.rand(len(rows), generator=drawn)
        image = selection.take(rows, acquired)
        yield Batch(
            image=augment.augment(image, generator) if group.augment == "shift" else image,
            target=target,
            weight=weights[target] * counts[rows],
        )


def mended_share(selection: Selection) -> float:
    """Return how much of what the arm trains on is mended, in [0, 1]."""
    return float((selection.place[selection.kept] >= 0).mean()) if len(selection.kept) else 0.0


def shown_share(mended: float) -> float:
    """Return how much of what a balanced round shows is mended, of how much the arm has mended.

    What mended images show is smoother than what the classifier is to see, and says less of its
    class. So each is shown a third as often as its number would have it; but no other image is
    shown more than eight times as often, or few would be learnt by heart.

    >>> [round(shown_share(share), 2) for share in (0, 0.3, 0.9, 0.99, 1)]
    [0.0, 0.1, 0.3, 0.92, 1.0]
    """
    return max(mended * _AS_OFTEN, 1 - _MOST_OFTEN * (1 - mended))


def frequency(selection: Selection, group: ClassificationSettings) -> npt.NDArray[np.float64]:
    """Return (n,): how often a round goes through each row of the view, beside the mean."""
    share = mended_share(selection)
    if group.weighting != "balanced" or share in (0, 1):
        return np.ones(len(selection.place))
    shown = shown_share(share)
    return np.where(selection.place >= 0, shown / share, (1 - shown) / (1 - share))


def rows_in_order(
    selection: Selection, group: ClassificationSettings, length: int, site: str, task: Task
) -> Rows:
    """Return the rows that a round goes through, (length,); empty where the arm has none.

    Where mended images are to be shown less often, others take the place of some of them, and
    everything else stays: so arms are as alike as they can be.
    """
    kept = selection.kept
    order = sequence(selection.labelled, kept, length, site, task)
    often = frequency(selection, group)
    mended = selection.place >= 0
    if (often == 1).all():
        return order
    generator = randomness.generator(task.seed, "balance", site, task.round)
    # Every third visit of a mended image, say; which one comes first is drawn for each.
    due = visits(order) * often[order] + torch.rand(len(mended), generator=generator).numpy()[order]
    replaced = mended[order] & (np.floor(due + often[order]) == np.floor(due))
    others, count = kept[~mended[kept]], int(replaced.sum())
    order[replaced] = sequence(selection.labelled, others, count, site, task, "balanced order")
    return order


def visits(order: Rows) -> Rows:
    """Return how often each entry of an order was there before.

    >>> visits(np.array([4, 7, 4, 4, 7])).tolist()
    [0, 0, 1, 2, 1]
    """
    by_row = np.argsort(order, kind="stable")
    ordered, place = order[by_row], np.arange(len(order))
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(order)]
    before = np.empty_like(order)
    before[by_row] = place - np.maximum.accumulate(np.where(first, place, 0))
    return before


def sequence(
    labelled: Rows, kept: Rows, length: int, site: str, task: Task, why: str = "order"
) -> Rows:
    """Return ``length`` of the rows in ``kept``, as one round goes through them; empty of none.

    Epoch after epoch, all labelled rows are permuted by draws that do not know of the arm, and
    the rows that the arm leaves out are passed over.
    """
    if not len(kept):
        return np.empty(0, dtype=np.int64)
    used = np.isin(labelled, kept)
    parts: list[Rows] = []
    for epoch in itertools.count():
        if sum(map(len, parts)) >= length:
            break
        generator = randomness.generator(task.seed, why, site, task.round, epoch)
        order = torch.randperm(len(labelled), generator=generator).numpy()
        parts.append(labelled[order[used[order]]])
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])[:length]


def class_weights(
    labels: npt.NDArray[np.int64], classes: int, often: npt.NDArray[np.float64] | None = None
) -> Tensor:
    """Return (classes,) float32: how much an image of each class counts in the loss.

    n / (K * n_k), with K the number of classes that occur, so that all of them count the same
    together and the mean weight is 1; held within [0.25, 4], so that a few images of a rare
    class do not run the round. The counts are the site's own, of what the arm trains on: one
    site's mix of classes is then not carried into the average, and nobody needs to tell their
    counts. A site with one class alone has weights of 1.

    Args:
        labels: (n,) of what the arm trains on.
        classes: K.
        often: (n,) how often each image is shown; None: one as often as the other.

    >>> class_weights(np.array([0, 0, 0, 1]), 3)
    tensor([0.6667, 2.0000, 0.2500])
    """
    count = np.bincount(labels, weights=often, minlength=classes)
    weights = count.sum() / (max(np.count_nonzero(count), 1) * np.maximum(count, 1e-6))
    bounded = np.where(count > 0, weights, 0.0).clip(_LEAST_WEIGHT, _MOST_WEIGHT)
    return torch.from_numpy(bounded).float()


def trust(selection: Selection, group: ClassificationSettings) -> Tensor:
    """Return (n,) float32: what each row of the view counts for, beside its class's weight.

    By ``confidence``, as much as the imputer is sure of it, and no more than eight; over the rows
    that the arm uses the mean is 1, so that the loss keeps its scale.
    """
    given = np.ones(len(selection.place))
    if group.weighting == "confidence" and len(selection.kept):
        given = selection.confidence / max(selection.confidence[selection.kept].mean(), 1e-6)
    return torch.from_numpy(given.clip(0, _MOST_TRUST)).float()


def validation(site: Site, settings: Settings, task: Task) -> Iterable[Batch]:
    """Return the site's validation images, as the arm would have them."""
    return select(site, "val", settings, task).batches()


def tests(site: Site, settings: Settings, task: Task) -> Mapping[str, Iterable[Batch]]:
    """Return the test images as acquired clean, and with the run's noise."""
    return {
        name: select(site, f"test-{name}", settings, task).batches() for name in ("clean", "noisy")
    }


def loss(
    model: nn.Module,
    batch: Batch,
    settings: Settings,  # noqa: ARG001 - part of a phase's face
    generator: torch.Generator,  # noqa: ARG001 - part of a phase's face
) -> Mapping[str, Tensor]:
    """Return the mean over the batch of weight * cross-entropy, for the whole model.

    The mean weight over a site's images is 1, so this has the scale of the plain cross-entropy,
    and its expectation is the balanced loss. Dividing by the batch's own weights instead would
    let an image count for more or less by the company it is drawn in.
    """
    each = functional.cross_entropy(model(batch.image), batch.target, reduction="none")
    return {"": (each if batch.weight is None else each * batch.weight).mean()}


@torch.inference_mode()
def evaluate(model: nn.Module, batches: Iterable[Batch], task: Task) -> Sums:
    """Return the sums of :mod:`classification.metrics`; all zero where there is no batch."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    logits, labels = [torch.empty(0, len(task.classes))], [torch.empty(0, dtype=torch.int64)]
    for batch in batches:
        for part, answers in piecewise(lambda part: model(part.image.to(device)), batch):
            logits.append(answers.float().cpu())
            labels.append(part.target)
    model.train(was_training)
    return metrics.sums(torch.cat(logits), torch.cat(labels))


def score(total: Sums) -> float:
    """Return the macro AUROC; else the balanced accuracy; NaN where there is neither.

    A site's images may well be of one class, and then no pair of them can be put in order.
    """
    if "confusion" not in total:
        return math.nan
    reduced = metrics.reduce(total, math.isqrt(len(total["confusion"])))
    known = (reduced[key] for key in ("auroc", "balanced_accuracy"))
    return next((value for value in known if value is not None), math.nan)


def error(total: Sums) -> float:
    """Return the standard error of :func:`score`."""
    if "confusion" not in total:
        return 0.0
    return metrics.standard_error(total, math.isqrt(len(total["confusion"])))


PHASE = Phase(
    name="classification",
    hyper=hyper,
    build=build,
    train=train,
    size=size,
    validation=validation,
    tests=tests,
    loss=loss,
    evaluate=evaluate,
    score=score,
    error=error,
)

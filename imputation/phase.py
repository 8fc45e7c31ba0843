"""Phase 1: the sites train one imputer together, and each mends its own images with it."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from fedmend import plugins, sums
from fedmend.accumulation import piecewise
from fedmend.phase import Batch, Phase
from fedmend.records import Pixels, quantised
from fedmend.settings import ImputationSettings, Settings
from fedmend.site import VIEWS, Mended, Site, View
from fedmend.wire import Task
from imputation import lessons, quality, routing
from imputation.denoisers.base import Restored
from imputation.mending import Mending
from imputation.noise import mixture

_AT_ONCE = 16
_MENDED_AT_ONCE = 256
_HOLE_WEIGHT, _SIGMA_WEIGHT, _DOUBT_WEIGHT = 0.1, 0.1, 0.01
_LEAST_ERROR = 1e-5  # 50 dB: what lies beyond is not told apart
_DRAWN = 0.6  # of the holes in a noisy image that was given more noise: its own are nearly as many
_COUNTS = ("mended", "dropped")


def _hyper(settings: Settings) -> ImputationSettings:
    return settings.imputation


def _build(settings: Settings, task: Task) -> nn.Module:
    del task
    model: nn.Module = plugins.DENOISERS.build(settings.imputation.model, settings.channels)
    return model


def _train(site: Site, settings: Settings, task: Task) -> Iterator[Batch]:
    return lessons.batches(site, settings, task)


def _size(site: Site, settings: Settings, task: Task) -> int:
    """Return how many images are learnt from: the site's weight in the average."""
    del task
    view = site.view("train")
    return len(lessons.clean_rows(view)) + len(lessons.noisy_rows(view, settings))


def _validation(site: Site, settings: Settings, task: Task) -> Iterator[Batch]:
    """Yield clean validation images with noise that is the same in every round."""
    view = site.view("val")
    rows = lessons.clean_rows(view)
    noise = mixture.from_spec(settings.imputer_noise)
    for start in range(0, len(rows), _AT_ONCE):
        chosen = rows[start : start + _AT_ONCE]
        yield lessons.corrupted(view, chosen, noise, "imputer-val", task.seed)


def _tests(site: Site, settings: Settings, task: Task) -> Mapping[str, Iterable[Batch]]:
    """Return none: what the imputer is worth is measured on what the sites mend with it."""
    del site, settings, task
    return {}


def _loss(
    model: nn.Module, batch: Batch, settings: Settings, generator: torch.Generator
) -> Mapping[str, Tensor]:
    """Return the reconstruction's loss, and that of the maps that the noise itself supervises."""
    del generator
    restored: Restored = model(batch.image)
    assert batch.hole is not None
    if not batch.known:
        hole = _drawn(restored.hole, batch.hole)
        return {"": _blind(model, restored.image, batch.target) + _HOLE_WEIGHT * hole}
    hole = functional.binary_cross_entropy_with_logits(restored.hole, batch.hole)
    assert batch.sigma is not None
    reconstruction = plugins.LOSSES.build(settings.imputation.loss)
    image = reconstruction(restored.image, batch.target).mean()
    sigma = functional.l1_loss(restored.sigma, batch.sigma)
    doubt = _doubt(restored, batch.target)
    return {"": image + _HOLE_WEIGHT * hole + _SIGMA_WEIGHT * sigma + _DOUBT_WEIGHT * doubt}


def _drawn(hole: Tensor, drawn: Tensor) -> Tensor:
    """Return the loss of a map of holes of which only those that were drawn anew are known.

    A noisy image may have had holes before, which look the same. So what is asked is not whether a
    pixel is in a hole but whether it is in a drawn one: where the map says p, in p times the share
    that drawn ones have in all holes (Elkan & Noto 2008; Patrini et al. 2017). It does not lean on
    what the map says already, so no map can confirm itself: one that finds holes everywhere, or
    nowhere, is punished as always.

    Args:
        hole: (B, 1, H, W), logits.
        drawn: (B, 1, H, W), 1 in the holes that were drawn.
    """
    within = math.log(_DRAWN) + functional.logsigmoid(hole)
    outside = torch.log1p(-_DRAWN * hole.sigmoid())
    return -(drawn * within + (1 - drawn) * outside).mean()


def _blind(model: nn.Module, image: Tensor, noisy: Tensor) -> Tensor:
    """Return the squared error against targets that are noisy themselves.

    Whatever the loss settings say: it is the mean that the noise does not shift. Where the model
    sees holes in the targets there is nothing to learn. Its map expects drawn ones as well, which
    targets have none of: what it says of their own is by Bayes' rule a little less.
    """
    with torch.no_grad():
        holes: Restored = model(noisy)
    found = holes.hole.sigmoid()
    seen = (1 - found) / (1 - _DRAWN * found)
    squared = (image - noisy).square() * seen
    return squared.mean() / seen.mean().clamp_min(1e-3)


def _doubt(restored: Restored, target: Tensor) -> Tensor:
    """Return how far the estimated error is from the true one, as logarithms; 0 without one."""
    if restored.log_variance is None:
        return target.new_zeros(())
    error = (restored.image.detach() - target).square().mean(1, keepdim=True)
    local = functional.avg_pool2d(error, 5, 1, 2, count_include_pad=False)
    return functional.l1_loss(restored.log_variance, (local + _LEAST_ERROR).log())


def _evaluate(model: nn.Module, batches: Iterable[Batch], task: Task) -> sums.Sums:
    """Return "n" and the summed "psnr" (dB) of the reconstructions."""
    del task
    device = next(model.parameters()).device
    total = {"n": np.zeros(1), "psnr": np.zeros(1)}

    def restore(part: Batch) -> Tensor:
        restored: Restored = model(part.image.to(device))
        return restored.image.clamp(0, 1).cpu()

    for batch in batches:
        for part, images in piecewise(restore, batch):
            decibel = quality.psnr(images, part.target)
            total["n"] += len(decibel)
            total["psnr"] += float(decibel.double().sum())
    return total


def _score(merged: sums.Sums) -> float:
    """Return the mean validation PSNR in dB."""
    mean = sums.ratio(merged, "psnr", "n")
    return float("nan") if mean is None else mean


def _finish(model: nn.Module, site: Site, settings: Settings, task: Task) -> sums.Sums:
    """Mend the images held to be noisy, keep them at the site, and say what it was worth."""
    counts = np.zeros(2)
    for name in VIEWS:
        made, accepted = _mended(model, site, site.view(name), task.routes)
        site.keep_mended(name, task.imputer, made)
        if name == "train":
            counts += accepted, made.dropped.sum()
    parts = [
        sums.prefixed(label, part) for label, part in _worth(site, settings, task.imputer).items()
    ]
    said = {name: np.array([float(count)]) for name, count in zip(_COUNTS, counts, strict=True)}
    return sums.merge([*parts, said])


def _mended(model: nn.Module, site: Site, view: View, routes: Sequence[str]) -> tuple[Mended, int]:
    """Mend a view's images that are held to be noisy, and count the accepted ones."""
    flagged = np.flatnonzero(view.flagged)
    images = view.images.select(flagged)
    pixels = np.empty((len(images), *images.shape), np.uint16)
    dropped, confidence = np.zeros(len(images), np.bool_), np.ones(len(images), np.float32)
    accepted = 0
    for group in np.unique(view.group[flagged]).tolist():
        examine = functools.partial(site.examine, group=group)
        mending = Mending(model, routes, site.kinds, examine)
        mine = np.flatnonzero(view.group[flagged] == group)
        # Some at a time: several versions of each are needed at once.
        for start in range(0, len(mine), _MENDED_AT_ONCE):
            rows = mine[start : start + _MENDED_AT_ONCE]
            outcome = mending(images.take(rows))
            pixels[rows] = quantised(outcome.images)
            dropped[rows], confidence[rows] = outcome.hopeless, outcome.confidence
            accepted += int(outcome.accepted.sum())
    return Mended(Pixels(pixels), dropped, confidence), accepted


def _worth(site: Site, settings: Settings, imputer: str) -> dict[str, sums.Sums]:
    """Return the quality of the noisy test images, as they are, imputed and filtered.

    Without originals nothing can be compared: the sums say n = 0.
    """
    view = site.view("test-noisy")
    versions = {"noisy": view.images.take(range(len(view.uids)))}
    rows = np.flatnonzero(view.flagged)
    for label, by in (("imputed", imputer), ("filter", settings.filter)):
        versions[label] = versions["noisy"].clone()
        versions[label][rows] = site.mended("test-noisy", by).images.take(range(len(rows)))
    truth = (
        versions["noisy"][:0]
        if view.original is None
        else view.original.take(range(len(view.uids)))
    )
    return {
        label: quality.quality(images[: len(truth)], truth) for label, images in versions.items()
    }


PHASE = Phase(
    name="imputation",
    hyper=_hyper,
    build=_build,
    train=_train,
    size=_size,
    validation=_validation,
    tests=_tests,
    loss=_loss,
    evaluate=_evaluate,
    score=_score,
    compare=routing.compared,
    decide=routing.decided,
    finish=_finish,
)

"""Phase 1: the sites train one imputer together, and each mends its own images with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from fedmend import plugins, randomness, sums
from fedmend.phase import Batch, Phase
from fedmend.settings import ImputationSettings, Settings
from fedmend.site import VIEWS, Site, View
from fedmend.wire import Task
from imputation import quality
from imputation.denoisers.base import Restored
from imputation.noise import mixture
from imputation.noise.base import Noise

_AT_ONCE = 16
_HOLE_WEIGHT = 0.1
_SIGMA_WEIGHT = 0.1


def _hyper(settings: Settings) -> ImputationSettings:
    return settings.imputation


def _build(settings: Settings, task: Task) -> nn.Module:
    del task
    model: nn.Module = plugins.DENOISERS.build(settings.imputation.model, settings.channels)
    return model


def _clean_rows(view: View) -> npt.NDArray[np.int64]:
    """Return the rows whose images are held to be clean: what an imputer can learn from."""
    return np.flatnonzero(~view.flagged)


def _corrupted(view: View, rows: npt.NDArray[np.int64], noise: Noise, *why: str | int) -> Batch:
    """Return clean images and what the noise makes of them, seeded by content and ``why``."""
    target = view.images.take(rows)
    made = [
        noise(image, randomness.generator(view.uids[row], *why))
        for image, row in zip(target, rows, strict=True)
    ]
    return Batch(
        image=torch.stack([each.image for each in made]),
        target=target,
        hole=torch.stack([each.hole for each in made]),
        sigma=torch.stack([each.sigma for each in made]),
    )


def _train(site: Site, settings: Settings, task: Task) -> Iterator[Batch]:
    """Yield the round's batches: every clean image once an epoch, with fresh noise each time."""
    view = site.view("train")
    rows = _clean_rows(view)
    noise = mixture.from_spec(settings.imputer_noise)
    size = settings.imputation.batch_size
    for epoch in range(settings.imputation.epochs):
        why = (task.seed, site.name, task.round, epoch)
        order = randomness.numpy_generator("imputer-order", *why).permutation(len(rows))
        for start in range(0, len(rows), size):
            chosen = rows[order[start : start + size]]
            yield _corrupted(view, chosen, noise, "imputer-noise", *why)


def _size(site: Site, settings: Settings, task: Task) -> int:
    del settings, task
    return len(_clean_rows(site.view("train")))


def _validation(site: Site, settings: Settings, task: Task) -> Iterator[Batch]:
    """Yield clean validation images with noise that is the same in every round."""
    view = site.view("val")
    rows = _clean_rows(view)
    noise = mixture.from_spec(settings.imputer_noise)
    for start in range(0, len(rows), _AT_ONCE):
        yield _corrupted(view, rows[start : start + _AT_ONCE], noise, "imputer-val", task.seed)


def _tests(site: Site, settings: Settings, task: Task) -> Mapping[str, Iterable[Batch]]:
    """Return none: what the imputer is worth is measured on what the sites mend with it."""
    del site, settings, task
    return {}


def _loss(
    model: nn.Module, batch: Batch, settings: Settings, generator: torch.Generator
) -> Mapping[str, Tensor]:
    """Return the reconstruction's loss, and that of the two maps the noise itself supervises."""
    del generator
    restored: Restored = model(batch.image)
    assert batch.hole is not None
    assert batch.sigma is not None
    reconstruction = plugins.LOSSES.build(settings.imputation.loss)
    image = reconstruction(restored.image, batch.target).mean()
    hole = functional.binary_cross_entropy_with_logits(restored.hole, batch.hole)
    sigma = functional.l1_loss(restored.sigma, batch.sigma)
    return {"": image + _HOLE_WEIGHT * hole + _SIGMA_WEIGHT * sigma}


def _evaluate(model: nn.Module, batches: Iterable[Batch], task: Task) -> sums.Sums:
    """Return "n" and the summed "psnr" (dB) of the reconstructions."""
    del task
    device = next(model.parameters()).device
    total = {"n": np.zeros(1), "psnr": np.zeros(1)}
    for batch in batches:
        restored: Restored = model(batch.image.to(device))
        decibel = quality.psnr(restored.image.clamp(0, 1).cpu(), batch.target)
        total["n"] += len(decibel)
        total["psnr"] += float(decibel.double().sum())
    return total


def _score(merged: sums.Sums) -> float:
    """Return the mean validation PSNR in dB."""
    mean = sums.ratio(merged, "psnr", "n")
    return float("nan") if mean is None else mean


def mend(model: nn.Module, images: Tensor) -> Tensor:
    """Return the reconstructions of noisy images, (n, C, H, W) in [0, 1], n may be 0."""
    device = next(model.parameters()).device
    starts = range(0, len(images), _AT_ONCE)
    parts = [
        model(images[start : start + _AT_ONCE].to(device)).image.clamp(0, 1).cpu()
        for start in starts
    ]
    return torch.cat(parts) if len(images) else images


def _finish(model: nn.Module, site: Site, settings: Settings, task: Task) -> sums.Sums:
    """Mend the images held to be noisy, keep them at the site, and say what it was worth."""
    mended_in_training = 0
    for name in VIEWS:
        view = site.view(name)
        rows = np.flatnonzero(view.flagged)
        site.keep_mended(name, task.imputer, mend(model, view.images.take(rows)))
        if name == "train":
            mended_in_training = len(rows)
    view = site.view("test-noisy")
    versions = {"noisy": view.images.take(range(len(view.uids)))}
    for label, by in (("imputed", task.imputer), ("filter", settings.filter)):
        versions[label] = versions["noisy"].clone()
        rows = np.flatnonzero(view.flagged)
        versions[label][rows] = site.mended("test-noisy", by).take(range(len(rows)))
    # Without originals nothing can be compared: the sums say n = 0.
    truth = (
        versions["noisy"][:0]
        if view.original is None
        else view.original.take(range(len(view.uids)))
    )
    parts = [
        sums.prefixed(label, quality.quality(images[: len(truth)], truth))
        for label, images in versions.items()
    ]
    return sums.merge([*parts, {"mended": np.array([float(mended_in_training)])}])


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
    finish=_finish,
)

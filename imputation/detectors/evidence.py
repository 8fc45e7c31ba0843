"""Weighs signs of grain, impulses, stripes, holes and blur against one another."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedmend import randomness
from fedmend.plugins import DETECTORS
from fedmend.site import Examined
from imputation.content import LEAST_CONTRAST, contrast, margins
from imputation.detectors import signs
from imputation.detectors.base import Calibration, Detector
from imputation.noise import mixture

KINDS: Mapping[str, str] = {
    "grain": "gaussian(std=0.02..0.3)",
    "speckle": "speckle(std=0.08..0.5)",
    "impulses": "saltpepper(share=0.004..0.05) | saltpepper(share=0.05..0.4)",
    "stripes": "stripes(offset=0.01..0.1, gain=0.01..0.1, dead=0..0.05)",
    "blocks": "blocks(share=0.02..0.3)",
    "strokes": "strokes(size=thin) | strokes(size=medium)",
    "blur": "motion(length=0.03..0.2)",
}
"""The kinds of damage that are told apart, and what each is learnt from."""
STRUCTURAL = ("blocks", "strokes")
"""The kinds that leave pixels as they were, outside what they hide."""
REFERENCE = Path(__file__).with_suffix(".json")
"""What ``benchmarks/detection.py --fit`` has learnt from phantoms under simulated scanners."""
LEAST_CHANGE = 32.0
"""dB: damage that leaves more of an image is too weak to learn from."""

_FARTHEST = 25.0  # standard deviations at which a sign has said all that it can say
_NARROWEST = 0.05
_MOST = 50.0
_LOOKED_AT, _FEWEST, _OF_EACH = 240, 20, 28
_ENOUGH, _FEWEST_SHARE = 40, 0.02
_SHRINKAGE = 1e-3
_STEPS = 200
_TRIES = 50
_UNKNOWN = "unknown"
_PARTS = ("center", "scale", "weights", "bias")


@DETECTORS.register("evidence")
def evidence(*, threshold: float = 0.0) -> Detector:
    """Return a detector of grain, impulses, stripes, holes and blur, blind and without a network.

    The signs of :mod:`imputation.detectors.signs` are weighed by a multinomial logistic
    regression, with one class for clean images and one for each kind of damage. The score is the
    log-odds of any damage. As it comes, it has seen phantoms alone, under scanners that differ in
    gamma, sharpness and noise.

    Calibrated, a second regression sets the site's own images against copies of them that are
    damaged on purpose, and the score is the mean of both. Which of the site's images are clean is
    the site's word, where it gives it of 20 images; otherwise the first regression's. Where
    neither names 20, nothing is learnt. Where the first regression holds fewer than one in
    fifty for clean, of 40 at least, the answer is *unknown* and nothing is flagged: either
    hardly any are, or they look like nothing that it knows.

    Margins, whole lines at the border of one value, are not looked at. A picture with hardly any
    contrast (a standard deviation below 0.025) is held to be clean: no damage hides in it.

    Args:
        threshold: scores above it are flagged; 0 is where damage is as likely as none.

    Raises:
        ValueError: ``threshold`` is not finite.
    """
    if not math.isfinite(threshold):
        raise ValueError(f"threshold must be a finite number; got {threshold:g}")
    return Evidence(threshold, (_reference(),))


@dataclass(frozen=True, eq=False)
class Regression:
    """Linear in signs that are centred and scaled; float64."""

    center: Tensor
    """(signs,)"""
    scale: Tensor
    """(signs,)"""
    weights: Tensor
    """(1 + kinds, signs), clean images first."""
    bias: Tensor
    """(1 + kinds,)"""

    def logits(self, measured: Tensor) -> Tensor:
        """Return (n, 1 + kinds) of (n, signs)."""
        # Sums of its own for each image: a matrix product's bits depend on how many there are.
        weighed = standard(measured, self.center, self.scale)[:, None] * self.weights
        return weighed.sum(2) + self.bias


def standard(measured: Tensor, center: Tensor, scale: Tensor) -> Tensor:
    """Return signs in standard deviations from the centre, (n, signs), within [-25, 25]."""
    return ((measured.double().cpu() - center) / scale).clamp(-_FARTHEST, _FARTHEST)


@dataclass(frozen=True, eq=False)
class Evidence:
    """The mean of regressions."""

    threshold: float
    regressions: tuple[Regression, ...]
    unknown: bool = False
    """Whether it cannot tell what is clean at this site, and so flags nothing."""

    @property
    def kinds(self) -> Mapping[str, bool]:
        """Those of :data:`KINDS`."""
        return {name: name in STRUCTURAL for name in KINDS}

    def calibration(self, images: Tensor, vouched: Tensor) -> Calibration:
        """Return the site's own regression; nothing where too few images are held to be clean.

        Where next to none are, though there are images enough, it says that nothing is known.
        """
        images, vouched = images[:_LOOKED_AT], vouched[:_LOOKED_AT]
        told = contrast(images) >= LEAST_CONTRAST
        images, vouched = images[told], vouched[told]
        clean = images[vouched == 0]
        if len(clean) < _FEWEST:
            unsaid = images[vouched != 1]
            clean = unsaid[~self.flag(self.score(unsaid))]
            if len(unsaid) >= _ENOUGH and len(clean) < _FEWEST_SHARE * len(unsaid):
                return {_UNKNOWN: np.ones(1)}
        if len(clean) < _FEWEST:
            return {}
        measured, kinds = [signs.measured(clean)], [0] * len(clean)
        for number, spec in enumerate(KINDS.values()):
            originals = clean[number :: len(KINDS)][:_OF_EACH]
            copies = torch.where(margins(originals), originals, damaged(originals, spec))
            measured.append(signs.measured(copies))
            kinds += [1 + number] * len(copies)
        every = torch.cat(measured).double()
        told = ~every.isnan().any(1)
        fitted = fit(every[told], torch.tensor(kinds)[told])
        return {name: getattr(fitted, name).numpy() for name in _PARTS}

    def calibrated(self, kept: Calibration) -> Evidence:
        """Return the mean of this detector and what it has learnt of a site."""
        if not kept:
            return self
        if _UNKNOWN in kept:
            return dataclasses.replace(self, unknown=True)
        own = Regression(*(torch.from_numpy(np.array(kept[name])) for name in _PARTS))
        return dataclasses.replace(self, regressions=(*self.regressions, own))

    def logits(self, images: Tensor) -> Tensor:
        """Return (n, 1 + kinds) float32 log-probabilities but for a constant, clean first.

        Where there is nothing to tell, an image is as clean as can be.
        """
        measured = signs.measured(images)
        each = [regression.logits(measured) for regression in self.regressions]
        logits = torch.stack(each).mean(0).float()
        nothing = torch.zeros(1 + len(KINDS))
        nothing[0] = _MOST + math.log(len(KINDS))
        return torch.where(measured.isnan().any(1, keepdim=True).cpu(), nothing, logits)

    def score(self, images: Tensor) -> Tensor:
        """Return (n,) float32 log-odds of damage, within [-50, 50]."""
        return _log_odds(self.logits(images))

    def flag(self, scores: Tensor) -> Tensor:
        """Return (n,) bool; none where the answer is *unknown*."""
        return (scores > self.threshold) & (not self.unknown)

    def examine(self, images: Tensor) -> Examined:
        """Return scores, flags and the likeliest kinds."""
        logits = self.logits(images)
        scores = _log_odds(logits)
        kinds = logits[:, 1:].argmax(1)
        return Examined(scores.numpy(), self.flag(scores).numpy(), kinds.numpy())


def _log_odds(logits: Tensor) -> Tensor:
    return (logits[:, 1:].logsumexp(1) - logits[:, 0]).clamp(-_MOST, _MOST)


def damaged(images: Tensor, spec: str) -> Tensor:
    """Return images, each with noise that leaves at most 32 dB of it, as a site keeps them."""
    noise = mixture.from_spec(spec)
    made = [next(_enough(image, spec, number, noise)) for number, image in enumerate(images)]
    return torch.stack(made).mul(65535).round().div(65535) if made else images


def _enough(image: Tensor, spec: str, number: int, noise: Any) -> Iterator[Tensor]:
    """Yield the first corruption that shows; the last where none does."""
    least = 10 ** (-LEAST_CHANGE / 10)
    for attempt in range(_TRIES):
        noisy = noise(image, randomness.generator("evidence", spec, number, attempt)).image
        if float((noisy - image).square().mean()) >= least:
            yield noisy
    yield noisy


def fit(measured: Tensor, kinds: Tensor, shrinkage: float = _SHRINKAGE) -> Regression:
    """Fit a multinomial logistic regression in which clean counts for half.

    Every kind counts the same; together they are the other half.

    Args:
        measured: (n, signs) float64.
        kinds: (n,) int64; 0 is clean, and all kinds occur.
        shrinkage: of the weights' squares, beside the mean loss.

    Returns:
        The regression; the same for the same numbers.
    """
    # Whoever mends asks for it, and there no gradients are kept.
    with torch.inference_mode(mode=False), torch.enable_grad():
        return _fitted(measured.clone(), kinds.clone(), shrinkage)


def _fitted(measured: Tensor, kinds: Tensor, shrinkage: float) -> Regression:
    clean = measured[kinds == 0]
    center = clean.median(0).values
    scale = clean.std(0).clamp_min(_NARROWEST)
    given = standard(measured, center, scale)
    count = torch.bincount(kinds, minlength=len(KINDS) + 1)
    weight = 0.5 / count[kinds].double()
    weight[kinds > 0] /= len(KINDS)
    weights = torch.zeros(len(count), given.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(count), dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS(
        [weights, bias], max_iter=_STEPS, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        search.zero_grad()
        each = functional.cross_entropy(given @ weights.T + bias, kinds, reduction="none")
        value = (each * weight).sum() + shrinkage * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(loss)  # type: ignore[no-untyped-call]
    return Regression(center, scale, weights.detach(), bias.detach())


@functools.cache
def _reference() -> Regression:
    kept: dict[str, Any] = json.loads(REFERENCE.read_text(encoding="utf-8"))
    return Regression(*(torch.tensor(kept[name], dtype=torch.float64) for name in _PARTS))

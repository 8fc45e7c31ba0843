"""Flags what is too rough, or too flat and sharply outlined, to be tissue."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedmend.plugins import DETECTORS
from fedmend.site import Examined
from imputation.detectors.base import Calibration, Detector

_STEEPNESS = 6.0
_EVEN_STD = 0.035
_EVEN_SHARE = 0.005
_LEAST_STD, _LEAST_SHARE = 1e-4, 5e-4
_MOST = 20.0
_SAME = 2 / 65535  # two steps of the 16 bits in which a site keeps its images
_SHARP = 0.1


@DETECTORS.register("residual")
def residual(*, threshold: float = 0.0) -> Detector:
    """Return a detector of added noise and of occlusions, blind and without a model.

    The score is the larger of two log-odds, each within [-20, 20]:

    - 6 ln(std / 0.035), where std is the noise's standard deviation, estimated by
      :func:`noise_std`;
    - 6 ln((share + 0.0005) / 0.005), where share is the part of the image that is occluded,
      estimated by :func:`occluded_share`.

    Weak noise on top of an occlusion hides the latter's flatness before it is itself strong
    enough to be noticed; textures as fine as the pixels are taken for noise.

    Args:
        threshold: scores above it are flagged; 0 is where the two quantities in brackets are 1.

    Raises:
        ValueError: ``threshold`` is not finite.
    """
    if not math.isfinite(threshold):
        raise ValueError(f"threshold must be a finite number; got {threshold:g}")
    return Residual(threshold)


@dataclass(frozen=True)
class Residual:
    """Flags scores above a fixed threshold."""

    threshold: float

    @property
    def unknown(self) -> bool:
        """False: the thresholds are the same everywhere."""
        return False

    @property
    def kinds(self) -> Mapping[str, bool]:
        """One: what is added and what is hidden come in one image."""
        return {"noise": False}

    def calibration(self, images: Tensor, vouched: Tensor) -> Calibration:
        """Return nothing: the thresholds are the same everywhere."""
        del images, vouched
        return {}

    def calibrated(self, kept: Calibration) -> Residual:
        """Return the same detector."""
        del kept
        return self

    def score(self, images: Tensor) -> Tensor:
        """Return (n,) float32 log-odds of (n, C, H, W) float32 in [0, 1]."""
        if not len(images):
            return images.new_zeros(0)
        added = (noise_std(images) / _EVEN_STD).clamp_min(_LEAST_STD).log()
        hidden = ((occluded_share(images) + _LEAST_SHARE) / _EVEN_SHARE).log()
        return (_STEEPNESS * torch.maximum(added, hidden)).clamp(-_MOST, _MOST)

    def flag(self, scores: Tensor) -> Tensor:
        """Return (n,) bool."""
        return scores > self.threshold

    def examine(self, images: Tensor) -> Examined:
        """Return the scores and flags; there is one kind."""
        scores = self.score(images).cpu()
        nothing_to_tell = np.zeros(len(images), dtype=np.int64)
        return Examined(scores.numpy(), self.flag(scores).numpy(), nothing_to_tell)


def noise_std(images: Tensor) -> Tensor:
    """Estimate the standard deviation of white noise, (n,), in (n, C, H, W).

    It is the median absolute value of the finest diagonal Haar coefficients over 0.6745 (Donoho
    & Johnstone, Ideal spatial adaptation by wavelet shrinkage, 1994). Coefficients of exactly
    constant places are left out: clipped and occluded pixels say nothing about noise.
    """
    top, bottom = images[..., :-1, :], images[..., 1:, :]
    steps = top - bottom
    detail = ((steps[..., :-1] - steps[..., 1:]) / 2).abs().flatten(1)
    informative = torch.where(detail > _SAME, detail, torch.nan)
    return informative.nanmedian(1).values.nan_to_num(0.0) / 0.6745


def occluded_share(images: Tensor) -> Tensor:
    """Estimate the share of pixels, (n,), in (n, C, H, W) that something hides.

    Counted are pixels of exactly constant 3 x 3 windows that have other pixels on all four
    sides (so not the black around a body), weighted by how many of their outlines' steps are
    sharp (so not saturated tissue, which fades in).
    """
    flat = _flat(images)
    enclosed = flat & _surrounded(~flat)
    sharp = torch.zeros(len(images), dtype=torch.float32, device=images.device)
    outline = torch.zeros_like(sharp)
    for axis in (-2, -1):
        size = images.shape[axis] - 1
        step = images.diff(dim=axis).abs().amax(1) > _SHARP
        near, far = enclosed.narrow(axis, 0, size), enclosed.narrow(axis, 1, size)
        edge = (near & ~flat.narrow(axis, 1, size)) | (far & ~flat.narrow(axis, 0, size))
        sharp += (edge & step).sum((1, 2))
        outline += edge.sum((1, 2))
    return enclosed.float().mean((1, 2)) * sharp / outline.clamp_min(1)


def _flat(images: Tensor) -> Tensor:
    """Return (n, H, W) bool: the pixels of 3 x 3 windows that are constant in all channels."""
    highest = functional.max_pool2d(images, 3, 1)
    lowest = -functional.max_pool2d(-images, 3, 1)
    constant = ((highest - lowest).amax(1) <= _SAME).float()
    grown = functional.max_pool2d(functional.pad(constant, (2, 2, 2, 2))[:, None], 3, 1)
    return grown[:, 0] > 0


def _surrounded(marked: Tensor) -> Tensor:
    """Return (n, H, W) bool: pixels with a marked one above, below, left and right of them."""
    inside = torch.ones_like(marked)
    for axis in (-2, -1):
        for backwards in (False, True):
            facing = marked.flip(axis) if backwards else marked
            passed = facing.int().cummax(axis).values > 0
            inside &= passed.flip(axis) if backwards else passed
    return inside

"""Signs of damage: numbers that each kind of noise moves, and anatomy hardly does.

Each function takes (n, C, H, W) float32 in [0, 1], at least 8 pixels a side, and returns (n,)
float32; an image's value depends on that image alone. Logarithms are natural.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from imputation.content import LEAST_CONTRAST, STEP, boxes, contrast
from imputation.detectors.residual import noise_std, occluded_share

LEAST = 8
"""Pixels a side below which there is nothing to tell."""
_LEAST_STD, _LEAST_SHARE = 1e-4, 5e-4
_SHARP = 0.1
_SECTORS = 8
_SEAM = 2
"""Lines beside a margin into which resizing has mixed it."""


def grain(images: Tensor) -> Tensor:
    """Return the logarithm of the noise's standard deviation, as of white noise."""
    return noise_std(images).clamp_min(_LEAST_STD).log()


def roughness(images: Tensor) -> Tensor:
    """Return the logarithm of the 90 % quantile of the finest diagonal detail.

    Noise that depends on the signal, and rare outliers, show there before they do in the median.
    """
    detail = _diagonal(_grey(images)).flatten(1)
    place = max(1, math.ceil(0.9 * detail.shape[1]))
    return detail.kthvalue(place, dim=1).values.clamp_min(_LEAST_STD).log()


def whiteness(images: Tensor) -> Tensor:
    """Return the log-ratio of the finest detail to that at half the resolution.

    White noise has the same power at every scale before pixels are averaged, tissue has less the
    finer the scale: the ratio does not depend on how strong either is.
    """
    grey = _grey(images)
    fine, coarse = (_median(_diagonal(each)) for each in (grey, functional.avg_pool2d(grey, 2)))
    return (fine / coarse).log()


def impulses(images: Tensor) -> Tensor:
    """Return the logarithm of the share of pixels beyond all of their eight neighbours.

    By 0.05 and twice the noise's standard deviation: an edge or a thin bone has neighbours alike.
    """
    grey = _grey(images)
    patches = functional.unfold(functional.pad(grey, (1, 1, 1, 1), mode="reflect"), 3)
    around = torch.cat((patches[:, :4], patches[:, 5:]), 1)
    pixel = grey.flatten(1)
    beyond = torch.maximum(pixel - around.amax(1), around.amin(1) - pixel)
    limit = 2 * noise_std(grey)[:, None] + 0.05
    return ((beyond > limit).float().mean(1) + _LEAST_SHARE).log()


def stripes(images: Tensor) -> Tensor:
    """Return the logarithm of how far whole lines differ from their neighbours.

    Of every line it is the median, along the line, of its pixels' distance to the median over
    the five lines around it; the root mean square over lines, and the larger of rows and columns.
    """
    grey = _grey(images)[:, 0]
    larger = torch.maximum(_unevenness(grey), _unevenness(grey.transpose(1, 2)))
    return larger.clamp_min(_LEAST_STD).log()


def holes(images: Tensor) -> Tensor:
    """Return the logarithm of the share of pixels that something constant hides."""
    return (occluded_share(images) + _LEAST_SHARE).log()


def outlines(images: Tensor) -> Tensor:
    """Return the logarithm of how much sharp outline constant 2 x 2 areas have.

    In units of the image's side, and counting an outline for as much of it as is sharp: the
    black around a body and saturated tissue have soft ones.
    """
    grey = _grey(images)
    constant = _constant(grey)
    edge = torch.zeros(len(images), dtype=torch.float32, device=images.device)
    sharp = torch.zeros_like(edge)
    for axis in (-1, -2):
        size = grey.shape[axis] - 1
        outline = constant.narrow(axis, 0, size) ^ constant.narrow(axis, 1, size)
        step = grey.diff(dim=axis).abs() > _SHARP
        edge += outline.float().sum((1, 2, 3))
        sharp += (outline & step).float().sum((1, 2, 3))
    side = math.sqrt(grey.shape[-1] * grey.shape[-2])
    return ((sharp + 0.5) * sharp / (edge + 5) / side + 0.01).log()


def softness(images: Tensor) -> Tensor:
    """Return how much less power there is at fine scales than at coarse ones, as a log-ratio."""
    return -_spectrum(images).mean(1)


def direction(images: Tensor) -> Tensor:
    """Return the log-ratio of fine power between the richest and the poorest direction."""
    sectors = _spectrum(images)
    return sectors.max(1).values - sectors.min(1).values


ALL: tuple[Callable[[Tensor], Tensor], ...] = (
    grain, roughness, whiteness, impulses, stripes, holes, outlines, softness, direction,
)  # fmt: skip


def measured(images: Tensor) -> Tensor:
    """Return (n, len(ALL)) float32: every sign of every image, NaN where there is nothing to tell.

    Only the picture is looked at, not its margins. Nothing is to be told of one that is smaller
    than 8 x 8, or has hardly any contrast.

    Raises:
        ValueError: the images are smaller than 8 x 8.
    """
    if min(images.shape[-2:]) < LEAST:
        raise ValueError(f"images must be at least {LEAST} pixels a side; got {images.shape[-2:]}")
    told = torch.full((len(images), len(ALL)), torch.nan, device=images.device)
    where = _looked_at(images)
    for box in torch.unique(where, dim=0):
        top, bottom, left, right = box.tolist()
        if min(bottom - top, right - left) < LEAST:
            continue
        rows = (where == box).all(1)
        pictures = images[rows, :, top:bottom, left:right]
        told[rows] = torch.stack([sign(pictures) for sign in ALL], 1)
    told[contrast(images) < LEAST_CONTRAST] = torch.nan
    return told


def _looked_at(images: Tensor) -> Tensor:
    """Return (n, 4) int64: where each picture is, without what borders on a margin."""
    height, width = images.shape[-2:]
    where = boxes(images)
    whole = torch.tensor([0, height, 0, width], device=images.device)
    inwards = torch.tensor([1, -1, 1, -1], device=images.device)
    return where + _SEAM * inwards * (where != whole)


def _grey(images: Tensor) -> Tensor:
    return images.mean(1, keepdim=True)


def _diagonal(grey: Tensor) -> Tensor:
    """Return the absolute finest diagonal Haar detail, (n, 1, H - 1, W - 1)."""
    step = grey[..., :-1, :] - grey[..., 1:, :]
    return ((step[..., :-1] - step[..., 1:]) / 2).abs()


def _median(detail: Tensor) -> Tensor:
    """Return the median of what is not exactly flat, at least the smallest one told apart."""
    informative = torch.where(detail > STEP, detail, torch.nan).flatten(1)
    return informative.nanmedian(1).values.nan_to_num(0.0).clamp_min(_LEAST_STD)


def _unevenness(grey: Tensor) -> Tensor:
    """Return the root mean square deviation of the rows of (n, H, W) from their neighbours."""
    height = grey.shape[1]
    padded = functional.pad(grey[:, None], (0, 0, 2, 2), mode="reflect")[:, 0]
    around = torch.stack([padded[:, shift : shift + height] for shift in range(5)])
    return (grey - around.median(0).values).median(2).values.square().mean(1).sqrt()


def _constant(grey: Tensor) -> Tensor:
    """Return (n, 1, H, W) bool: pixels of 2 x 2 areas that are constant."""
    across = grey.diff(dim=-1).abs() <= STEP
    down = grey.diff(dim=-2).abs() <= STEP
    square = across[..., :-1, :] & across[..., 1:, :] & down[..., :-1] & down[..., 1:]
    grown = functional.max_pool2d(functional.pad(square.float(), (1, 1, 1, 1)), 2, 1)
    return grown > 0


def _spectrum(images: Tensor) -> Tensor:
    """Return (n, 8): log-power at fine scales in each direction, over that at coarse ones.

    Fine is 0.12 to 0.4 cycles a pixel, coarse 0.02 to 0.08, or the lowest there is; under a Hann
    window, so that what leaves the picture on one side is not an edge.
    """
    grey = _grey(images)[:, 0]
    height, width = grey.shape[-2:]
    window = torch.hann_window(height, periodic=False)[:, None] * torch.hann_window(
        width, periodic=False
    )
    window = window.to(grey)
    power = torch.fft.fft2((grey - grey.mean((1, 2), keepdim=True)) * window).abs().square()
    down, across = torch.meshgrid(
        torch.fft.fftfreq(height), torch.fft.fftfreq(width), indexing="ij"
    )
    radius, angle = torch.hypot(down, across), torch.atan2(down, across)
    lowest = 1.5 / min(height, width)
    coarse = (radius > 0.02) & (radius < max(0.08, lowest))
    fine = (radius > 0.12) & (radius < 0.4)
    below = _log_mean(power, coarse)
    sectors = []
    for number in range(_SECTORS):
        turned = angle - number * math.pi / _SECTORS
        off = (turned + math.pi / 2).remainder(math.pi) - math.pi / 2
        sectors.append(_log_mean(power, fine & (off.abs() < math.pi / 10)) - below)
    return torch.stack(sectors, 1)


def _log_mean(power: Tensor, chosen: Tensor) -> Tensor:
    return power[:, chosen.to(power.device)].mean(1).clamp_min(1e-6).log()

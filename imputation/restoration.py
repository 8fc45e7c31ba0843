"""What an imputer makes of images: bounded, with the map of what it changed and how sure it is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmend import accumulation
from fedmend.errors import RunError
from imputation.denoisers.base import Restored

_AT_ONCE = 16
_BOUND, _SLACK = 4.0, 0.02


class Restoration(NamedTuple):
    """A batch, restored; all on the CPU."""

    image: Tensor
    """(n, C, H, W) in [0, 1]."""
    hole: Tensor
    """(n, 1, H, W) bool: pixels that something had replaced, and those next to them."""
    error: Tensor
    """(n, 1, H, W), not negative: the squared error to be expected of each pixel."""


def restored(model: nn.Module, images: Tensor, at_once: int = _AT_ONCE) -> Restoration:
    """Restore (n, C, H, W) in [0, 1]; n may be 0. An answer depends on its image alone.

    Outside the holes, a pixel changes by no more than four times the standard deviation of the
    noise that the imputer sees there (and 0.02): it may take noise away, not draw something else.

    Args:
        model: an imputer in evaluation mode.
        images: on any device.
        at_once: images that the network is always given; the last ones are filled up. Half as many
            where the device's memory does not hold them.

    Raises:
        RunError: it does not hold one.
    """
    while True:
        try:
            return _in_parts(model, images, at_once)
        except RuntimeError as error:
            if not accumulation.out_of_memory(error):
                raise
            if at_once == 1:
                raise RunError(accumulation.TOO_LARGE) from None
        accumulation.release()  # out of the handler, which holds on to what was computed so far
        at_once //= 2


def _in_parts(model: nn.Module, images: Tensor, at_once: int) -> Restoration:
    parts = [
        _restored(model, images[start : start + at_once], at_once)
        for start in range(0, len(images), at_once)
    ]
    if not parts:
        nothing = images.new_zeros(0, 1, *images.shape[-2:], dtype=torch.bool)
        return Restoration(images, nothing, images.new_zeros(nothing.shape))
    return Restoration(*map(torch.cat, zip(*parts, strict=True)))


def _restored(model: nn.Module, images: Tensor, at_once: int) -> Restoration:
    device = next(model.parameters()).device
    count = len(images)
    # Always as many: with another number, a network's sums may come in another order.
    given = images.new_zeros(at_once, *images.shape[1:])
    given[:count] = images
    given = given.to(device)
    made: Restored = model(given)
    hole = functional.max_pool2d((made.hole > 0).float(), 3, 1, 1) > 0
    most = _BOUND * made.sigma + _SLACK
    change = (made.image - given).clamp(-most, most)
    image = torch.where(hole, made.image, given + change).clamp(0, 1)
    answer = Restoration(image, hole, _error(model, given, made))
    return Restoration(*(part[:count].cpu() for part in answer))


def _error(model: nn.Module, given: Tensor, made: Restored) -> Tensor:
    """Return the squared error that is to be expected of each pixel, (n, 1, H, W).

    Where the network does not estimate it, it is the variance of its answers to an image and to
    the mirrored image.
    """
    if made.log_variance is not None:
        return made.log_variance.exp()
    mirrored: Restored = model(given.flip(-1))
    return (mirrored.image.flip(-1) - made.image).square().mean(1, keepdim=True) / 2


def confidence(image: Tensor, error: Tensor) -> Tensor:
    """Return how much of an image's contrast is to be believed, (n,) in [0, 1].

    It is the reliability of a measurement: the variance of what is measured over that and the
    error's (so Wiener's gain): 1 without an error, a half where the two are equal.

    Args:
        image: (n, C, H, W).
        error: (n,): its expected mean squared error.
    """
    if not len(image):  # torch warns of a variance of nothing
        return error
    contrast = image.var((1, 2, 3), correction=0)
    return contrast / (contrast + error).clamp_min(1e-12)

"""An imputer at work on pictures of any size: what it flags, and what it makes of them.

What is tried on a picture, in which order, and what of it is accepted is a run's own rule,
:class:`imputation.mending.Mending`. Here it is applied to pixels, and to the picture in the size
that the imputer knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from client_app.calibration import FITTED
from client_app.fit import fit
from client_app.mending.tiles import tiled
from client_app.mending.unmendable import NOT_FINITE, Unmendable
from fedmend.errors import DataError
from imputation.denoisers.base import Denoiser, Restored
from imputation.detectors.base import Calibration, Detector
from imputation.detectors.signs import LEAST
from imputation.mending import Mending

Scale = Literal["both", "full", "model"]
"""At which scale pictures are looked at: that of their pixels, that of the imputer's, or both."""
PIXELS = "full"
"""The scale of pixels, beside :data:`client_app.calibration.FITTED`."""

_OVERLAP = 4
"""Neighbouring tiles share one over this of their side."""
_MOST_SAMPLES = 2**24
"""Of the pictures that are handled together; several tensors as large are needed."""


class Seen(NamedTuple):
    """What the detector makes of a picture."""

    score: float
    """The larger one of its scales."""
    full: bool
    """Flagged as it is."""
    model: bool
    """Flagged in the size of the imputer's training images."""

    @property
    def flagged(self) -> bool:
        """Say whether it is held to be noisy at any scale."""
        return self.full or self.model


class Mender:
    """Flags pictures and mends them.

    Args:
        network: an imputer in evaluation mode, on the device that it is to compute on.
        channels: that it was built for, 1 or 3.
        size: side in pixels of the squares that it was trained on.
        detector: of noise, as it comes.
        scale: ``full`` mends pixels, by tiles of the training size, whose statistics the network
            knows; ``model`` mends the picture fitted into the training size, and brings the
            difference back; ``both`` does each where the detector flags that scale.
        routes: "class=method" each; classes that are not named are the imputer's.
        learnt: by the detector, of the images' own folder, by scale.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: int,
        size: int,
        detector: Detector,
        scale: Scale,
        routes: Sequence[str] = (),
        learnt: Mapping[str, Calibration] | None = None,
    ) -> None:
        self.whole = Whole(network, channels, size).eval()
        self.size = size
        self.scale: Scale = scale
        self.routes = tuple(routes)
        self.kinds = detector.kinds
        kept = learnt or {}
        self.detectors = {
            name: detector.calibrated(kept.get(name, {})) for name in (PIXELS, FITTED)
        }

    def seen(self, image: Tensor) -> Seen:
        """Score a picture, (C, H, W) float32 in [0, 1].

        Raises:
            DataError: it is a strip rather than a picture, and the scale is not ``full``; or the
                scale is ``full``, and it is too small.
        """
        found = {
            name: self.detectors[name].examine(picture[None])
            for name, picture in self._looked_at(image).items()
        }
        # Of numpy: a score that is no number is not lost among the others.
        most = float(np.max([each.score[0] for each in found.values()]))
        alarm = {name: bool(each.alarm[0]) for name, each in found.items()}
        return Seen(most, alarm.get(PIXELS, False), alarm.get(FITTED, False))

    def _looked_at(self, image: Tensor) -> dict[str, Tensor]:
        pictures = {PIXELS: image} if self._in_pixels(image) else {}
        if self.scale != "full":
            pictures[FITTED] = self._fitted(image)
        return pictures

    def _in_pixels(self, image: Tensor) -> bool:
        """Say whether a picture is looked at, and mended, as it is.

        A small one has too few pixels for that: it is fitted into the imputer's size alone.

        Raises:
            DataError: nothing else is asked for.
        """
        small = min(image.shape[-2:]) < LEAST
        if small and self.scale == "full":
            raise DataError(f"the image has fewer than {LEAST} pixels a side")
        return self.scale != "model" and not small

    def mended(self, image: Tensor, seen: Seen) -> Tensor | None:
        """Return the picture mended, (C, H, W) float32 in [0, 1]; None where nothing is better.

        At each scale a run's own rule decides what is tried and accepted; then the larger score of
        both must have fallen.

        Args:
            image: the same as given to ``seen``; it is left as it is.
            seen: where nothing is flagged, somebody else vouches for the noise, and every scale
                that there is gets mended.

        Raises:
            DataError: as ``seen``.
            Unmendable: what the imputer makes of it is no picture.
        """
        every = not seen.flagged
        pixels = self._in_pixels(image) and (seen.full or every)
        made = self._made(PIXELS, image) if pixels else image
        both = made
        if self.scale != "full" and (seen.model or every):
            both = self._coarsely(image, made)
        for each in (both, made):
            if each is not image and self.seen(each).score < seen.score:
                return each
        return None

    def _made(self, scale: str, image: Tensor) -> Tensor:
        """Return what becomes of a picture at one scale, as it is at that scale."""
        examine = self.detectors[scale].examine
        with torch.inference_mode():
            outcome = Mending(self.whole, self.routes, self.kinds, examine)(image[None])
        return outcome.images[0].clone() if outcome.accepted[0] else image

    def _coarsely(self, image: Tensor, made: Tensor) -> Tensor:
        """Return a picture with what is mended of it in the imputer's size.

        Args:
            image: as it was.
            made: as it is by now; where pixels of it are as they were, they stay.
        """
        small = self._fitted(image)
        wanted = self._made(FITTED, small)
        if wanted is small:
            return made
        touched = enlarged((wanted != small).any(0, keepdim=True), *image.shape[-2:])
        if made is not image:
            touched &= (made != image).any(0, keepdim=True)
        # What the coarse scale lacks; finer detail stays that of the picture.
        lacking = unfitted(wanted - self._fitted(made), *image.shape[-2:])
        return torch.where(touched, (made + lacking).clamp(0, 1), made)

    def _fitted(self, image: Tensor) -> Tensor:
        return fit(image, self.size, image.shape[0])


class Whole(Denoiser):
    """An imputer that takes pictures of any size and colour, by tiles of its training size.

    A grey imputer takes the colours one by one, one of colours takes grey for each of them.

    Args:
        network: the imputer.
        channels: that it was built for, 1 or 3.
        size: side in pixels of the squares that it was trained on.
    """

    def __init__(self, network: nn.Module, channels: int, size: int) -> None:
        super().__init__()
        self.network = network
        self.channels = channels
        self.size = size

    def forward(self, noisy: Tensor) -> Restored:
        """Reconstruct (B, C, H, W) float32 in [0, 1]; black ones are nothing but fillers.

        Raises:
            OutOfMemoryError: they are too many pixels to be handled together.
            Unmendable: an answer is no finite number.
        """
        if len(noisy) > 1 and noisy.numel() > _MOST_SAMPLES:
            raise torch.OutOfMemoryError("fewer at a time")
        made = noisy.new_zeros(len(noisy), noisy.shape[1] + 2, *noisy.shape[2:])
        for row in noisy.flatten(1).any(1).nonzero().flatten().tolist():
            made[row] = tiled(self._tiles, noisy[row], self.size, self.size // _OVERLAP)
        if not bool(made.isfinite().all()):
            raise Unmendable(NOT_FINITE)
        image, hole, sigma = made[:, :-2], made[:, -2:-1], made[:, -1:]
        return Restored(image, hole, sigma, torch.zeros_like(sigma))

    def _tiles(self, images: Tensor) -> Tensor:
        """Return (n, C + 2, h, w): the tiles, and the maps of their holes and their noise."""
        count, colours, height, width = images.shape
        given = images
        if self.channels == 1:
            given = given.reshape(count * colours, 1, height, width)
        elif colours == 1:
            given = given.expand(-1, self.channels, -1, -1)
        made: Restored = self.network(given)
        image = made.image
        maps = [made.hole, made.sigma]
        if self.channels == 1:
            image = image.reshape(images.shape)
            maps = [each.reshape(images.shape).amax(1, keepdim=True) for each in maps]
        elif colours == 1:
            image = image.mean(1, keepdim=True)
        return torch.cat((image, *maps), 1)


def enlarged(marked: Tensor, height: int, width: int) -> Tensor:
    """Return which pixels of a picture lie within the marked ones of the fitted picture.

    Args:
        marked: (1, size, size) bool.
        height: of the picture that was fitted.
        width: of that picture.

    Returns:
        (1, height, width) bool.
    """
    size, side = marked.shape[-1], max(height, width)
    rows, columns = (
        (torch.arange(length) + (side - length) // 2) * size // side for length in (height, width)
    )
    return marked[:, rows][:, :, columns]


def unfitted(square: Tensor, height: int, width: int) -> Tensor:
    """Bring what was made of a fitted picture back to that picture's size, its margins dropped.

    Args:
        square: (C, size, size), any range.
        height: of the picture that :func:`client_app.fit.fit` was given.
        width: of that picture.

    Returns:
        (C, height, width), bicubically interpolated.
    """
    size, side = square.shape[-1], max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    # First along the shorter side, which is then cut: a narrow picture costs little.
    if width > height:
        square = _resized(square, side, size)[:, top : top + height]
    elif height > width:
        square = _resized(square, size, side)[:, :, left : left + width]
    return _resized(square, height, width)


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    resized: Tensor = functional.interpolate(
        image[None], size=(height, width), mode="bicubic", antialias=True, align_corners=False
    )[0]
    return resized

"""An imputer at work on pictures of any size: what it flags, and what it makes of them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from client_app.fit import fit
from client_app.mending.tiles import tiled
from fedmend.errors import DataError
from imputation.detectors.base import Detector
from imputation.detectors.signs import LEAST
from imputation.restoration import restored

Scale = Literal["both", "full", "model"]
"""At which scale pictures are looked at: that of their pixels, that of the imputer's, or both."""

_OVERLAP = 4
"""Neighbouring tiles share one over this of their side."""


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
        detector: of noise.
        scale: ``full`` mends pixels, by tiles of the training size, whose statistics the network
            knows; ``model`` mends the picture fitted into the training size, and brings the
            difference back; ``both`` does each where the detector flags that scale.
    """

    def __init__(
        self, network: nn.Module, channels: int, size: int, detector: Detector, scale: Scale
    ) -> None:
        self.network = network
        self.channels = channels
        self.size = size
        self.detector = detector
        self.scale: Scale = scale
        self.device = next(network.parameters()).device

    def seen(self, image: Tensor) -> Seen:
        """Score a picture, (C, H, W) float32 in [0, 1].

        Raises:
            DataError: it is a strip rather than a picture, and the scale is not ``full``; or the
                scale is ``full``, and it is too small.
        """
        found: dict[str, tuple[float, bool]] = {"full": (0.0, False), "model": (0.0, False)}
        scores = []
        for name, picture in self._looked_at(image).items():
            score = self.detector.score(picture[None])
            found[name] = float(score), bool(self.detector.flag(score))
            scores.append(score)
        # Of torch: a score that is no number is not lost among the others.
        return Seen(float(torch.cat(scores).max()), found["full"][1], found["model"][1])

    def _looked_at(self, image: Tensor) -> dict[str, Tensor]:
        pictures = {"full": image} if self._in_pixels(image) else {}
        if self.scale != "full":
            pictures["model"] = self._fitted(image)
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

    def mended(self, image: Tensor, seen: Seen) -> Tensor:
        """Return the picture mended, (C, H, W) float32 in [0, 1].

        Args:
            image: the same as given to ``seen``; it is left as it is.
            seen: where nothing is flagged, somebody else vouches for the noise, and every scale
                that there is gets mended.

        Raises:
            DataError: as ``seen``.
        """
        every = not seen.flagged
        made = image
        if self._in_pixels(image) and (seen.full or every):
            made = tiled(self._restored, image, self.size, self.size // _OVERLAP).clamp(0, 1)
        if self.scale != "full" and (seen.model or every):
            small = self._fitted(image)
            wanted = self._restored(small[None])[0].clamp(0, 1)
            # What the coarse scale lacks; finer detail stays that of the picture.
            made = made + unfitted(wanted - self._fitted(made), *image.shape[-2:])
        return made.clamp(0, 1)

    def _fitted(self, image: Tensor) -> Tensor:
        return fit(image, self.size, image.shape[0])

    def _restored(self, images: Tensor) -> Tensor:
        """Apply the imputer to (n, C, H, W) in [0, 1], whatever number of colours it knows.

        A grey imputer takes the colours one by one, one of colours takes grey for each of them.
        """
        count, colours, height, width = images.shape
        given = images.to(self.device)
        if self.channels == 1:
            given = given.reshape(count * colours, 1, height, width)
        elif colours == 1:
            given = given.expand(-1, self.channels, -1, -1)
        with torch.inference_mode():
            answer = restored(self.network, given, len(given)).image
        if self.channels == 1:
            return answer.reshape(images.shape)
        return answer.mean(1, keepdim=True) if colours == 1 else answer


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

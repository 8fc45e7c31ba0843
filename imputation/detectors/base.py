"""What every blind detector answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fedmend.records import Pixels, in_parts
from fedmend.site import Examined

_AT_ONCE = 64

Calibration = Mapping[str, npt.NDArray[np.float64]]
"""What a detector has learnt of one site's images; empty where it learns nothing."""


class Detector(Protocol):
    """Tells noisy images from clean ones without a clean reference, a model or labels."""

    @property
    def kinds(self) -> Mapping[str, bool]:
        """The kinds of noise that are told apart; one at least, names of letters and digits.

        True: a structural one, which replaces some pixels and leaves the others as they were.
        """
        ...

    @property
    def unknown(self) -> bool:
        """Whether it cannot tell what is clean at this site, and so flags nothing."""
        ...

    def calibration(self, images: Tensor, vouched: Tensor) -> Calibration:
        """Learn how a site's images look, noisy ones among them.

        Args:
            images: (n, C, H, W) float32 in [0, 1]; a detector may look at the first ones only.
            vouched: (n,) int8: 1 where the site says noisy, 0 where clean, -1 where nobody knows.

        Returns:
            What :meth:`calibrated` takes; the same for the same images.
        """
        ...

    def calibrated(self, kept: Calibration) -> Detector:
        """Return this detector, set to a site's images."""
        ...

    def score(self, images: Tensor) -> Tensor:
        """Return (n,) float32, the log-odds of noise, of (n, C, H, W) float32 in [0, 1].

        An image's score depends on that image, and the calibration, alone.
        """
        ...

    def flag(self, scores: Tensor) -> Tensor:
        """Return (n,) bool: which of these scores are held to be noisy."""
        ...

    def examine(self, images: Tensor) -> Examined:
        """Return the scores, which of them are flagged, and the likeliest of ``kinds``.

        Args:
            images: as for :meth:`score`; they are looked at once.
        """
        ...


def examined(detector: Detector, images: Tensor | Pixels) -> Examined:
    """Return what a detector makes of (n, C, H, W) images, n may be 0; some are read at a time."""
    parts = [detector.examine(part) for part in in_parts(images, _AT_ONCE)]
    return Examined(*(np.concatenate(each) for each in zip(*parts, strict=True)))

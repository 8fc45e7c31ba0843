"""What a phase sees of a hospital."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fedmend.records import Pixels

VIEWS = ("train", "val", "test-clean", "test-noisy")
"""Training and validation images as acquired; test images before and with the run's noise.

Without simulated noise nobody knows the former: ``test-clean`` is then empty, and
``test-noisy`` holds the test images as acquired.
"""


class View(NamedTuple):
    """One set of a site's images, in an order that depends on their content alone."""

    uids: tuple[str, ...]
    images: Pixels
    """As acquired (the simulated noise included), (n, C, H, W)."""
    original: Pixels | None
    """Before the simulated noise; None where nobody knows."""
    labels: npt.NDArray[np.int64]
    """(n,): index into the run's classes; -1 where unlabelled."""
    noisy: npt.NDArray[np.int8]
    """(n,): the truth where it is known: 1 noisy, 0 clean, -1 unknown."""
    score: npt.NDArray[np.float32]
    """(n,): the detector's score, larger for noisier."""
    alarm: npt.NDArray[np.bool_]
    """(n,): what the detector makes of the score."""
    flagged: npt.NDArray[np.bool_]
    """(n,): held to be noisy: the truth where the site is told, the alarm elsewhere."""


class Site(Protocol):
    """One hospital's images, all of them at home."""

    @property
    def name(self) -> str:
        """The site's name, as the federation knows it."""
        ...

    def view(self, name: str) -> View:
        """Return one of :data:`VIEWS`; possibly empty."""
        ...

    def mended(self, name: str, by: str) -> Pixels:
        """Return the mended images of a view's flagged rows, in the view's order.

        Args:
            name: of the view.
            by: the imputer's hash, or the filter's spec.

        Raises:
            MissingImputerError: nothing was mended by it here; the coordinator then sends it again.
        """
        ...

    def keep_mended(self, name: str, by: str, images: Tensor) -> None:
        """Keep what ``mended`` returns, beside and never over the originals.

        Args:
            name: of the view.
            by: the imputer's hash, or the filter's spec.
            images: (number of flagged rows, C, H, W) in [0, 1].
        """
        ...


class MissingImputerError(LookupError):
    """This site has not mended its images with the imputer that a task builds on."""

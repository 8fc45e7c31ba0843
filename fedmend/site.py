"""What a phase sees of a hospital."""

from __future__ import annotations

from collections.abc import Mapping
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
    clean: npt.NDArray[np.bool_]
    """(n,): held to be clean; like ``flagged`` False where nobody can tell."""
    group: npt.NDArray[np.int64]
    """(n,): which of the site's detectors it was put to, by its modality."""


class Examined(NamedTuple):
    """What a site's detector makes of images."""

    score: npt.NDArray[np.float32]
    """(n,): log-odds of noise."""
    alarm: npt.NDArray[np.bool_]
    """(n,): held to be noisy."""
    kind: npt.NDArray[np.int64]
    """(n,): the most likely kind of noise, if there is any; an index into :attr:`Site.kinds`."""


class Mended(NamedTuple):
    """What became of a view's flagged images, in the view's order."""

    images: Pixels
    """(n, C, H, W): mended; the image as acquired where mending it was refused."""
    dropped: npt.NDArray[np.bool_]
    """(n,): hopeless, to be left out of training."""
    confidence: npt.NDArray[np.float32]
    """(n,) in [0, 1]: how much of the image's contrast is to be believed."""


class Site(Protocol):
    """One hospital's images, all of them at home."""

    @property
    def name(self) -> str:
        """The site's name, as the federation knows it."""
        ...

    def view(self, name: str) -> View:
        """Return one of :data:`VIEWS`; possibly empty."""
        ...

    @property
    def kinds(self) -> Mapping[str, bool]:
        """The kinds of noise that the site's detector tells apart.

        True: a structural one, which replaces some pixels and leaves the others as they were.
        """
        ...

    def examine(self, images: Tensor, group: int) -> Examined:
        """Ask a detector about (n, C, H, W) float32 in [0, 1].

        Args:
            images: all of one group.
            group: of :attr:`View.group`.
        """
        ...

    def mended(self, name: str, by: str) -> Mended:
        """Return what became of a view's flagged rows, in the view's order.

        Args:
            name: of the view.
            by: the imputer's hash, or the filter's spec.

        Raises:
            MissingImputerError: nothing was mended by it here; the coordinator then sends it again.
        """
        ...

    def keep_mended(self, name: str, by: str, made: Mended) -> None:
        """Keep what ``mended`` returns, beside and never over the originals.

        Args:
            name: of the view.
            by: the imputer's hash, or the filter's spec.
            made: of the view's flagged rows.
        """
        ...


class MissingImputerError(LookupError):
    """This site has not mended its images with the imputer that a task builds on."""

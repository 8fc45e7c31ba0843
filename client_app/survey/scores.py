"""How noisy each image is by the detector, the worst first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from client_app.pictures import Picture
from client_app.place import Place
from client_app.survey.traits import Traits
from fedmend import histogram

_BINS = 12


class Score(NamedTuple):
    """One image and what the detector makes of it."""

    place: Place
    uid: str
    label: str | None
    split: str
    noisy: bool | None
    """As the site itself vouches; None where nobody does."""
    value: float
    """The detector's score, larger for noisier."""
    flagged: bool
    shape: tuple[int, int, int]
    """(C, H, W) as stored."""
    traits: Traits

    @classmethod
    def of(cls, picture: Picture, known: Traits, value: float, *, flagged: bool) -> Score:
        """Return the score of a picture, without its pixels."""
        uid, label, _, split, noisy, _ = picture.record
        return cls(picture.place, uid, label, split, noisy, value, flagged, picture.shape, known)

    def rank(self) -> tuple[float, Place]:
        """Return what the worst is first by: its score, then its place."""
        return -self.value, self.place


COLUMNS = (
    "path", "frame", "uid", "label", "split", "noisy", "score", "flagged", "rows", "columns",
    "channels", *Traits._fields,
)  # fmt: skip
"""Of the list of all scores."""


def cells(score: Score) -> tuple[str | int | float | bool | None, ...]:
    """Return a score's row under ``COLUMNS``."""
    channels, height, width = score.shape
    return (
        *score.place, score.uid, score.label, score.split, score.noisy, score.value,
        score.flagged, height, width, channels, *score.traits,
    )  # fmt: skip


class Bin(NamedTuple):
    """The images whose scores lie between two values."""

    low: float
    high: float
    clear: int
    """Images that are not flagged."""
    flagged: int


def distribution(scores: Sequence[Score]) -> list[Bin]:
    """Return the scores' histogram over equally wide bins, from the lowest to the highest score.

    Args:
        scores: at least one.
    """
    values = np.array([score.value for score in scores])
    flagged = np.array([score.flagged for score in scores])
    low, high = math.floor(values.min()), math.ceil(values.max())
    edges = np.linspace(low, max(high, low + 1), _BINS + 1)
    counted = [np.histogram(values[chosen], edges)[0] for chosen in (~flagged, flagged)]
    return [
        Bin(float(edges[place]), float(edges[place + 1]), int(clear), int(noisy))
        for place, (clear, noisy) in enumerate(zip(*counted, strict=True))
    ]


def agreement(scores: Sequence[Score]) -> float | None:
    """Return the detector's AUROC against what the site vouches for; None where it does not."""
    known = [score for score in scores if score.noisy is not None]
    return histogram.auroc(
        histogram.counts(
            np.array([score.value for score in known], dtype=np.float64),
            np.array([score.noisy for score in known], dtype=bool),
        )
    )

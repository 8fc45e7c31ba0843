"""One pass over a folder: what is there, what cannot be used, and how noisy each image is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from client_app.pictures import Pictures, stacked
from client_app.survey.counts import Counts, Refusal, refusals
from client_app.survey.scores import Score
from client_app.survey.thumbnails import Thumbnails
from client_app.survey.traits import traits
from imputation.detectors.base import Detector


class Survey(NamedTuple):
    """What a folder holds. It never leaves the site."""

    counts: Counts
    refused: Sequence[Refusal]
    """What cannot be used by reason, the most frequent first."""
    scores: Sequence[Score]
    """Of every image that can be decoded, worst first."""
    thumbnails: Sequence[tuple[Score, bytes]]
    """PNG files of the worst."""


def look(pictures: Pictures, detector: Detector, *, thumbnails: int = 0) -> Survey:
    """Decode, count and score every image as a run would see it, some at a time.

    Nothing is kept on disk. In memory there are the scores, and the pictures of one batch and of
    the worst images.

    Args:
        pictures: of the folder.
        detector: of noise.
        thumbnails: how many pictures to keep, of the worst.

    Raises:
        DataError: the folder as a whole cannot be used.
        RunError: the disk fails, or the images changed since they were listed.
    """
    counts, scores = Counts(), list[Score]()
    worst = Thumbnails(thumbnails)
    for chunk in pictures.batches():
        values = detector.score(stacked(chunk))
        flags = detector.flag(values).tolist()
        found = []
        for picture, value, flagged in zip(chunk, values.tolist(), flags, strict=True):
            known = traits(pictures.reader, picture)
            counts.add(picture, known)
            found.append(Score.of(picture, known, value, flagged=flagged))
        scores += found
        worst.add(zip(found, chunk, strict=True))
    scores.sort(key=Score.rank)
    return Survey(counts, refusals(pictures.refused), scores, worst.worst())

"""One pass over a folder: what is there, what cannot be used, and how noisy each image is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from client_app.decoding import THREADS, Progress, at_once, batches, pictures, silent, stacked
from client_app.survey.counts import Counts, Refusal, refusals
from client_app.survey.scores import Score
from client_app.survey.thumbnails import Thumbnails
from client_app.survey.traits import traits
from fedmend.records import Index, Reader
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


def look(
    reader: Reader,
    index: Index,
    detector: Detector,
    *,
    size: int,
    channels: int,
    thumbnails: int = 0,
    threads: int = THREADS,
    progress: Progress = silent,
) -> Survey:
    """Decode, count and score every image as a run would see it, some at a time.

    Nothing is kept on disk. In memory there are the scores, and the pictures of one batch and of
    the worst images.

    Args:
        reader: of the images.
        index: what the reader found.
        detector: of noise.
        size: side in pixels of the square that each image is fitted into.
        channels: 1 (grey) or 3 (RGB).
        thumbnails: how many pictures to keep, of the worst.
        threads: that decode; the result does not depend on their number.
        progress: told how the look gets on.

    Raises:
        RunError: the disk fails, or the images changed since they were listed.
    """
    counts, rejected, scores = Counts(), list(index.rejected), list[Score]()
    worst = Thumbnails(thumbnails)
    decoded = pictures(reader, index.records, size=size, channels=channels, threads=threads)
    for chunk in batches(decoded, at_once(size, channels), rejected, progress):
        images = stacked(chunk)
        values = detector.score(images)
        flags = detector.flag(values)
        found = []
        for picture, value, flagged in zip(chunk, values.tolist(), flags.tolist(), strict=True):
            known = traits(reader, picture)
            counts.add(picture, known)
            found.append(Score.of(picture, known, value, flagged=flagged))
        scores += found
        worst.add(zip(found, chunk, strict=True))
    scores.sort(key=Score.rank)
    return Survey(counts, refusals(rejected), scores, worst.worst())

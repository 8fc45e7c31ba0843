"""A detector set to a folder's images, as a run sets it to a site's.

A run sets it to the images that the site trains on; of a folder, those are what the same run would
train on, so that the run's own folder comes to the run's own calibration. Where that teaches the
detector nothing, for there are too few of them, all images of the folder are looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from client_app.decoding import Decoding
from client_app.split import split_records
from client_app.workers import Mapped, Work
from fedmend.errors import DataError
from fedmend.records import Pixels, Record
from fedmend.settings import Settings
from imputation.detectors.base import Calibration, Detector

LOOKED_AT = 256
"""Images at most that a detector is given to learn from."""
FITTED = "model"
"""The scale of a run: pictures fitted into its square."""

Stored = npt.NDArray[np.uint16]
Sample = Mapping[str, Stored]
"""An image as it is looked at, (C, H, W) by scale; empty where it cannot be decoded."""


class Learnt(NamedTuple):
    """What a detector has learnt of a folder's images: numbers, none of them a pixel."""

    kept: Mapping[str, Calibration]
    """By scale; empty ones where it has learnt nothing."""
    images: int
    """That it was given."""
    unknown: Sequence[str] = ()
    """The scales at which it cannot tell what is clean."""

    def told(self) -> dict[str, Any]:
        """Return it as JSON can say it, to the last bit."""
        kept = {
            scale: {name: array.tolist() for name, array in each.items()}
            for scale, each in self.kept.items()
        }
        return {"kept": kept, "images": self.images, "unknown": list(self.unknown)}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Learnt:
        """Return what was told.

        Raises:
            KeyError: it was something else; so for the others.
            TypeError: so.
            ValueError: so.
        """
        kept = {
            str(scale): {str(name): np.array(each, np.float64) for name, each in arrays.items()}
            for scale, arrays in dict(told["kept"]).items()
        }
        return cls(kept, int(told["images"]), tuple(map(str, told["unknown"])))

    def text(self) -> str:
        """Return all of it as one line, the same for the same numbers."""
        return json.dumps(self.told(), sort_keys=True)


def order(words: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    """Return rows as a detector is given them: what is vouched for as clean first.

    It must not lie beyond those that are looked at.

    Args:
        words: (n,), the site's own: 1 noisy, 0 clean, -1 where nobody knows.
    """
    return np.argsort(words != 0, kind="stable")


def words(records: Sequence[Record], *, believed: bool) -> npt.NDArray[np.int8]:
    """Return the site's own word on records; -1 for each where it does not count."""
    said = [record.noisy if believed else None for record in records]
    return np.array([-1 if each is None else int(each) for each in said], np.int8)


def learn(
    detector: Detector,
    records: Sequence[Record],
    sample: Work[Record, Sample],
    mapped: Mapped,
    settings: Settings,
    *,
    believed: bool,
) -> Learnt:
    """Let a detector learn from a folder's images; the same for the same folder.

    Args:
        detector: as it comes.
        records: of all images of the folder.
        sample: decodes one.
        mapped: decodes several.
        settings: of the run, which say what it would train on.
        believed: whether the site's own word counts.

    Raises:
        RunError: the disk fails, or an image is not what it was when it was listed.
    """
    kept: dict[str, Calibration] = {}
    images = 0
    for rows in _sets(sorted(records, key=lambda record: record.uid), settings):
        chosen = [rows[place] for place in order(words(rows, believed=believed)).tolist()]
        taken = list(_taken(chosen, sample, mapped))
        images = max(images, len(taken))
        for scale in dict.fromkeys(scale for _, each in taken for scale in each):
            if not kept.get(scale):
                kept[scale] = _learnt(detector, taken, scale, believed=believed)
        if kept and all(kept.values()):
            break
    unknown = [scale for scale, each in kept.items() if detector.calibrated(each).unknown]
    return Learnt(kept, images, unknown)


def _sets(records: Sequence[Record], settings: Settings) -> Iterator[Sequence[Record]]:
    """Yield the images that a run would train on, and then all."""
    try:
        split = split_records(records, settings.split_shares, settings.seed)
    except DataError:  # the folder's own splits divide patients, which is a run's concern
        split = []
    trained = [record for record in split if record.split == "train"]
    if 0 < len(trained) < len(records):
        yield trained
        if len(trained) >= LOOKED_AT:
            return
    yield records


def _taken(
    records: Sequence[Record], sample: Work[Record, Sample], mapped: Mapped
) -> Iterator[tuple[Record, Sample]]:
    """Yield as many records as are looked at, of those that can be decoded."""
    missing, start = LOOKED_AT, 0
    while missing and start < len(records):
        part = records[start : start + missing]
        start += len(part)
        for record, each in zip(part, mapped(sample, part), strict=True):
            if each:
                missing -= 1
                yield record, each


def _learnt(
    detector: Detector, taken: Sequence[tuple[Record, Sample]], scale: str, *, believed: bool
) -> Calibration:
    pairs = [(record, each[scale]) for record, each in taken if scale in each]
    # Pictures of all sizes are learnt from by a part of them that half of them have.
    sides = [sorted(array.shape[axis] for _, array in pairs)[len(pairs) // 2] for axis in (1, 2)]
    large = [pair for pair in pairs if all(np.array(pair[1].shape[1:]) >= sides)]
    channels = max((array.shape[0] for _, array in large), default=1)
    stacked = [np.broadcast_to(_middle(each, sides), (channels, *sides)) for _, each in large]
    images = Pixels(np.stack(stacked)).take(range(len(large)))
    own = words([record for record, _ in large], believed=believed)
    return detector.calibration(images, torch.from_numpy(own))


def _middle(array: Stored, sides: Sequence[int]) -> Stored:
    """Return the middle of a picture."""
    top, left = ((whole - side) // 2 for whole, side in zip(array.shape[1:], sides, strict=True))
    return array[:, top : top + sides[0], left : left + sides[1]]


class Fitted:
    """Decodes a record as a run does: the work of a process.

    Args:
        decoding: that a run would do.
    """

    def __init__(self, decoding: Decoding) -> None:
        self.decoding = decoding

    def __call__(self, record: Record) -> Sample:
        """Return the picture, fitted."""
        pixels = self.decoding(record).pixels
        return {} if pixels is None else {FITTED: pixels}

    def lost(self, record: Record) -> Sample:
        """Return that a record cannot be decoded, because processes died over it."""
        del record
        return {}


def said(learnt: Learnt | None) -> str:
    """Return what to tell of a detector that is set to a folder's images.

    Args:
        learnt: None: nothing was asked for.
    """
    if learnt is None:
        return "the detector is used as it comes: no calibration was asked for"
    number = f"{learnt.images} of the images here"
    if learnt.unknown:
        where = "" if len(learnt.kept) == len(learnt.unknown) else f" at scale {learnt.unknown[0]}"
        return (
            f"the detector cannot tell what is clean in {number} (unknown){where}: it flags "
            f"nothing{where and ' there'}; twenty images with a 0 in a column noisy set it right"
        )
    if not any(learnt.kept.values()):
        return f"the detector is used as it comes: it learns nothing from {number}"
    plain = [scale for scale, each in learnt.kept.items() if not each]
    beside = f"; at scale {plain[0]} it learns nothing, and is used as it comes" if plain else ""
    return f"the detector is calibrated on {number}{beside}"

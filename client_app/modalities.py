"""A detector for each modality: what is normal for a radiograph is noise in a slice of CT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from client_app import calibration
from fedmend.records import Pixels, Record
from fedmend.site import Examined
from imputation.detectors.base import Calibration, Detector, examined

_NAMES, _KEPT = "modalities", "calibration"


class Learnt(NamedTuple):
    """What a detector has learnt of a site, as a whole and by modality."""

    names: tuple[str, ...]
    """The modalities that taught something; first "", which is all images together."""
    kept: tuple[Calibration, ...]
    """Of each."""

    def groups(self, modalities: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the place in ``names`` that images of these modalities go by, 0 where in none."""
        places = {name: place for place, name in enumerate(self.names)}
        return np.array([places.get(name, 0) for name in modalities], dtype=np.int64)

    def detectors(self, detector: Detector) -> list[Detector]:
        """Return the detector, set to each."""
        return [detector.calibrated(each) for each in self.kept]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return it as the cache can keep it."""
        kept = {
            f"{_KEPT}-{place}-{key}": value
            for place, each in enumerate(self.kept)
            for key, value in each.items()
        }
        return {_NAMES: np.array(self.names, dtype="U")} | kept

    @classmethod
    def read(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Learnt:
        """Return what :meth:`arrays` kept, among others."""
        names = tuple(str(name) for name in arrays[_NAMES])
        marks = [f"{_KEPT}-{place}-" for place in range(len(names))]
        kept = (
            {key.removeprefix(mark): arrays[key] for key in arrays if key.startswith(mark)}
            for mark in marks
        )
        return cls(names, tuple(kept))


def modality(record: Record) -> str:
    """Return a record's modality as DICOM names it, "" where it says none."""
    return str(record.facts.get("Modality", ""))


def learn(
    detector: Detector,
    images: Pixels,
    words: npt.NDArray[np.int8],
    modalities: Sequence[str],
) -> Learnt:
    """Let a detector learn from a site's images; the same for the same images.

    Where there are several modalities, each has a calibration of its own if its images are enough
    for one; all others go by that of all images together.

    Args:
        detector: as it comes.
        images: of the site.
        words: (n,), the site's own on them: 1 noisy, 0 clean, -1 where nobody knows.
        modalities: of each image.
    """
    said = np.array(modalities, dtype="U")
    kept = {"": _learnt(detector, images, words, np.arange(len(images)))}
    names = sorted(set(modalities))
    for name in names if len(names) > 1 else []:
        if name and (own := _learnt(detector, images, words, np.flatnonzero(said == name))):
            kept[name] = own
    return Learnt(tuple(kept), tuple(kept.values()))


def _learnt(
    detector: Detector,
    images: Pixels,
    words: npt.NDArray[np.int8],
    rows: npt.NDArray[np.int64],
) -> Calibration:
    rows = rows[calibration.order(words[rows])][: calibration.LOOKED_AT]
    return detector.calibration(images.take(rows), torch.from_numpy(words[rows]))


def examined_by(
    detectors: Sequence[Detector], images: Pixels, groups: npt.NDArray[np.int64]
) -> Examined:
    """Return what the detectors make of (n, C, H, W) images, each asked about its own."""
    seen = examined(detectors[0], images)
    for group in np.unique(groups[groups > 0]).tolist():
        rows = np.flatnonzero(groups == group)
        own = examined(detectors[group], images.select(rows))
        seen.score[rows], seen.alarm[rows], seen.kind[rows] = own.score, own.alarm, own.kind
    return seen

"""What the detector has learnt of the originals, kept beside what was mended: numbers alone.

So images that come later are held to what the first ones were, and a second call learns nothing
new. Where nothing could be learnt, it is tried again once there are other images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from client_app.calibration import Learnt, Sample, learn
from client_app.mending.originals import Originals
from client_app.mending.target import Target
from client_app.source import Progress, told
from client_app.workers import Work, Workers, cores
from fedmend.records import Record
from fedmend.settings import Settings
from imputation.detectors.base import Detector

NAME = ".fedmend-calibration.json"
_VERSION = "1"  # of what is learnt from; a change of it learns anew


class Memory:
    """What is kept in a target.

    Args:
        target: the folder.
        parts: all that the learning depends on, but for the images.
    """

    def __init__(self, target: Target, parts: Sequence[object]) -> None:
        self.target = target
        self.key = _hashed([_VERSION, *map(str, parts)])
        self._data = b""

    def learnt(
        self,
        detector: Detector,
        originals: Originals,
        sample: Work[Record, Sample],
        settings: Settings,
        progress: Progress | None = None,
    ) -> Learnt:
        """Return what is kept; what the detector learns now, where nothing is.

        Args:
            detector: as it comes.
            originals: to learn from.
            sample: decodes one.
            settings: of the imputer's run.
            progress: told after each image that is decoded.

        Raises:
            RunError: the disk fails, or an image is not what it was when it was listed.
        """
        records = [record for own in originals.files.values() for record in own]
        images = _hashed(sorted(f"{record.uid} {record.noisy}" for record in records))
        found = self._found(images)
        if found is None:
            with Workers(cores()) as crew:
                mapped = told(crew, "decoding", progress)
                found = learn(detector, records, sample, mapped, settings, believed=True)
            about = {"key": self.key, "images": images, "learnt": found.told()}
            self._data = json.dumps(about).encode()
        return found

    def _found(self, images: str) -> Learnt | None:
        try:
            about: dict[str, Any] = json.loads(self.target.read(NAME))
            found = Learnt.of(about["learnt"])
            if about["key"] != self.key:
                return None
            settled = any(found.kept.values()) and not found.unknown
            return found if settled or about["images"] == images else None
        except (KeyError, TypeError, ValueError):
            return None

    def keep(self) -> None:
        """Write what was learnt, if it was now; the target is held.

        Raises:
            RunError: it cannot be written.
        """
        if self._data:
            self.target.write(NAME, self._data)


def calibrated(learnt: Learnt | None) -> str:
    """Return what derived files say of it; nothing where a detector is used as it comes."""
    if learnt is None or not any(learnt.kept.values()):
        return ""
    return f" calibrated on {learnt.images} images ({_hashed([learnt.text()])[:12]})"


def _hashed(parts: Sequence[str]) -> str:
    return hashlib.sha256(chr(31).join(parts).encode()).hexdigest()

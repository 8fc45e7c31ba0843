"""Procedural chest radiographs: data for a first run, for tests and for teaching.

No patient stands behind them, nothing is downloaded, and the truth beneath any noise is known.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from client_app.readers import lesions, thorax
from fedmend import randomness
from fedmend.errors import DataError
from fedmend.plugins import READERS
from fedmend.records import Index, Reader, Record

_VERSION = 1
_SCANNERS = 16
_BLOCK, _PATIENTS = 10, 7  # seven patients to ten images: three of them come twice


class Phantoms:
    """Images drawn from their number alone: the same number, the same image, on any machine.

    One patient keeps anatomy, class and scanner in all images; pose, breath, exposure, texture
    and lesion are drawn anew for each. ``facts`` hold the ``scanner``, each with its own tone
    curve, for ``column(name=scanner)``.

    Args:
        count: number of images.
        size: pixels a side.
        classes: 2 to 4: normal, nodule, consolidation, effusion.
        patients: number of patients the images go round; 0: seven for ten images.
        seed: of everything drawn.
    """

    def __init__(self, count: int, size: int, classes: int, patients: int, seed: int) -> None:
        self.count = count
        self.size = size
        self.classes = lesions.CLASSES[:classes]
        self.patients = patients
        self.seed = seed
        self.decoding = f"phantom {_VERSION}"
        self._numbers: dict[str, int] = {}

    def fingerprint(self) -> str:
        """Return a hash of the parameters, which are all there is."""
        return _hash(self._identity(), self.count)

    def index(self) -> Index:
        """Return the records, sorted by uid; nothing is ever rejected."""
        records = (self._record(uid, number) for uid, number in self._found().items())
        return Index(sorted(records), ())

    def load(self, record: Record) -> Tensor:
        """Draw one phantom, (1, size, size) float32 in [0, 1].

        Raises:
            DataError: the record is none of this reader's.
        """
        number = self._found().get(record.uid)
        if number is None:
            raise DataError("a record asks for a phantom that these settings do not draw")
        return torch.from_numpy(self._draw(number)[None])

    def _identity(self) -> str:
        return f"phantom {_VERSION} {self.size} {len(self.classes)} {self.patients} {self.seed}"

    def _found(self) -> dict[str, int]:
        if not self._numbers:
            identity = self._identity()
            self._numbers = {_hash(identity, number): number for number in range(self.count)}
        return self._numbers

    def _patient(self, number: int) -> int:
        if self.patients:
            return number % self.patients
        block, place = divmod(number, _BLOCK)
        return block * _PATIENTS + place % _PATIENTS

    def _scanner(self, patient: int) -> int:
        return randomness.number(self.seed, "scanner", patient) % _SCANNERS

    def _record(self, uid: str, number: int) -> Record:
        patient = self._patient(number)
        return Record(
            uid=uid,
            label=self.classes[patient % len(self.classes)],
            group=_hash(f"patient {self._identity()}", patient),
            split="",
            noisy=False,
            facts={"scanner": f"scanner-{self._scanner(patient):02d}"},
        )

    def _draw(self, number: int) -> thorax.Plane:
        patient = self._patient(number)
        who = randomness.numpy_generator(self.seed, "anatomy", patient)
        rng = randomness.numpy_generator(self.seed, "image", number)
        on = thorax.Canvas(self.size, thorax.Anatomy.draw(who), rng)
        healthy = thorax.body(on) + thorax.middle(on) + thorax.bones(on) + thorax.vessels(on, rng)
        kind = self.classes[patient % len(self.classes)]
        tone = randomness.numpy_generator(self.seed, "tone", self._scanner(patient))
        return _exposed(healthy, lesions.lesion(kind, on, rng), tone, rng)


def _exposed(
    healthy: thorax.Plane, lesion: thorax.Plane, tone: np.random.Generator, rng: np.random.Generator
) -> thorax.Plane:
    """Return grey values in [0, 1]: a drawn level and contrast, then the scanner's S-curve.

    Both are set by the healthy anatomy: with the lesion in it, whatever lies outside the lungs
    would turn darker or flatter, and a glance at the shoulders would tell the class.
    """
    level = tone.normal(0, 0.25) + rng.normal(0, 0.15)
    contrast = 1.35 * np.exp(tone.normal(0, 0.1) + rng.normal(0, 0.06))
    standard = (healthy + lesion - healthy.mean()) / healthy.std()
    grey: thorax.Plane = 1 / (1 + np.exp(-(contrast * standard + level)))
    return grey.astype(np.float32)


def _hash(identity: str, number: int) -> str:
    return hashlib.sha256(f"{identity} {number}".encode()).hexdigest()


@READERS.register("phantom")
def phantom(
    *, count: int = 640, size: int = 64, classes: int = 3, patients: int = 0, seed: int = 0
) -> Reader:
    """Draw chest phantoms; see :class:`Phantoms`.

    Raises:
        ValueError: a parameter out of range.
    """
    limits = {
        "count": (count, 1, 10_000_000),
        "size": (size, 16, 4096),
        "classes": (classes, 2, len(lesions.CLASSES)),
        "patients": (patients, 0, 10_000_000),
    }
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise ValueError(f"{name} must be from {low} to {high}; got {value}")
    return Phantoms(count, size, classes, patients, seed)

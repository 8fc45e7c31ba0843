"""How many images, files, patients and studies there are, and of which kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from client_app.dicom.labels import NO_IMAGE, NO_ROW
from client_app.pictures import Picture
from client_app.survey.traits import Traits
from fedmend.records import Rejected

UNLABELLED = "(unlabelled)"
NOT_SAID = "(not said)"
"""Counted where some images say a trait and others do not."""

_COPY = "the same image "
"""How every reader begins its reasons about copies of an image."""
_ROWS_LEFT_OVER = frozenset({NO_IMAGE, "there is no such file"})

_TITLES: Mapping[str, str] = {
    "modality": "modality",
    "manufacturer": "manufacturer",
    "model": "model",
    "format": "format",
    "photometric": "photometric interpretation",
    "bits": "bits stored",
    "view": "view position",
    "laterality": "laterality",
    "body_part": "body part",
}


class Counts:
    """Counts images as they are seen."""

    def __init__(self) -> None:
        self.images = 0
        self._kinds: dict[str, Counter[str]] = {}
        self._frames: Counter[str] = Counter()
        self._patients: set[str] = set()
        self._studies: set[str] = set()
        self._labelled = 0

    def add(self, picture: Picture, known: Traits) -> None:
        """Count one image."""
        record = picture.record
        self.images += 1
        self._labelled += record.label is not None
        self._frames[picture.place.path] = int(record.facts.get("NumberOfFrames", 1))
        self._patients.add(record.group)
        if study := record.facts.get("StudyInstanceUID"):
            self._studies.add(str(study))
        _, height, width = picture.shape
        self._count("class", record.label or UNLABELLED)
        self._count("size (rows x columns)", f"{height} x {width}")
        self._count("split", record.split)
        self._count("vouched for as", {None: "", True: "noisy", False: "clean"}[record.noisy])
        for name, title in _TITLES.items():
            self._count(title, getattr(known, name))

    def _count(self, title: str, value: str) -> None:
        self._kinds.setdefault(title, Counter())[value or NOT_SAID] += 1

    @property
    def totals(self) -> dict[str, int]:
        """What there is in all: labels only where some image has one, studies likewise."""
        found = {"images": self.images, "files": len(self._frames), "patients": len(self._patients)}
        if self._studies:
            found["studies"] = len(self._studies)
        if self._labelled:
            found["labelled images"] = self._labelled
        return found

    @property
    def kinds(self) -> dict[str, list[tuple[str, int]]]:
        """Images by value under each title, most frequent first; titles nobody says are absent."""
        tables = {title: _ranked(counted) for title, counted in self._kinds.items()}
        unsaid = ([(NOT_SAID, self.images)], [(UNLABELLED, self.images)])
        said = {title: rows for title, rows in tables.items() if rows not in unsaid}
        frames = Counter(str(number) for number in self._frames.values())
        return {**said, "files by frames": _ranked(frames)} if frames.keys() > {"1"} else said


def _ranked(counted: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))


class Refusal(NamedTuple):
    """A reason, and the files (or rows of a label table) that it befell."""

    reason: str
    files: Sequence[Rejected]


def refusals(rejected: Iterable[Rejected]) -> list[Refusal]:
    """Return what cannot be used by reason, the most frequent first.

    A file whose frames all fail alike is one file.
    """
    found: dict[str, dict[str, Rejected]] = {}
    for each in rejected:
        found.setdefault(each.reason, {}).setdefault(each.source, each)
    listed = [Refusal(reason, sorted(files.values())) for reason, files in sorted(found.items())]
    return sorted(listed, key=lambda refusal: -len(refusal.files))


def left_over(refused: Iterable[Refusal]) -> dict[str, int]:
    """Return how many copies, rows of labels and files have found no use; zeros are left out."""
    found = {"duplicates": 0, "label rows without an image": 0, "files without a label row": 0}
    for reason, files in refused:
        if reason.startswith(_COPY):
            found["duplicates"] += len(files)
        elif reason in _ROWS_LEFT_OVER:
            found["label rows without an image"] += len(files)
        elif reason == NO_ROW:
            found["files without a label row"] += len(files)
    return {name: number for name, number in found.items() if number}

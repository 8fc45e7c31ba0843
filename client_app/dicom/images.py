"""A site's DICOM files as images: indexed by their headers, decoded one at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from client_app.dicom.copies import Entry, once
from client_app.dicom.labels import NOTHING, Claim, Labelling, Labels
from client_app.dicom.proportions import Aspect
from client_app.dicom.reading import Reading
from client_app.dicom.window import Window
from client_app.early import Early
from client_app.readers.tree import Tree
from client_app.workers import Mapped, here
from fedmend.errors import DataError, RunError
from fedmend.records import Index, Record, Rejected

if TYPE_CHECKING:  # imported where a file is read: whoever only builds the reader does without
    from client_app.dicom.headers import Header
    from client_app.dicom.parsed import Parsed

_VERSION = 4
_FRAME_DIGITS = 8

SEVERAL_FRAMES = "the file has several frames"

Frames = Literal["each", "middle", "refuse"]
"""What becomes of a file with several."""


class Images:
    """DICOM files below one folder; see :mod:`client_app.readers.dicom`.

    ``facts`` hold what the header says of the acquisition, by the standard's keywords (numbers as
    floats; ``PixelSpacingRow`` and ``PixelSpacingColumn``), over them the further columns of the
    labels, and over these ``path`` and ``frame`` (from 0), where the image is; ``turned``, where
    it is shown otherwise than it is stored; and ``copies``, where there are others of it.

    A record's uid is the hash of the file; where it has several frames, the last 8 of its 64
    digits are the frame's number instead, so that the frames of a file follow one another.

    Args:
        path: the folder.
        source: of the labels.
        frames: what becomes of files with several.
        window: how stored values become grey.
        aspect: whether images keep their proportions.

    Raises:
        ValueError: no such window.
    """

    def __init__(
        self, path: Path, source: Labelling, *, frames: Frames, window: str, aspect: Aspect
    ) -> None:
        self.tree = Tree(path)
        self.source = source
        self.frames = frames
        self.window = Window.parse(window)
        self.aspect: Aspect = aspect
        self.decoding = f"dicom {_VERSION} {window} {aspect}"
        self.distinct = True
        self._last = threading.local()

    def __getstate__(self) -> dict[str, object]:
        """Leave out the file read last: a worker process has its own."""
        return {name: held for name, held in self.__dict__.items() if name != "_last"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._last = threading.local()

    def fingerprint(self) -> str:
        """Return a hash of parameters, tables, and all files' names, sizes, times and modes.

        Raises:
            DataError: the folder or a table cannot be read.
        """
        digest = hashlib.sha256()
        for name in self.source.tables(self.tree):
            digest.update(self.tree.table(name))
        parts: list[object] = [_VERSION, self.tree.root, repr(self.source), self.frames]
        parts += [(name, *self.tree.status(name)) for name in self._names()]
        digest.update(repr(parts).encode())
        return digest.hexdigest()

    def index(self) -> Index:
        """Return the records, sorted by uid, and what was refused or left over.

        Raises:
            DataError: the folder or its labels cannot be used.
            RunError: the disk fails.
        """
        return self.index_by(here)

    def index_by(self, mapped: Mapped, early: Early | None = None) -> Index:
        """Return the index; ``mapped`` reads the headers.

        Args:
            mapped: does work.
            early: takes the pictures of single frames, which are decoded with their headers.

        Raises:
            DataError: the folder or its labels cannot be used.
            RunError: the disk fails.
        """
        labels = self.source.read(self.tree)
        rejected = list(labels.rejected) if labels else []
        entries = []
        names = self._names()
        if early is not None and not _is_worth(early, names, labels):
            early = None
        for path, header in zip(names, self._headers(names, mapped, early), strict=True):
            try:
                entries.append(_entry(path, header, labels))
            except DataError as error:
                rejected.append(Rejected(path, str(error), error.local))
        if labels:
            rejected.extend(labels.unmatched())
        records = [
            record
            for entry, others in once(entries, rejected)
            for record in self._records(entry, others, rejected)
        ]
        return Index(sorted(records, key=lambda record: record.uid), sorted(rejected))

    def _headers(
        self, names: Sequence[str], mapped: Mapped, early: Early | None
    ) -> Iterator[Header | DataError]:
        work = Reading(self, early.decoding, early.known()) if early else Reading(self, None)
        for header, pixels in mapped(work, names):
            if early is not None and pixels is not None and not isinstance(header, DataError):
                early.keep(header.digest, pixels)
            yield header

    @contextlib.contextmanager
    def at_hand(self, path: str, parsed: Parsed) -> Iterator[None]:
        """Let ``load`` take a file's data set that is known to be the file's, not read it."""
        self._last.read = path, parsed
        try:
            yield
        finally:
            del self._last.read

    def load(self, record: Record) -> Tensor:
        """Return one image, (C, H, W) float32 in [0, 1], upright and with square pixels.

        Raises:
            DataError: its pixels cannot be trusted.
            RunError: it is not what it was when it was indexed.
        """
        from client_app.dicom import display, upright
        from client_app.dicom.proportions import proportioned
        from client_app.dicom.quiet import quiet

        path, frame = str(record.facts["path"]), int(record.facts["frame"])
        try:
            with quiet():  # once: each of the many places that ask for it would pay again
                dataset, claimed, _, _ = self._parsed(path, record)
                turn = upright.turn(dataset)
                shown = display.image(dataset, frame, self.window, claimed)
                image = upright.turned(shown, turn)
                ratio = display.aspect(dataset, frame)
                return proportioned(image, 1 / ratio if turn.transposed else ratio, self.aspect)
        except DataError as error:
            raise DataError(str(error), local=path) from error

    def copies(self, record: Record) -> list[Record]:
        """Return the same image in other files of the folder, in order of their paths."""
        found = json.loads(str(record.facts.get("copies", "[]")))
        facts = {name: fact for name, fact in record.facts.items() if name != "copies"}
        frame = int(facts.get("frame", 0))
        return [
            record._replace(
                uid=_uid(digest, frame, int(facts["NumberOfFrames"])), facts=facts | {"path": path}
            )
            for path, digest in found
        ]

    def _parsed(self, path: str, record: Record) -> Parsed:
        """Return a file, parsed; frames that follow one another read it once a thread."""
        from client_app.dicom.parsed import parse

        last: tuple[str, Parsed] | None = getattr(self._last, "read", None)
        if last is not None and last[0] == path:
            return last[1]
        try:
            data = self.tree.read(path)
        except DataError as error:
            raise RunError("an image can no longer be read; start again", local=path) from error
        try:
            parsed = parse(data)
        except DataError as error:  # it could be parsed when it was indexed
            raise _changed(path) from error
        if record.uid != _uid(parsed.digest, int(record.facts["frame"]), parsed.claimed.frames):
            raise _changed(path)
        if parsed.claimed.frames != 1:
            self._last.read = path, parsed
        return parsed

    def _names(self) -> list[str]:
        tables = set(self.source.tables(self.tree))
        names = (name for name in self.tree.names() if name not in tables)
        return sorted(name for name in names if self.source.admits(name))

    def _records(
        self, entry: Entry, others: Sequence[Entry], rejected: list[Rejected]
    ) -> list[Record]:
        """Return the records of a file: one a frame."""
        count = entry.header.frames
        if count > 1 and self.frames == "refuse":
            rejected.append(Rejected(entry.path, SEVERAL_FRAMES, f"{count} frames"))
            return []
        chosen = [count // 2] if self.frames == "middle" else range(count)
        return [_record(entry, others, frame) for frame in chosen]


def _is_worth(early: Early, names: Sequence[str], labels: Labels | None) -> bool:
    """Say whether most files of a folder are likely to be used, and their pictures have room."""
    return early.has_room(len(names)) and (labels is None or 2 * labels.count() >= len(names))


def _entry(path: str, header: Header | DataError, labels: Labels | None) -> Entry:
    """Return a file and what is said of it.

    Raises:
        DataError: it cannot be used, or nothing is said of it.
    """
    if isinstance(header, DataError):
        if labels:
            labels.seen(path, None)
        raise header
    return Entry(path, header, labels.of(path, header) if labels else NOTHING)


def _changed(path: str) -> RunError:
    return RunError("an image changed while it was in use; start again", local=path)


def _uid(digest: str, frame: int, count: int) -> str:
    return digest if count == 1 else f"{digest[:-_FRAME_DIGITS]}{frame:0{_FRAME_DIGITS}x}"


def _record(entry: Entry, others: Sequence[Entry], frame: int) -> Record:
    header, claim = entry.header, entry.claim
    facts: dict[str, str | float] = {
        **header.facts,
        **(header.own[frame] if header.own else {}),
        **claim.facts,
        "NumberOfFrames": float(header.frames),
        "path": entry.path,
        "frame": float(frame),
    }
    if others:
        facts["copies"] = json.dumps([(other.path, other.header.digest) for other in others])
    return Record(
        uid=_uid(header.digest, frame, header.frames),
        label=claim.label,
        group=_group(header, claim),
        split=claim.split,
        noisy=claim.noisy,
        # Workers send their own copies of names and texts, which mostly are the same.
        facts={
            sys.intern(name): sys.intern(fact) if isinstance(fact, str) else fact
            for name, fact in facts.items()
        },
    )


def _group(header: Header, claim: Claim) -> str:
    """Return the hashed patient; without one, the study is the least that must not be divided."""
    patient = claim.patient or header.patient
    if patient:
        return hashlib.sha256(patient.encode()).hexdigest()
    if header.study:
        return hashlib.sha256(f"study {header.study}".encode()).hexdigest()
    return header.digest

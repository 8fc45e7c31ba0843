"""A whole folder mended: what is done already is left, what is new or changed is done."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from client_app.dicom import quarantine
from client_app.mending import file as mending
from client_app.mending import ledger, memory, picture
from client_app.mending.derived import Made
from client_app.mending.file import Mended
from client_app.mending.ledger import Ledger, Row
from client_app.mending.memory import Memory
from client_app.mending.mender import Mender
from client_app.mending.originals import Originals, below, frame_of
from client_app.mending.target import Target
from fedmend.errors import DataError
from fedmend.records import Record, Rejected

_VERSION = "4"  # of what is made of an image; a change of it mends everything anew
_YES_NO = {True: "yes", False: "no", None: ""}
_RESERVED = (ledger.NAME, quarantine.NAME, memory.NAME)


class Summary(NamedTuple):
    """What became of the images, and how much of it was done by this call."""

    outcomes: Counter[str]
    """By outcome; see :data:`client_app.mending.ledger.OUTCOMES`."""
    flagged: int
    not_mended: Counter[str]
    """Flagged images that stay as they are, by reason."""
    unusable: Counter[str]
    """Files and images that cannot be used, by reason."""
    files_written: int
    files_removed: int
    looked_at: int
    """Images that this call looked at; all others were done before."""


class Work:
    """Mends originals into a folder.

    Args:
        originals: as :func:`client_app.mending.originals.originals` lists them.
        mender: flags and mends.
        made: by what; goes into derived DICOM files.
        target: the folder.
        memory: what the detector has learnt, which is kept there.
    """

    def __init__(
        self,
        originals: Originals,
        mender: Mender,
        made: Made,
        target: Target,
        memory: Memory | None = None,
    ) -> None:
        self.originals = originals
        self.mender = mender
        self.made = made
        self.target = target
        self.memory = memory

    def run(self, advance: Callable[[int], None]) -> Summary:
        """Mend whatever is not mended yet.

        Args:
            advance: told after each file how many images it had.

        Raises:
            RunError: an original changed, the disk is full, or somebody else writes there.
        """
        images = {each.uid for own in self.originals.files.values() for each in own}
        with self.target.held():
            if self.memory is not None:
                self.memory.keep()
            book = Ledger(self.target)
            written = looked_at = removed = 0
            try:
                for name, records in self.originals.files.items():
                    rows = self._done(book, records)
                    if rows:
                        renamed = self._follow(book, name, rows)
                        written, removed = written + renamed, removed + renamed
                    else:
                        done = self._attempted(name, records)
                        rows = self._rows(name, records, done)
                        written += done.data is not None
                        looked_at += len(records)
                        removed += self._keep(book, rows, done.data)
                    advance(len(records))
                gone = [row for image, row in book.rows.items() if image not in images]
                removed += self._clear(book, gone, images)
                book.finish(images)
            except BaseException:
                # Why the work breaks off matters more than that the list cannot be written either.
                with contextlib.suppress(DataError):
                    self._quarantine(book, images)
                raise
            finally:
                book.close()
            self._quarantine(book, images)
        return _summary(book, self.originals.rejected, (written, removed, looked_at))

    def _done(self, book: Ledger, records: Sequence[Record]) -> list[Row]:
        """Return a file's rows; none where an image or the output is missing, or of another make.

        Images are known by their bytes: the rows may be those of a name that the file had before.
        """
        rows = [book.rows[record.uid] for record in records if record.uid in book.rows]
        if [row.made_by for row in rows] != [self._made_by(record) for record in records]:
            return []
        outputs = {(row.output, row.digest) for row in rows if row.output}
        sound = all(self.target.digest(output) == digest for output, digest in outputs)
        return rows if sound and len(outputs) <= 1 else []

    def _follow(self, book: Ledger, name: str, rows: Sequence[Row]) -> bool:
        """Bring rows and output of a file in line with its name; say whether the output moved."""
        before = next((row.output for row in rows if row.output), "")
        after = before and self._output(name, self.target.start(before))
        moves = after != before
        if moves:
            self.target.move(before, after)
        if moves or any(row.source != name for row in rows):
            book.note(row._replace(source=name, output=after if row.output else "") for row in rows)
        return moves

    def _made_by(self, record: Record) -> str:
        parts = (_VERSION, *self.made, self.originals.decoding, str(record.noisy))
        return hashlib.sha256(chr(31).join(parts).encode()).hexdigest()[:32]

    def _attempted(self, name: str, records: Sequence[Record]) -> Mended:
        if all(record.noisy is False for record in records):
            return Mended([mending.CLEAN] * len(records), None)
        try:
            data = self.originals.tree.read(name)
        except DataError as error:
            lost = mending.Verdict("unusable", reason=str(error), detail=error.local)
            return Mended([lost] * len(records), None)
        return mending.mended(data, records, self.mender, self.made, self.originals.window)

    def _rows(self, name: str, records: Sequence[Record], done: Mended) -> list[Row]:
        """Return the ledger's rows of a file."""
        output = "" if done.data is None else self._output(name, done.data)
        digest = "" if done.data is None else hashlib.sha256(done.data).hexdigest()
        pictures = self.originals.window is None
        rows = []
        for record, verdict in zip(records, done.verdicts, strict=True):
            own = verdict.outcome == "mended"
            rows.append(
                Row(
                    source=name,
                    frame="" if pictures else str(frame_of(record)),
                    score="" if verdict.score is None else f"{verdict.score:.4f}",
                    flagged=_YES_NO[verdict.flagged],
                    outcome=verdict.outcome,
                    output=output if own else "",
                    reason=verdict.reason,
                    detail=verdict.detail,
                    image=record.uid,
                    made_by=self._made_by(record),
                    digest=digest if own else "",
                )
            )
        return rows

    def _output(self, name: str, data: bytes) -> str:
        """Return what the mended file is called, below the target."""
        path = below(self.originals.tree, name)
        if self.originals.window is None:
            path = picture.name_for(path, data)
            if path != name and path in self.originals.files:
                path = f"{path.removesuffix('.png')}.mended.png"
        return f"{path}.dcm" if path in _RESERVED else path

    def _keep(self, book: Ledger, rows: Sequence[Row], data: bytes | None) -> int:
        """Write a file, if there is one, note its rows, and delete what they replace."""
        if data is not None:
            self.target.write(next(row.output for row in rows if row.output), data)
        earlier = [book.rows[row.image] for row in rows if row.image in book.rows]
        book.note(rows)
        return self._clear(book, earlier, {row.image for row in rows})

    def _clear(self, book: Ledger, earlier: Sequence[Row], images: Collection[str]) -> int:
        """Delete outputs that no row speaks of any more, if they still are what was written."""
        wanted = {row.output for image, row in book.rows.items() if image in images}
        found = {(row.output, row.digest) for row in earlier if row.output}
        stale = [
            output
            for output, digest in sorted(found)
            if output not in wanted and self.target.digest(output) == digest
        ]
        for output in stale:
            self.target.remove(output)
        return len(stale)

    def _quarantine(self, book: Ledger, images: Collection[str]) -> None:
        """List what cannot be used.

        Raises:
            DataError: the list cannot be written.
        """
        lost = [
            Rejected(row.source, row.reason, row.detail)
            for row in book.rows.values()
            if row.outcome == "unusable" and row.image in images
        ]
        quarantine.write(self.target.root, [*self.originals.rejected, *lost])


def _summary(book: Ledger, rejected: Sequence[Rejected], counts: tuple[int, int, int]) -> Summary:
    rows = book.rows.values()
    lost = {(row.source, row.reason) for row in rows if row.outcome == "unusable"}
    written, removed, looked_at = counts
    return Summary(
        outcomes=Counter(str(row.outcome) for row in rows),
        flagged=sum(row.flagged == "yes" for row in rows),
        not_mended=Counter(row.reason for row in rows if row.outcome == "not mended"),
        unusable=Counter([*(each.reason for each in rejected), *(reason for _, reason in lost)]),
        files_written=written,
        files_removed=removed,
        looked_at=looked_at,
    )

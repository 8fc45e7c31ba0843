"""Copies of an image: found by bytes, identity or pixels, and used once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from client_app.dicom.labels import Claim
from fedmend.records import Rejected

if TYPE_CHECKING:  # what reads headers imports pydicom
    from client_app.dicom.headers import Header

TWICE = "the same image is there twice"
CONTRADICTING = "the same image is there twice, with contradicting labels"


class Entry(NamedTuple):
    """One file that can be used, as far as its header shows."""

    path: str
    header: Header
    claim: Claim

    def marks(self) -> list[str]:
        """Return what a copy of the image would have too: bytes, identity or pixels."""
        marks = [f"file {self.header.digest}", f"pixels {self.header.pixels}"]
        return [*marks, f"instance {self.header.instance}"] if self.header.instance else marks


def once(
    entries: Sequence[Entry], rejected: list[Rejected]
) -> Iterator[tuple[Entry, Sequence[Entry]]]:
    """Yield every image once: the first of its copies, unless these contradict one another.

    With it come the copies that may do where it fails: of other bytes, and as many frames.
    """
    kept: dict[str, list[Entry]] = {}
    owner: dict[str, str] = {}
    for entry in entries:
        known = next((owner[mark] for mark in entry.marks() if mark in owner), None)
        if known is None:
            kept[entry.path] = [entry]
            owner.update(dict.fromkeys(entry.marks(), entry.path))
        else:
            kept[known].append(entry)
    for first, *others in kept.values():
        if any(other.claim.core() != first.claim.core() for other in others):
            rejected.extend(Rejected(each.path, CONTRADICTING) for each in (first, *others))
        else:
            rejected.extend(Rejected(other.path, TWICE, first.path) for other in others)
            yield first, [other for other in others if _may_do(other.header, first.header)]


def _may_do(header: Header, instead_of: Header) -> bool:
    return header.digest != instead_of.digest and header.frames == instead_of.frames

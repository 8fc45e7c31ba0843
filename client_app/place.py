"""Where an image lies within the site's data."""

from __future__ import annotations

from typing import NamedTuple

from client_app.readers.folder import Folder
from client_app.readers.medmnist import MedMNIST
from fedmend.records import Reader, Record


class Place(NamedTuple):
    """An image's file and its frame there. It never leaves the site."""

    path: str
    """Relative to the folder, or what else the source calls the image."""
    frame: int
    """From 0."""

    def __str__(self) -> str:
        return f"{self.path} frame {self.frame}" if self.frame else self.path


def place_of(reader: Reader, record: Record) -> Place:
    """Return where a reader has a record from; the record's uid where it comes from no file."""
    facts = record.facts
    if isinstance(reader, Folder):
        return Place(str(facts[reader.columns.image]), 0)
    if isinstance(reader, MedMNIST):
        return Place(f"{facts['part']} image {facts['row']:.0f}", 0)
    if "path" in facts and "frame" in facts:
        return Place(str(facts["path"]), int(facts["frame"]))
    return Place(record.uid, 0)

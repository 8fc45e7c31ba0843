"""A reader that looks at what another one loads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from client_app.decoding import Copied
from fedmend.records import Index, Reader, Record


class Watching(ABC):
    """Answers as another reader does, and is shown each image that it loads.

    Args:
        reader: that loads.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    @abstractmethod
    def seen(self, image: Tensor) -> None:
        """Take note of an image; whether it has three dimensions, nobody has checked yet."""

    def fingerprint(self) -> str:
        """Return the reader's."""
        return self.reader.fingerprint()

    def index(self) -> Index:
        """Return the reader's."""
        return self.reader.index()

    def load(self, record: Record) -> Tensor:
        """Return the reader's image."""
        image = self.reader.load(record)
        self.seen(image)
        return image

    def copies(self, record: Record) -> Sequence[Record]:
        """Return the reader's; none where it knows of none."""
        return self.reader.copies(record) if isinstance(self.reader, Copied) else ()

"""Pictures decoded while their files are indexed: each file is then opened, parsed and hashed once.

Which of them are used is known only when all files were looked at. Until then they wait in a file
without a name, which is gone with the process. What the cache may have already is not decoded: it
knows the uids of all that was.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from client_app.cache import Cache
from client_app.decoding import Decoded, Decoding
from client_app.workers import Mapped
from fedmend.errors import DataError
from fedmend.records import Record

_DIGITS = 32
"""Of a uid that the cache knows: two that agree in them are decoded later, and no harm is done."""
_SHARE = 4
"""The pictures that wait take a part of the cache's quota at most: this many of them fill it."""


class Early:
    """The pictures that an index leaves behind.

    Args:
        cache: where they will be kept.
        decoding: that makes them.
        made: by what, and how large: with it, a uid stands for one picture.
    """

    def __init__(self, cache: Cache, decoding: Decoding, made: str) -> None:
        self.decoding = decoding
        self._cache = cache
        self._key = f"decoded {made}"
        self._shape = (decoding.channels, decoding.size, decoding.size)
        self._bytes = math.prod(self._shape) * 2
        self._file: BinaryIO | None = None
        self._places: dict[str, int] = {}

    def __enter__(self) -> Early:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def known(self) -> frozenset[str]:
        """Return the uids, shortened by :func:`short`, of what the cache may have."""
        found = self._cache.find(self._key)
        return frozenset() if found is None else frozenset(found["uids"].astype(str).tolist())

    def has_room(self, count: int) -> bool:
        """Say whether so many pictures may wait."""
        return count * self._bytes * _SHARE <= self._cache.quota

    def keep(self, uid: str, pixels: npt.NDArray[np.uint16]) -> None:
        """Keep a picture, (C, H, W).

        Raises:
            DataError: the disk is full.
        """
        if uid not in self._places:
            if self._file is None:
                self._file = self._cache.scratch()
            self._cache.write(self._file, pixels.tobytes())
            self._places[uid] = len(self._places)

    def results(self, records: Sequence[Record], mapped: Mapped) -> Iterator[Decoded]:
        """Yield what becomes of records, in their order; ``mapped`` decodes those not kept."""
        waiting = [record for record in records if record.uid not in self._places]
        later = mapped(self.decoding, waiting)
        for record in records:
            place = self._places.get(record.uid)
            if place is None or self._file is None:
                yield next(later)
            else:
                yield Decoded(self._kept(self._file, place), ())

    def _kept(self, file: BinaryIO, place: int) -> npt.NDArray[np.uint16]:
        file.seek(place * self._bytes)
        return np.frombuffer(file.read(self._bytes), np.uint16).reshape(self._shape)

    def note(self, records: Sequence[Record]) -> None:
        """Let later calls know what the cache has."""
        uids = self.known() | {short(record.uid) for record in records}
        with contextlib.suppress(DataError):  # no room: then they are decoded early once more
            self._cache.keep(self._key, {"uids": np.array(sorted(uids), f"S{_DIGITS}")})


def short(uid: str) -> str:
    """Return as much of a uid as the cache knows."""
    return uid[:_DIGITS]

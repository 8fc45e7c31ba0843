"""One record to its pixels, fitted into a square, or to the reasons why there are none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from client_app.fit import fit
from fedmend.errors import DataError, RunError, UserError
from fedmend.records import Reader, Record, Rejected, quantised


@runtime_checkable
class Copied(Protocol):
    """A reader that knows of other copies of its images, should the one that is used fail."""

    def copies(self, record: Record) -> Sequence[Record]:
        """Return records of the same image that ``load`` takes too, in order of preference."""
        ...


class Decoded(NamedTuple):
    """What became of one record."""

    pixels: npt.NDArray[np.uint16] | None
    """(C, H, W); None: no copy of the image can be decoded."""
    failed: Sequence[Rejected]
    """The copies that were tried first."""
    instead: Record | None = None
    """The copy that is used, where it is not the record itself."""


class Decoding:
    """Decodes one record: its pixels, or why there are none.

    Args:
        reader: of the record.
        size: side in pixels of the square that images are fitted into.
        channels: 1 (grey) or 3 (RGB).
    """

    def __init__(self, reader: Reader, size: int, channels: int) -> None:
        self.reader = reader
        self.size = size
        self.channels = channels

    def __call__(self, record: Record) -> Decoded:
        """Return what becomes of a record.

        Raises:
            RunError: the disk fails, or the image is not what it was when it was indexed.
        """
        tried = self._decoded(record)
        if not isinstance(tried, Rejected):
            return Decoded(tried, ())
        failed = [tried]
        for copy in self.reader.copies(record) if isinstance(self.reader, Copied) else ():
            tried = self._decoded(copy)
            if not isinstance(tried, Rejected):
                return Decoded(tried, failed, copy)
            failed.append(tried)
        return Decoded(None, failed)

    def lost(self, record: Record) -> Decoded:
        """Return that a record cannot be decoded, because processes died over it."""
        source = str(record.facts.get("path", record.uid))
        return Decoded(None, [Rejected(source, "cannot be decoded", "the process died over it")])

    def _decoded(self, record: Record) -> npt.NDArray[np.uint16] | Rejected:
        try:
            image = self.reader.load(record)
            check(image)
            return quantised(fit(image, self.size, self.channels))
        except DataError as error:
            detail = str(getattr(error.__cause__, "local", ""))
            return Rejected(error.local or record.uid, str(error), detail)
        except UserError:
            raise
        except OSError as error:  # of the disk, not of the image: another try may succeed
            reason = os.strerror(error.errno or 0).lower()
            raise RunError(f"the images cannot be read: {reason}", local=str(error)) from error
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            # Whatever a decoder trips over costs this image alone.
            return Rejected(record.uid, f"cannot be decoded ({type(error).__name__})")


def check(image: Tensor) -> None:
    """Refuse what no decoder should have made of an image.

    Raises:
        DataError: it is no (C, H, W) of 1 or 3 channels, or has values outside 0 to 1.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
        raise DataError("the image is neither grey nor RGB")
    low, high = (float(end) for end in image.aminmax())
    if not (low >= 0 and high <= 1):  # also what is not finite
        raise DataError("the image has values outside 0 to 1")

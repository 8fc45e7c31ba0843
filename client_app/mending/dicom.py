"""One DICOM file mended: its flagged frames changed, everything else as it was."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.valuerep import format_number_as_ds
from torch import Tensor

from client_app.dicom import display, files, upright
from client_app.dicom.layout import Layout, layout
from client_app.dicom.quiet import quiet
from client_app.dicom.stored import Stored, stored
from client_app.dicom.window import Window
from client_app.mending import levels
from client_app.mending.derived import Made, derive, swapped
from client_app.mending.unmendable import (
    HEADER,
    NOT_THE_SAME,
    OVERLAY,
    PALETTE,
    SINGLE_BITS,
    TOO_LARGE,
    Unmendable,
)

_MOST_BYTES = 2**31
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
_EXTREMES = {"SmallestImagePixelValue": np.min, "LargestImagePixelValue": np.max}


class Changed:
    """Mended frames of one file, as stored values, and what must be shown of them.

    Args:
        data: the source file's bytes.
        window: which part of the grey scale is shown and mended.

    Raises:
        Untrusted: the file's pixels cannot be trusted.
    """

    def __init__(self, data: bytes, window: Window) -> None:
        self.digest = hashlib.sha256(data).hexdigest()
        self.dataset = files.read(data)
        self.window = window
        with quiet():
            self.claimed = layout(self.dataset)
            self.turn = upright.turn(self.dataset)
        self.frames: dict[int, Stored] = {}
        self._shown: dict[int, str] = {}
        self._rulers: dict[int, levels.Ruler] = {}

    def shown(self, frame: int) -> Tensor:
        """Return a frame as it is shown and hung, (C, H, W) float32 in [0, 1].

        Imputers have learned from pictures that hang so.

        Raises:
            Untrusted: its pixels cannot be trusted.
        """
        return upright.turned(display.image(self.dataset, frame, self.window), self.turn)

    def mend(self, frame: int, mended: Tensor) -> bool:
        """Take a mended picture for a frame; say whether any stored value changes by it.

        Args:
            frame: counted from 0.
            mended: (C, H, W) in [0, 1], as ``shown`` gave it.

        Raises:
            Unmendable: it cannot be brought back to stored values.
            Untrusted: its pixels cannot be trusted.
        """
        _check_kind(self.dataset, self.claimed)
        mended = _turned_back(mended, self.turn)
        pixels = stored(self.dataset, frame)
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        with quiet(), np.errstate(all="ignore"):
            if self.claimed.samples == 3:
                top = 2**self.claimed.stored - 1
                coloured = np.moveaxis(mended.numpy(), 0, -1).astype(np.float64) * top
                made = np.rint(coloured).astype(pixels.dtype)
                seen = made.astype(np.float32) / np.float32(top)
            else:
                scale = levels.ruler(self.dataset, frame, pixels, self.claimed, self.window)
                made, seen = levels.inverted(
                    self.dataset, frame, pixels, mended[0].numpy(), self.claimed, scale.window
                )
                self._rulers[frame] = scale
        if np.array_equal(made, pixels, equal_nan=self.claimed.floating):
            return False
        self.frames[frame] = made
        self._shown[frame] = _digest(seen)
        return True

    def encoded(self, made: Made) -> bytes:
        """Return the derived file, once it was read back and found to be what it should be.

        The data set is used up by it.

        Raises:
            Unmendable: it cannot be written, or does not read as it should.
            Untrusted: one of its other frames cannot be trusted.
        """
        arrays = self._every_frame()
        dataset, claimed = self.dataset, self.claimed
        with quiet():
            try:
                derive(dataset, made, self.digest, sorted(self.frames))
                del dataset[claimed.keyword]
                if not claimed.syntax.is_little_endian:
                    swapped(dataset)
                self._describe(dataset, arrays)
                data = _written(dataset, arrays, claimed)
            except Exception as error:
                raise Unmendable(HEADER, local=f"{type(error).__name__}: {error}") from error
        self._check(data, arrays)
        return data

    def _every_frame(self) -> Mapping[int, Stored]:
        claimed = self.claimed
        size = claimed.rows * claimed.columns * claimed.samples * claimed.allocated // 8
        if size * claimed.frames > _MOST_BYTES:
            raise Unmendable(TOO_LARGE, local=f"{size * claimed.frames} bytes")
        return {
            frame: self.frames[frame] if frame in self.frames else stored(self.dataset, frame)
            for frame in range(claimed.frames)
        }

    def _describe(self, dataset: Dataset, arrays: Mapping[int, Stored]) -> None:
        """Bring what the header says of the pixels up to date."""
        if not self.claimed.floating:
            dataset.HighBit = self.claimed.stored - 1
        if self.claimed.samples == 3:
            dataset.PhotometricInterpretation = "RGB"
            dataset.PlanarConfiguration = 0
        for keyword, extreme in _EXTREMES.items():
            if keyword in dataset:
                found = int(extreme([extreme(each) for each in arrays.values()]))
                dataset[keyword].VR = "SS" if self.claimed.signed else "US"
                dataset[keyword].value = found
        held = self._rulers.get(0)
        if held and held.own_range and self.claimed.frames == 1 and self.window.view > 0:
            # Shown from its smallest to its largest value so far: those are others now.
            dataset.WindowCenter = format_number_as_ds(float(held.window.center or 0))
            dataset.WindowWidth = format_number_as_ds(float(held.window.width or 0))
            dataset.VOILUTFunction = "LINEAR_EXACT"

    def _check(self, data: bytes, arrays: Mapping[int, Stored]) -> None:
        """Read what was written, and compare every pixel."""
        again = files.read(data)
        if layout(again).photometric != (
            "RGB" if self.claimed.samples == 3 else self.claimed.photometric
        ):
            raise Unmendable(NOT_THE_SAME, local="photometric interpretation")
        for frame, array in arrays.items():
            if not np.array_equal(stored(again, frame), array, equal_nan=self.claimed.floating):
                raise Unmendable(NOT_THE_SAME, local=f"stored values of frame {frame}")
        for frame, digest in self._shown.items():
            scale = self._rulers.get(frame)
            asked = scale.window if scale else self.window
            seen = display.image(again, frame, asked)
            if _digest(np.moveaxis(seen.numpy(), 0, -1)) != digest:
                raise Unmendable(NOT_THE_SAME, local=f"what is shown of frame {frame}")


def _digest(shown: npt.NDArray[np.float32]) -> str:
    """Return a hash of what is shown, which takes less room than the picture."""
    return hashlib.sha256(np.ascontiguousarray(shown).tobytes()).hexdigest()


def _turned_back(image: Tensor, by: upright.Turn) -> Tensor:
    """Undo :func:`client_app.dicom.upright.turned`: pixels are stored as they were."""
    image = upright.turned(image, by._replace(transposed=False))
    return image.transpose(-1, -2) if by.transposed else image


def _check_kind(dataset: Dataset, claimed: Layout) -> None:
    """Refuse pixels that do not stand for shades, or carry something else besides.

    Raises:
        Unmendable: the reason.
    """
    if claimed.photometric == "PALETTE COLOR":
        raise Unmendable(PALETTE)
    if claimed.stored == 1 or claimed.allocated == 1:
        raise Unmendable(SINGLE_BITS)
    for group in _OVERLAY_GROUPS:
        rows, data = (group, 0x0010), (group, 0x3000)
        if rows in dataset and data not in dataset:
            raise Unmendable(OVERLAY, local=f"group {group:04x}")


def _written(dataset: Dataset, arrays: Mapping[int, Stored], claimed: Layout) -> bytes:
    """Return the file's bytes, explicit VR little endian."""
    kind = _KINDS[claimed.keyword]
    frames = (np.ascontiguousarray(arrays[at]).astype(_type(claimed)) for at in sorted(arrays))
    data = b"".join(each.tobytes() for each in frames)
    if kind == "OW":
        kind = "OB" if claimed.allocated == 8 else "OW"
    dataset.add_new(claimed.keyword, kind, data + b"\0" * (len(data) % 2))
    file = io.BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


_KINDS = {"PixelData": "OW", "FloatPixelData": "OF", "DoubleFloatPixelData": "OD"}


def _type(claimed: Layout) -> np.dtype[Any]:
    letter = "f" if claimed.floating else "i" if claimed.signed else "u"
    return np.dtype(f"<{letter}{claimed.allocated // 8}")

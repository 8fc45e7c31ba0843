"""How a detector's numbers stand for a picture: what a reader has to undo (PS3.3 C.7.6.3, C.11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.float32]
"""(H, W) in [0, 1]: 0 is displayed black, 1 white."""

Stored = npt.NDArray[np.integer[Any]]
"""(H, W) as in the pixel data."""


@dataclass(frozen=True)
class GreyScale:
    """A way of storing pictures.

    The picture's black and white lie at ``low`` and ``high``, inside what the bits can hold, so
    that a reader that ignores the window gets another contrast; without a window they must be
    the ends of that.

    Args:
        bits: stored; allocated are the 8 or 16 that hold them.
        low: stored value of the lower end.
        high: stored value of the upper end.
        inverted: MONOCHROME1: low is white.
        signed: two's complement.
        slope: of the modality LUT.
        intercept: of the modality LUT.
        voi: VOI LUT function of the window; "": there is none.
        second: whether a second, narrower window follows the right one.
    """

    bits: int
    low: int
    high: int
    inverted: bool = False
    signed: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    voi: Literal["", "LINEAR", "LINEAR_EXACT"] = "LINEAR"
    second: bool = False

    @property
    def allocated(self) -> int:
        """Bits allocated."""
        return 8 if self.bits <= 8 else 16

    @property
    def photometric(self) -> str:
        """Photometric Interpretation."""
        return "MONOCHROME1" if self.inverted else "MONOCHROME2"

    @property
    def step(self) -> float:
        """The distance of two neighbouring stored values in the picture."""
        return 1 / (self.high - self.low)

    def stored(self, picture: Picture) -> Stored:
        """Return a picture's pixel values, rounded to nearest."""
        shown = 1 - picture if self.inverted else picture
        values = np.rint(self.low + shown.astype(np.float64) * (self.high - self.low))
        return values.astype(np.dtype(f"{'i' if self.signed else 'u'}{self.allocated // 8}"))

    def windows(self) -> list[tuple[float, float]]:
        """Return (centre, width) of each window, in units of the modality LUT's output.

        The first shows ``low`` as black and ``high`` as white (C.11.2.1.2.1 and C.11.2.1.3.2).
        """
        if not self.voi:
            return []
        low, high = (self.slope * value + self.intercept for value in (self.low, self.high))
        extra = {"LINEAR": (0.5, 1.0), "LINEAR_EXACT": (0.0, 0.0)}[self.voi]
        first = ((low + high) / 2 + extra[0], high - low + extra[1])
        return [first, (first[0], float(int(first[1] * 0.6)))] if self.second else [first]

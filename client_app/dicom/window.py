"""Which part of the grey scale is shown: the reader's ``window`` text, and the VOI functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


class Shape(Protocol):
    """Makes of units what is shown of them."""

    def __call__(self, values: Values, /) -> Values:
        """Return values in [0, 1], shape kept."""
        ...


_MOST_VIEWS = 99


class Window(NamedTuple):
    """Which grey scale transformation a picture is shown with."""

    view: int = 1
    """Which of the file's own views, counted from 1: its VOI LUTs, then its windows. 0: none."""
    center: float | None = None
    """In the units of the modality LUT (Hounsfield units for CT); None: not given by hand."""
    width: float | None = None

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read the reader's ``window`` parameter.

        - ``file``: the file's first VOI LUT or window; ``file:2`` its second. A file that has
          fewer is shown by its last; one without any by its smallest to its largest value, or,
          where it has 8 bits or fewer and no modality LUT, as it is.
        - ``range``: from the picture's smallest value to its largest, padding apart.
        - ``40/400``: center and width in the units of the modality LUT, which are Hounsfield
          units for CT: here, from -160 to 240.

        >>> Window.parse("file:2").view, Window.parse("-600/1500").center
        (2, -600.0)

        Raises:
            ValueError: the text is none of these.
        """
        asked = text.strip()
        if asked == "range":
            return cls(view=0)
        kind, colon, rest = asked.partition(":")
        if kind == "file" and (not colon or (rest.isdecimal() and 0 < int(rest) <= _MOST_VIEWS)):
            return cls(view=int(rest or 1))
        center, width = _pair(asked)
        if math.isfinite(center) and math.isfinite(width) and width > 0:
            return cls(0, center, width)
        allowed = "file, file:2 (the file's second), range, or center/width such as 40/400"
        raise ValueError(f"window must be {allowed}; got {text!r}")


def _pair(asked: str) -> tuple[float, float]:
    center, _, width = asked.partition("/")
    try:
        return float(center), float(width)
    except ValueError:
        return math.nan, math.nan


class Ramp(NamedTuple):
    """Rises from 0 to 1 over a width around its middle; without width, a step just above it."""

    middle: float
    width: float

    def __call__(self, values: Values) -> Values:
        """Return values in [0, 1], shape kept."""
        if self.width == 0:
            return (values > self.middle).astype(np.float64)
        risen: Values = np.clip((values - self.middle) / self.width + 0.5, 0, 1)
        return risen


class Sigmoid(NamedTuple):
    """SIGMOID, PS3.3 C.11.2.1.3.1; width above 0."""

    center: float
    width: float

    def __call__(self, values: Values) -> Values:
        """Return values in [0, 1], shape kept."""
        risen: Values = 1 / (
            1 + np.exp(np.clip((values - self.center) * (-4 / self.width), -700, 700))
        )
        return risen


def linear(center: float, width: float) -> Ramp:
    """Return LINEAR, PS3.3 C.11.2.1.2.1; width at least 1."""
    return Ramp(center - 0.5, width - 1)


def linear_exact(center: float, width: float) -> Ramp:
    """Return LINEAR_EXACT, PS3.3 C.11.2.1.3.2; width above 0."""
    return Ramp(center, width)


FUNCTIONS: dict[str, Callable[[float, float], Shape]] = {
    "LINEAR": linear,
    "LINEAR_EXACT": linear_exact,
    "SIGMOID": Sigmoid,
}
"""By the name in VOI LUT Function: of center and width."""

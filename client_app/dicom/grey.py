"""Grey values to what is shown: modality LUT, VOI LUT or window, inversion."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from client_app.dicom.groups import holder
from client_app.dicom.layout import Layout
from client_app.dicom.lut import Lut, Values, lut, tables_of
from client_app.dicom.stored import Stored
from client_app.dicom.untrusted import INCONSISTENT, Untrusted
from client_app.dicom.values import number, numbers, text
from client_app.dicom.window import FUNCTIONS, Ramp, Shape, Window, linear_exact


class Modality(NamedTuple):
    """Stored values to units: a table, or slope and intercept."""

    table: Lut | None
    slope: float
    intercept: float
    usable: bool
    """False where the header gives a slope of 0 or no number: units are then unknown."""

    @property
    def identity(self) -> bool:
        """Say whether it changes nothing."""
        return self.table is None and (self.slope, self.intercept) == (1.0, 0.0)

    def __call__(self, values: Values) -> Values:
        """Return values in units; shape kept."""
        if self.table:
            return self.table(values)
        rescaled: Values = values * self.slope + self.intercept
        return rescaled


def scale(
    dataset: Dataset,
    frame: int,
    values: Stored,
    inside: npt.NDArray[np.bool_],
    claimed: Layout,
    window: Window,
) -> npt.NDArray[np.float32]:
    """Return what is shown for each stored value.

    Args:
        dataset: of the whole file.
        frame: counted from 0.
        values: stored values, of any shape.
        inside: of them, those that the picture has and that are not padding; they alone count
            where the picture's own range is shown, and all others are shown as background.
        claimed: the header's claims.
        window: which part of the grey scale.

    Returns:
        float32 in [0, 1], shape as given; 0 is background.

    Raises:
        Untrusted: a table or slope is broken, or a window is asked for in units not known.
    """
    kept = values[inside]
    if not claimed.floating and claimed.allocated <= 16 and kept.size:
        straight = line(dataset, frame, (int(kept.min()), int(kept.max())), claimed, window)
        if straight is not None:
            return np.where(inside, straight(values), np.float32(0))
    to_units = modality(dataset, frame, claimed)
    units = to_units(values.astype(np.float64))
    if not np.isfinite(units[inside]).all():
        raise Untrusted(INCONSISTENT, local="the modality LUT gives no numbers")
    shape = _shape(dataset, frame, to_units, claimed, window)
    shown = (shape or _whole_range(units[inside]))(units)
    if inverted(dataset, claimed):
        shown = 1 - shown
    return np.where(inside, shown, 0).astype(np.float32)


class Line(NamedTuple):
    """What is shown of a stored value: (value - origin) * gain + offset, clipped to [0, 1]."""

    origin: int
    """Near the middle of what is shown: single precision is exact enough around it."""
    gain: float
    offset: float

    def __call__(self, values: Stored) -> npt.NDArray[np.float32]:
        """Return integers of at most 16 bits as shown, float32 in [0, 1], shape kept."""
        shown = values.astype(np.float32)
        shown -= np.float32(self.origin)
        shown *= np.float32(self.gain)
        shown += np.float32(self.offset)
        return np.clip(shown, 0, 1, out=shown)


def line(
    dataset: Dataset, frame: int, ends: tuple[int, int], claimed: Layout, window: Window
) -> Line | None:
    """Return what is shown of a picture without padding, where that is a clipped straight line.

    Args:
        dataset: of the whole file.
        frame: counted from 0.
        ends: the picture's smallest and largest stored value.
        claimed: the header's claims.
        window: which part of the grey scale.

    Returns:
        What :func:`scale` itself goes by; None where tables or curves are involved.

    Raises:
        Untrusted: as :func:`scale`.
    """
    to_units = modality(dataset, frame, claimed)
    if to_units.table:
        return None
    units = to_units(np.array(ends, np.float64))
    shape = _shape(dataset, frame, to_units, claimed, window) or _whole_range(units)
    if not isinstance(shape, Ramp) or not shape.width or not np.isfinite(units).all():
        return None
    middle = (shape.middle - to_units.intercept) / to_units.slope
    gain = to_units.slope / shape.width
    if inverted(dataset, claimed):
        gain = -gain
    origin = round(min(max(middle, -(2.0**16)), 2.0**16))
    return Line(origin, gain, (origin - middle) * gain + 0.5)


def modality(dataset: Dataset, frame: int, claimed: Layout) -> Modality:
    """Read the modality LUT: the table if there is one, else slope and intercept.

    A slope of 0 would make every picture flat; it is taken as no slope at all.

    Raises:
        Untrusted: the table is not what its descriptor says.
    """
    tables = tables_of(dataset, "ModalityLUTSequence")
    if tables:
        return Modality(lut(tables[0], claimed, signed=claimed.signed), 1.0, 0.0, usable=True)
    group = holder(dataset, frame, "PixelValueTransformationSequence", "RescaleSlope")
    slope, intercept = (number(group, f"Rescale{name}") for name in ("Slope", "Intercept"))
    broken = any(
        text(group, f"Rescale{name}") and read is None
        for name, read in (("Slope", slope), ("Intercept", intercept))
    )
    if broken or slope == 0:
        return Modality(None, 1.0, 0.0, usable=False)
    return Modality(
        None, 1.0 if slope is None else slope, 0.0 if intercept is None else intercept, usable=True
    )


def inverted(dataset: Dataset, claimed: Layout) -> bool:
    """Say whether small values are bright: MONOCHROME1, or a presentation LUT that says so.

    A radiograph says both at once (PS3.3 C.8.11.3.1.2), and is inverted once.
    """
    shape = text(dataset, "PresentationLUTShape")
    return claimed.photometric == "MONOCHROME1" or shape == "INVERSE"


def _shape(
    dataset: Dataset, frame: int, to_units: Modality, claimed: Layout, window: Window
) -> Shape | None:
    """Return what units are shown by; None: by the picture's own range.

    Raises:
        Untrusted: a table is broken, or a window is asked for in units not known.
    """
    if window.center is not None and window.width is not None:
        if not to_units.usable:
            raise Untrusted(INCONSISTENT, local="a window is asked for, but units are unknown")
        return linear_exact(window.center, window.width)
    if not window.view or not to_units.usable:
        return None
    shape = _view(dataset, frame, to_units, claimed, window.view)
    if shape is None and claimed.stored <= 8 and to_units.identity:
        # Without a window such pictures are meant to be shown as they are.
        top = 2**claimed.stored - 1
        low = -(2 ** (claimed.stored - 1)) if claimed.signed else 0
        return Ramp(low + top / 2, top)
    return shape


def _whole_range(units: Values) -> Ramp:
    """Return what shows values from the smallest to the largest, (n,)."""
    low, high = (float(units.min()), float(units.max())) if units.size else (0.0, 0.0)
    return linear_exact(low / 2 + high / 2, high - low)


def _view(
    dataset: Dataset, frame: int, to_units: Modality, claimed: Layout, view: int
) -> Shape | None:
    """Return the file's own VOI LUTs, then its windows; the last if there are fewer than asked."""
    tables = tables_of(dataset, "VOILUTSequence")
    windows = _windows(dataset, frame)
    at = min(view, len(tables) + len(windows)) - 1
    if at < 0:
        return None
    if at < len(tables):
        signed = claimed.signed or to_units.intercept < 0
        table = lut(tables[at], claimed, signed=signed)
        return lambda units: table(units) / table.top
    center, width, function = windows[at - len(tables)]
    return FUNCTIONS[function](center, width)


def _windows(dataset: Dataset, frame: int) -> list[tuple[float, float, str]]:
    """Return the windows that can be applied: center, width, function.

    One without width is passed over. LINEAR needs a width of 1 at least; narrower ones, which
    pictures of fractions have, can only be meant exactly.
    """
    group = holder(dataset, frame, "FrameVOILUTSequence", "WindowCenter")
    name = text(group, "VOILUTFunction").upper()
    name = name if name in FUNCTIONS else "LINEAR"
    pairs = zip(numbers(group, "WindowCenter"), numbers(group, "WindowWidth"), strict=False)
    return [
        (center, width, "LINEAR_EXACT" if name == "LINEAR" and width < 1 else name)
        for center, width in pairs
        if width > 0
    ]

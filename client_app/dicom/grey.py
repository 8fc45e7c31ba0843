"""Grey values to what is shown: modality LUT, VOI LUT or window, inversion."""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from client_app.dicom.groups import holder
from client_app.dicom.layout import Layout
from client_app.dicom.lut import Lut, Values, lut, tables_of
from client_app.dicom.stored import Stored
from client_app.dicom.untrusted import INCONSISTENT, Untrusted
from client_app.dicom.values import number, numbers, text
from client_app.dicom.window import FUNCTIONS, Window, linear_exact


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
    to_units = modality(dataset, frame, claimed)
    units = to_units(values.astype(np.float64))
    if not np.isfinite(units[inside]).all():
        raise Untrusted(INCONSISTENT, local="the modality LUT gives no numbers")
    shown = _windowed(dataset, frame, units, inside, to_units, claimed, window)
    if inverted(dataset, claimed):
        shown = 1 - shown
    return np.where(inside, shown, 0).astype(np.float32)


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


def _windowed(
    dataset: Dataset,
    frame: int,
    units: Values,
    inside: npt.NDArray[np.bool_],
    to_units: Modality,
    claimed: Layout,
    window: Window,
) -> Values:
    if window.center is not None and window.width is not None:
        if not to_units.usable:
            raise Untrusted(INCONSISTENT, local="a window is asked for, but units are unknown")
        return linear_exact(units, window.center, window.width)
    if window.view and to_units.usable:
        shown = _view(dataset, frame, units, to_units, claimed, window.view)
        if shown is not None:
            return shown
        if claimed.stored <= 8 and to_units.identity:
            # Without a window such pictures are meant to be shown as they are.
            low = -(2 ** (claimed.stored - 1)) if claimed.signed else 0
            return cast("Values", (units - low) / (2**claimed.stored - 1))
    return _whole_range(units, inside)


def _whole_range(units: Values, inside: npt.NDArray[np.bool_]) -> Values:
    kept = units[inside]
    low, high = (float(kept.min()), float(kept.max())) if kept.size else (0.0, 0.0)
    return linear_exact(units, low / 2 + high / 2, high - low)


def _view(
    dataset: Dataset, frame: int, units: Values, to_units: Modality, claimed: Layout, view: int
) -> Values | None:
    """Show by the file's own VOI LUTs, then its windows; the last if there are fewer than asked."""
    tables = tables_of(dataset, "VOILUTSequence")
    windows = _windows(dataset, frame)
    at = min(view, len(tables) + len(windows)) - 1
    if at < 0:
        return None
    if at < len(tables):
        signed = claimed.signed or to_units.intercept < 0
        table = lut(tables[at], claimed, signed=signed)
        return table(units) / table.top
    center, width, function = windows[at - len(tables)]
    return FUNCTIONS[function](units, center, width)


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

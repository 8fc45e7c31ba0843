"""Figures as a reader wants them; unknown ones as a dash."""

from __future__ import annotations

UNKNOWN = "\N{EN DASH}"


def whole(value: object) -> int | None:
    """Return a count; None where it is unknown."""
    return int(value) if isinstance(value, int | float) else None


def real(value: object) -> float | None:
    """Return a measure; None where it is unknown."""
    return float(value) if isinstance(value, int | float) else None


def number(value: object, digits: int = 3) -> str:
    """Return a number as shown: fixed digits, or thousands apart where it is whole.

    >>> number(0.98765), number(12345), number(None) == UNKNOWN
    ('0.988', '12,345', True)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,.{digits}f}" if isinstance(value, float) else UNKNOWN


def percent(value: float | None) -> str:
    """Return a share in [0, 1] in per cent.

    >>> percent(0.0312), percent(None) == UNKNOWN
    ('3.1 %', True)
    """
    return UNKNOWN if value is None else f"{100 * value:.1f} %"


def duration(seconds: float | None) -> str:
    """Return a time in its two largest units.

    >>> duration(3.26), duration(75), duration(7322)
    ('3.3 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds is None:
        return UNKNOWN
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"


def size(count: float | None) -> str:
    """Return a number of bytes in decimal units.

    >>> size(999), size(1234567), size(None) == UNKNOWN
    ('999 B', '1.2 MB', True)
    """
    if count is None:
        return UNKNOWN
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"

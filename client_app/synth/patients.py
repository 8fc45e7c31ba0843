"""Who is in the synthetic files, and the UIDs of what was made of them."""

from __future__ import annotations

import uuid
from typing import NamedTuple

from pydicom.uid import UID

from client_app.synth.markers import MARKER

_NAMESPACE = uuid.UUID("5b0f8c1e-4f0e-5d43-9d0c-6f65646d656e")
_GIVEN = ("Ada", "Jürgen", "Zoë", "Søren", "Inês")


class Patient(NamedTuple):
    """One invented patient of one site."""

    identifier: str
    """Patient ID, at most 16 characters so that it fits any identifying element."""
    name: str
    sex: str
    """"F", "M" or "O"."""


def marked(site: int, number: int) -> Patient:
    """Return the ``number``-th patient of a site, with markers in name and identifier.

    >>> marked(2, 7)
    Patient(identifier='MARKER-2-7', name='MARKER^Zoë^7', sex='M')
    """
    given = _GIVEN[number % len(_GIVEN)]
    return Patient(f"{MARKER}-{site}-{number}", f"{MARKER}^{given}^{number}", "FMO"[number % 3])


def uid(*parts: str | int) -> UID:
    """Return a UID that depends on the parts alone: "2.25." and a UUID as an integer.

    PS3.5 B.2 derives UIDs so; the UUID is name-based (RFC 9562, version 5).

    >>> uid("a", 1) == uid("a", 1) != uid("a", 2)
    True
    """
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, ' '.join(map(str, parts))).int}")

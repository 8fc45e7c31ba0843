"""What identifies a patient in the synthetic files, recognisable wherever it turns up.

Every element of the files that the basic profile of PS3.15 Annex E would clean, and whose value
can hold free text, holds ``MARKER``; dates hold two days that nothing else has. UIDs cannot be
marked: they are in each site's label table.
"""

from __future__ import annotations

MARKER = "MARKER"
"""Within every name, identifier, description, address and comment, and in the folders' names."""

BIRTH_DATE = "19010203"
STUDY_DATE = "19790817"
STUDY_TIME = "031415"
PATIENT_AGE = "078Y"

MARKERS = (MARKER, BIRTH_DATE, STUDY_DATE)
"""Strings that nothing may hold that leaves a site of ``fedmend synth`` (layout dicom)."""

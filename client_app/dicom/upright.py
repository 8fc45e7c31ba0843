r"""Radiographs turned as a radiologist hangs them, where the header leaves no doubt how.

Patient Orientation (PS3.3 C.7.6.1.1.1) names the patient's side that rows and columns of the stored
matrix run towards: ``L\F`` is a frontal chest as it is hung. Detectors and plate readers store it
sideways, upside down or mirrored as well, and say so there.

Field of View Rotation and Horizontal Flip are left alone: they tell what was done to the pixels
before they were stored (PS3.3 C.8.11.4.1.2), not what is still to be done.
"""

from __future__ import annotations

from typing import NamedTuple

from pydicom import Dataset
from torch import Tensor

from client_app.dicom.values import text

PROJECTIONS = frozenset({"CR", "DX", "MG", "RF", "XA"})
"""Modalities with a convention for hanging that Patient Orientation can be held against."""
LIMBS = frozenset(
    ("ANKLE", "ARM", "CALCANEUS", "ELBOW", "EXTREMITY", "FINGER", "FOOT", "FOREARM", "HAND", "HEEL",
     "LOWEREXTREMITY", "THUMB", "TOE", "UPPEREXTREMITY", "WRIST")
)  # fmt: skip
"""Body parts that are hung in more than one way."""
_AXES = {"R": "x", "L": "x", "A": "y", "P": "y", "H": "z", "F": "z"}


class Turn(NamedTuple):
    """What is done to the stored matrix, in this order."""

    transposed: bool = False
    flipped_down: bool = False
    """Top to bottom."""
    flipped_across: bool = False
    """Left to right."""

    @property
    def name(self) -> str:
        """Return what it is called; empty: nothing is done."""
        return _NAMES[self]


_NAMES = {
    Turn(): "",
    Turn(flipped_across=True): "left to right",
    Turn(flipped_down=True): "top to bottom",
    Turn(flipped_down=True, flipped_across=True): "by 180 degrees",
    Turn(transposed=True): "along the diagonal",
    Turn(transposed=True, flipped_across=True): "clockwise",
    Turn(transposed=True, flipped_down=True): "counterclockwise",
    Turn(transposed=True, flipped_down=True, flipped_across=True): "along the other diagonal",
}


def turn(dataset: Dataset) -> Turn:
    """Return how a file's images are turned to hang as they should; mostly, not at all.

    - Mammograms hang with the chest wall towards the other breast (right ones run towards P, left
      ones towards A), head or the outer side up (IHE Mammography Image, RAD-16 4.16.4.2.2.1.1).
    - All other radiographs hang head up and, frontal ones, with the patient's left at the right.
      Lateral ones may face either way, and are rotated but never mirrored.

    Images of another modality, of limbs, or whose orientation is missing, oblique beyond its first
    letters, or that of an animal, stay as they are.
    """
    modality = text(dataset, "Modality")
    rows, _, columns = text(dataset, "PatientOrientation").partition("\\")
    known = all(part and set(part) <= set(_AXES) for part in (rows, columns))
    if modality not in PROJECTIONS or not known or _AXES[rows[0]] == _AXES[columns[0]]:
        return Turn()
    part = text(dataset, "BodyPartExamined").upper().replace("_", "").replace(" ", "")
    if modality == "MG":
        side = text(dataset, "ImageLaterality") or text(dataset, "Laterality")
        return _breast(rows[0], columns[0], side)
    return Turn() if part in LIMBS else _body(rows[0], columns[0])


def turned(image: Tensor, by: Turn) -> Tensor:
    """Return an image (C, H, W), turned."""
    if by.transposed:
        image = image.transpose(-1, -2)
    flipped = [axis for axis, is_so in ((-2, by.flipped_down), (-1, by.flipped_across)) if is_so]
    return image.flip(flipped) if flipped else image


def _breast(rows: str, columns: str, side: str) -> Turn:
    """Return the turn of a mammogram whose rows and columns run towards these."""
    if side not in ("R", "L") or "y" not in (_AXES[rows], _AXES[columns]):
        return Turn()
    sideways = _AXES[columns] == "y"
    across, down = (columns, rows) if sideways else (rows, columns)
    front = "P" if side == "R" else "A"
    below = "F" if _AXES[down] == "z" else ("L" if side == "R" else "R")
    return Turn(sideways, down != below, across != front)


def _body(rows: str, columns: str) -> Turn:
    """Return the turn of another radiograph."""
    if "z" not in (_AXES[rows], _AXES[columns]):
        return Turn()
    sideways = _AXES[rows] == "z"
    across, down = (columns, rows) if sideways else (rows, columns)
    frontal = _AXES[across] == "x"
    upturned = down != "F"
    # An even number of reflections is a rotation.
    return Turn(sideways, upturned, across != "L" if frontal else sideways != upturned)

"""The drawing of a chest phantom: analytic shapes summed up as X-ray attenuation.

Coordinates run from -1 (left, top) to 1 (right, bottom) of the field of view, whatever the
number of pixels, so that one phantom looks alike at every size. Shapes are signed distances
turned into coverage over at least one pixel, and periodic structures lose contrast as their
period nears the pixel's width: nothing aliases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.floating[Any]]
"""(H, W), or (H, 1) and (1, W) that broadcast to it; images are float32."""


class Anatomy(NamedTuple):
    """What stays the same in all images of one patient (lengths in half fields of view)."""

    torso: float
    shoulder: float
    lung_width: float
    lung_centre: float
    apex: float
    diaphragm: float
    heart: float
    heart_tilt: float
    spine: float
    rib_spacing: float
    rib_phase: float
    density: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Anatomy:
        """Draw a patient; every length is uniform around that of an adult."""
        return cls(
            torso=rng.uniform(0.86, 1.02),
            shoulder=rng.uniform(-0.98, -0.90),
            lung_width=rng.uniform(0.29, 0.36),
            lung_centre=rng.uniform(0.40, 0.46),
            apex=rng.uniform(-0.80, -0.70),
            diaphragm=rng.uniform(0.46, 0.62),
            heart=rng.uniform(0.85, 1.2),
            heart_tilt=rng.uniform(0.35, 0.75),
            spine=rng.uniform(0.075, 0.10),
            rib_spacing=rng.uniform(0.165, 0.205),
            rib_phase=rng.uniform(0, 1),
            density=rng.uniform(0.85, 1.2),
        )


class Canvas:
    """A patient in front of the detector: coordinates, and shapes drawn onto them.

    Args:
        size: pixels a side.
        anatomy: whom to draw.
        rng: draws the pose (shift, rotation, scale, breath).
    """

    def __init__(self, size: int, anatomy: Anatomy, rng: np.random.Generator) -> None:
        axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
        angle, scale = rng.normal(0, 0.035), rng.uniform(0.94, 1.06)
        cos, sin = np.float32(np.cos(angle) / scale), np.float32(np.sin(angle) / scale)
        across = axis[None, :] - np.float32(rng.normal(0, 0.04))
        down = axis[:, None] - np.float32(rng.normal(0, 0.04))
        self.x: Plane = cos * across + sin * down
        self.y: Plane = cos * down - sin * across
        self.beside: Plane = np.abs(self.x)
        self.size = size
        self.pixel = 2.0 / size
        self.anatomy = anatomy
        self.dome = anatomy.diaphragm + rng.normal(0, 0.04)
        self.turn = rng.normal(0, 0.025)
        self._lungs = self._outline()

    def cover(self, distance: Plane, soft: float) -> Plane:
        """Return how much of each pixel lies inside, given the signed distance to the edge."""
        share: Plane = np.clip(distance / np.float32(max(soft, 1.2 * self.pixel)) + 0.5, 0, 1)
        return share * share * (3 - 2 * share)

    def stripes(self, place: Plane, period: float, sharpness: float) -> Plane:
        """Return bands of height 1 around whole ``place / period``, without aliasing."""
        kept = np.sinc(self.pixel / period) ** 2 if self.pixel < period else 0.0
        turns = np.float32(2 * np.pi / period)
        bands: Plane = np.exp(np.float32(sharpness) * (np.cos(turns * place) - 1))
        return bands * np.float32(kept)

    def texture(self, rng: np.random.Generator, cells: Sequence[int]) -> Plane:
        """Return smooth noise of about unit standard deviation, an octave per grid."""
        total = np.zeros((self.size, self.size), dtype=np.float32)
        for count in cells:
            grid = rng.standard_normal((count, count), dtype=np.float32)
            if count <= self.size:
                weights = _interpolation(self.size, count)
                total += weights @ grid @ weights.T
        return total * np.float32(1.3 / len(cells) ** 0.5)

    def ellipse(self, at: tuple[float, float], radii: tuple[float, float], tilt: float) -> Plane:
        """Return the signed distance (approximate) to an ellipse, positive inside."""
        x, y = self.x - np.float32(at[0]), self.y - np.float32(at[1])
        cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        along, off = (cos * x + sin * y) / radii[0], (cos * y - sin * x) / radii[1]
        return ((1 - np.sqrt(along * along + off * off)) * min(radii)).astype(np.float32)

    def _outline(self) -> Plane:
        """Signed distance to the nearer lung: an arched top, flat flanks, a domed floor."""
        a = self.anatomy
        inside = a.lung_width * self.narrowing(self.y) - np.abs(self.beside - a.lung_centre)
        lungs: Plane = np.minimum(inside, self.floor(self.beside, self.x > 0) - self.y)
        return lungs.astype(np.float32)

    def narrowing(self, y: Plane) -> Plane:
        """Return the lung's half-width at height ``y`` over that at its base."""
        a = self.anatomy
        rise = np.clip((0.15 - y) / (0.15 - a.apex), 0, 1.2)
        width: Plane = np.sqrt(np.maximum(1 - rise**2.4, 0)) - 6 * np.maximum(rise - 1, 0)
        return width

    def floor(self, beside: Plane, left: npt.NDArray[np.bool_]) -> Plane:
        """Return the height of the diaphragm's dome; the patient's right one stands higher."""
        a = self.anatomy
        bend = (beside - a.lung_centre + 0.08) / a.lung_width
        return np.asarray(self.dome + 0.14 * bend * bend + np.where(left, 0.05, 0.0), np.float32)

    @property
    def lungs(self) -> Plane:
        """How much of each pixel shows lung, not counting what lies in front of it."""
        return self.cover(self._lungs, 0.05)

    def inside_lung(self, rng: np.random.Generator) -> tuple[float, float]:
        """Draw a place in the lungs: either side, uniform in height and across."""
        a = self.anatomy
        side = 1 if rng.uniform() < 0.5 else -1
        y = rng.uniform(a.apex + 0.2, self.dome - 0.06)
        reach = a.lung_width * float(self.narrowing(np.float32(y).reshape(1, 1))[0, 0])
        return side * (a.lung_centre + 0.8 * reach * rng.uniform(-0.6, 1)), y


_WEIGHTS: dict[tuple[int, int], Plane] = {}


def _interpolation(size: int, count: int) -> Plane:
    """Return the (size, count) matrix of a cosine-blended interpolation between grid points."""
    if (size, count) not in _WEIGHTS:
        place = (np.arange(size) + 0.5) / size * (count - 1)
        below = np.minimum(place.astype(int), count - 2)
        share = (1 - np.cos(np.pi * (place - below))) / 2
        weights = np.zeros((size, count), dtype=np.float32)
        weights[np.arange(size), below] = 1 - share
        weights[np.arange(size), below + 1] = share
        _WEIGHTS[size, count] = weights
    return _WEIGHTS[size, count]


def body(on: Canvas) -> Plane:
    """Return the attenuation of soft tissue and bone, the lungs cut out, about 0 to 1.5."""
    a = on.anatomy
    slope = np.clip((on.y - a.shoulder) / 0.22, 0, 1)
    half = 0.26 + (a.torso - 0.26) * np.sqrt(slope) - 0.06 * np.clip(on.y + 0.3, 0, 1)
    chord = np.sqrt(np.clip(1 - (on.beside / half) ** 2, 0, 1))
    tissue = on.cover(half - on.beside, 0.05) * (0.45 + 0.45 * chord)
    belly = 0.2 * on.cover(on.y - on.dome - 0.1, 0.25)
    total: Plane = a.density * tissue * (1 + belly) - 0.62 * on.lungs
    return total.astype(np.float32)


def middle(on: Canvas) -> Plane:
    """Return the attenuation of heart, great vessels, spine and windpipe."""
    a, turn = on.anatomy, on.turn
    heart = on.ellipse((0.12 + turn, 0.30), (0.34 * a.heart, 0.25 * a.heart), a.heart_tilt)
    above = on.floor(on.beside, on.x > 0) + 0.08 - on.y
    total = 0.48 * on.cover(np.minimum(heart, above), 0.07)
    total += 0.20 * on.cover(on.ellipse((0.10 + turn, -0.22), (0.11, 0.13), 0.0), 0.06)
    band = np.abs(on.x - turn * (1 - on.y))
    total += 0.20 * on.cover(0.14 + 0.05 * on.y - band, 0.08) * on.cover(on.y - a.apex, 0.3)
    vertebrae = 0.11 + 0.05 * on.stripes(on.y, 0.15, 2.0)
    total += vertebrae * on.cover(a.spine - band, 0.03)
    total -= 0.16 * on.cover(0.035 - band, 0.04) * on.cover(-0.3 - on.y, 0.1)
    return total.astype(np.float32)


def bones(on: Canvas) -> Plane:
    """Return the attenuation of ribs and collar bones."""
    a, out = on.anatomy, on.beside
    cage = on.cover(
        a.lung_width * on.narrowing(on.y - 0.08) + 0.05 - np.abs(out - a.lung_centre), 0.06
    )
    cage = cage * on.cover(on.dome + 0.28 - on.y, 0.15)
    back = on.y - 0.75 * (out - 0.28) ** 2 - a.rib_spacing * a.rib_phase
    front = on.y + 0.55 * (0.75 - out) - a.rib_spacing * (a.rib_phase + 0.4)
    total = cage * (
        0.13 * on.stripes(back, a.rib_spacing, 2.6)
        + 0.06 * on.stripes(front, a.rib_spacing * 1.25, 2.0)
    )
    collar = 0.035 - np.abs(on.y - a.apex - 0.16 + 0.16 * out - 0.05 * np.sin(6 * out))
    total += 0.16 * on.cover(np.minimum(collar, np.minimum(out - 0.07, 0.74 - out)), 0.03)
    return total.astype(np.float32)


def vessels(on: Canvas, rng: np.random.Generator) -> Plane:
    """Return the lungs' markings: strong at the hila, fading outwards, different every time."""
    hilum = np.exp(-(((on.beside - 0.2) / 0.14) ** 2) - ((on.y + 0.02) / 0.2) ** 2)
    mottle = on.texture(rng, (7, 13, 27))
    drawn = 0.14 * hilum + (0.035 + 0.06 * hilum) * mottle
    return (drawn * on.lungs).astype(np.float32)

"""What the phantoms suffer from: one drawing a disease, placed anew in every image."""

from __future__ import annotations

import numpy as np

from client_app.readers.thorax import Canvas, Plane

CLASSES = ("normal", "nodule", "consolidation", "effusion")
"""What the phantoms can show; the first ``classes`` of them are used."""


def lesion(kind: str, on: Canvas, rng: np.random.Generator, strength: float = 1.0) -> Plane:
    """Return what a disease adds to the attenuation; its sum over the lungs is 0.

    Whatever is added is taken off again evenly over the lungs, as if the exposure had followed
    it: neither the image's mean nor the lungs' tells the classes apart.

    Args:
        kind: one of ``CLASSES``.
        on: the patient.
        rng: draws place, number, size, contrast and sort.
        strength: factor of the contrast.
    """
    draw = {"nodule": _nodules, "consolidation": _consolidation, "effusion": _effusion}.get(kind)
    if draw is None:
        return np.zeros((on.size, on.size), dtype=np.float32)
    added: Plane = strength * draw(on, rng) * on.lungs
    even = on.lungs * np.float32(added.sum() / on.lungs.sum())
    return added - even


def _nodules(on: Canvas, rng: np.random.Generator) -> Plane:
    """One to three round spots; one in four is a cavity, dark within a bright wall."""
    total = np.zeros((on.size, on.size), dtype=np.float32)
    for _ in range(rng.integers(1, 4)):
        radius, contrast = rng.uniform(0.08, 0.14), rng.uniform(0.45, 0.70)
        at = on.inside_lung(rng)
        spot = on.cover(on.ellipse(at, (radius, radius * rng.uniform(0.8, 1)), 0.7), 0.05)
        if rng.uniform() < 1 / 4:
            inner = 0.62 * radius
            spot = spot - 1.5 * on.cover(on.ellipse(at, (inner, inner), 0.0), 0.05)
        total += contrast * spot
    return total


def _consolidation(on: Canvas, rng: np.random.Generator) -> Plane:
    """One ragged, mottled opacity with soft borders."""
    wide, contrast = rng.uniform(0.25, 0.40), rng.uniform(0.35, 0.55)
    blob = on.ellipse(on.inside_lung(rng), (wide, wide * rng.uniform(0.7, 1)), rng.uniform(0, 3))
    ragged = on.cover(blob + 0.06 * on.texture(rng, (9, 17)), 0.16)
    return (contrast * ragged * (1 + 0.4 * on.texture(rng, (21,)))).astype(np.float32)


def _effusion(on: Canvas, rng: np.random.Generator) -> Plane:
    """Fluid at the bottom of one lung, its surface rising towards the chest wall."""
    side = 1 if rng.uniform() < 0.5 else -1
    a = on.anatomy
    outwards = np.clip((side * on.x - a.lung_centre) / a.lung_width, -1.5, 1.5)
    surface = on.dome - rng.uniform(0.02, 0.28) - 0.10 * np.exp(1.6 * (outwards - 1))
    fluid = on.cover(on.y - surface, 0.06) * on.cover(side * on.x, 0.05)
    return (rng.uniform(0.40, 0.60) * fluid).astype(np.float32)

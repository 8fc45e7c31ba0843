"""Generators derived from what they are for, so that nothing depends on the order of work."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def number(*parts: str | int) -> int:
    """Return a 63-bit number that depends on the parts alone (SHA-256)."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(*parts: str | int) -> torch.Generator:
    """Return a CPU generator seeded by the parts: same parts, same draws, on any machine."""
    return torch.Generator().manual_seed(number(*parts))


def numpy_generator(*parts: str | int) -> np.random.Generator:
    """Return a NumPy generator seeded by the parts."""
    return np.random.default_rng(number(*parts))


def share(*parts: str | int) -> float:
    """Return a number in [0, 1) that depends on the parts alone."""
    return number(*parts) / 2**63

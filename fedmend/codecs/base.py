"""What every codec does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt
from torch import Tensor


class Codec(Protocol):
    """Encodes named tensors as named arrays, and back; both ends use the same spec."""

    def encode(self, arrays: Mapping[str, Tensor]) -> dict[str, npt.NDArray[Any]]:
        """Return what travels."""
        ...

    def decode(self, encoded: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
        """Return the tensors, with their original names, shapes and dtypes."""
        ...

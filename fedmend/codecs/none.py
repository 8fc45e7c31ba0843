"""No encoding: arrays travel as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmend.codecs.base import Codec
from fedmend.plugins import CODECS


class _Plain:
    def encode(self, arrays: Mapping[str, Tensor]) -> dict[str, npt.NDArray[Any]]:
        return {name: value.numpy() for name, value in arrays.items()}

    def decode(self, encoded: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
        # A received array may be a read-only view of the message's bytes.
        return {name: torch.from_numpy(np.array(value)) for name, value in encoded.items()}


@CODECS.register("none")
def none() -> Codec:
    """Return the codec that changes nothing."""
    return _Plain()

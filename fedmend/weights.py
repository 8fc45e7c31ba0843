"""Weights in files of this machine, read without unpickling anything.

A model may start from such a file. The coordinator alone opens it: it sends the sites their first
weights, so that a site needs the model's architecture and no file.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fedmend.errors import DataError


@runtime_checkable
class Pretrained(Protocol):
    """A model whose spec may name a file of weights that it starts from.

    Building it does not open the file: a site builds it too, and has no such file.
    """

    def pretrain(self) -> frozenset[str]:
        """Take up the file's weights; return the names of the arrays that they set, if any.

        Raises:
            DataError: the file cannot be read, or does not fit the model.
        """
        ...


def read(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a ``.safetensors`` file, or of a state dict that PyTorch has saved.

    Raises:
        DataError: there is no such file, or it is neither.
    """
    try:
        found = (
            safetensors.torch.load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower() if error.errno else "no such file"
        raise DataError(f"the weights cannot be read: {reason}", local=str(path)) from error
    except (
        safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, ValueError, EOFError,
        LookupError, AttributeError, TypeError,
    ) as error:  # fmt: skip
        raise _strange(path, str(error)) from error
    if not isinstance(found, Mapping) or not found:
        raise _strange(path, f"it holds {type(found).__name__}")
    strays = [key for key, value in found.items() if not isinstance(value, Tensor)]
    if strays:
        raise _strange(path, f"{strays[0]!r} is no array")
    return {str(key): value for key, value in found.items()}


def _strange(path: Path, why: str) -> DataError:
    return DataError(
        "the weights are neither a .safetensors file nor a state dict of arrays by name",
        local=f"{path}: {why}",
    )

"""Weights of a file for a denoiser to start from, which the coordinator alone opens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from fedmend import weights as files
from fedmend.errors import DataError

_NETWORK = "network."
"""What the names begin with of the arrays of a network that has a noise predictor beside it."""


class Start(NamedTuple):
    """What a denoiser starts from."""

    denoiser: str
    """Its name, for messages."""
    file: Path


def take_up(model: nn.Module, start: Start) -> frozenset[str]:
    """Take up the file's weights; return the names of the arrays that they set.

    The file holds a whole imputer of an earlier run with the same spec or, where the model is a
    published network beside a noise predictor, that network alone, as its authors saved it. The
    run's seed then draws the predictor's weights.

    Raises:
        DataError: the file cannot be read, or is of another network.
    """
    own = model.state_dict()
    network = {name: value for name, value in own.items() if name.startswith(_NETWORK)}
    try:
        arrays = files.read(start.file)
        alone = bool(network) and not any(name.startswith(_NETWORK) for name in arrays)
        if alone:
            arrays = {_NETWORK + name: value for name, value in arrays.items()}
        _check(arrays, network if alone else own)
    except DataError as error:
        part = f", or the {len(network)} of its network alone" if network else ""
        raise DataError(
            f"{start.denoiser}: {error}; expected are the {len(own)} arrays of an imputer of the "
            f"same spec and number of channels{part}",
            local=f"{start.file}: {error.local}" if error.local else str(start.file),
        ) from error
    model.load_state_dict(arrays, strict=False)
    return frozenset(arrays)


def _check(arrays: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse arrays that are not the expected ones."""
    missing = [name for name in expected if name not in arrays]
    if missing:
        first = f"{missing[0]} {tuple(expected[missing[0]].shape)}"
        raise _another(f"{len(missing)} missing, the first is {first}")
    unknown = [name for name in arrays if name not in expected]
    if unknown:
        raise _another(f"{len(unknown)} unknown to it", f"the first is {unknown[0]!r}")
    for name, value in arrays.items():
        wanted = expected[name]
        if value.shape != wanted.shape:
            raise _another(f"{name} must be {tuple(wanted.shape)}, and is {tuple(value.shape)}")
        if value.is_floating_point() != wanted.is_floating_point():
            raise _another(f"{name} must be of {wanted.dtype}, and is of {value.dtype}")
        if not bool(value.isfinite().all()):
            raise DataError(f"the weights are not finite: {name}")


def _another(why: str, local: str = "") -> DataError:
    return DataError(f"the arrays are of another network: {why}", local=local)

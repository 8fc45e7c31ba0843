"""Published weights, fitted to networks whose normalisation federates."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedmend.errors import DataError

# torchvision's first DenseNet files say "norm.1" where the network now says "norm1".
_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def fitted(
    found: Mapping[str, Tensor], network: nn.Module, *, stem: str, head: str
) -> dict[str, Tensor]:
    """Return the arrays of a state dict that the network takes up, by its own names.

    What was learnt with batch normalisation keeps its affine weights; its running statistics
    have no counterpart in group normalisation and are left out. Where the network takes grey
    images and the file's RGB ones, the first convolution is summed over the colours, which is
    what it does to an image of three equal ones. A head of another number of classes, or none,
    leaves the network's own.

    Args:
        found: arrays by name, as torchvision or a run of fedmend names them.
        network: that is to take them up.
        stem: path of its first convolution.
        head: path of its last linear layer.

    Raises:
        DataError: it is another network's state dict.
    """
    own = network.state_dict()
    passed_over = {name for name, _ in network.named_buffers()}  # derived from the architecture
    arrays = {_modern(name): value for name, value in found.items()}
    arrays = {
        name: value.float()
        for name, value in arrays.items()
        if name.rpartition(".")[2] not in _STATISTICS and name not in passed_over
    }
    first = f"{stem}.weight"
    if own[first].shape[1] == 1 and arrays.get(first, own[first]).shape[1:2] == (3,):
        arrays[first] = arrays[first].sum(1, keepdim=True)
    last = {f"{head}.weight", f"{head}.bias"}
    fresh = {name for name in last if _shape(arrays, name) != _shape(own, name)}
    if fresh:
        arrays = {name: value for name, value in arrays.items() if name not in last}
    _check(arrays, {name: own[name] for name in own if not fresh or name not in last})
    return arrays


def _modern(name: str) -> str:
    """Return what the network calls an array.

    >>> _modern("features.denseblock1.denselayer2.norm.1.weight")
    'features.denseblock1.denselayer2.norm1.weight'
    """
    # A run's classifier is its network behind the standardisation: "1." stands before each name.
    return _OLD_NAME.sub(r"\1\2", name.removeprefix("1."))


def _shape(arrays: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(arrays[name].shape) if name in arrays else None


def _check(arrays: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    wrong = [name for name in expected if _shape(arrays, name) != _shape(expected, name)]
    if wrong:
        first, found = wrong[0], _shape(arrays, wrong[0])
        raise DataError(
            f"the weights are of another network: {len(wrong)} of {len(expected)} arrays are "
            f"missing or of another shape; {first} must be {_shape(expected, first)}, and is "
            f"{found or 'not there'}"
        )
    unknown = sorted(set(arrays) - set(expected))
    if unknown:
        raise DataError(
            f"the weights are of another network: {len(unknown)} of the file's arrays have no "
            f"place in it, the first is {unknown[0]}"
        )
    broken = [name for name, value in arrays.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise DataError(f"the weights are not finite: {broken[0]}")

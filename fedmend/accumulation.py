"""Batches that may be larger than the device's memory.

Where memory runs out, the batch is halved until its parts fit, and their gradients are summed: the
step is the whole batch's, up to rounding. That holds for losses that are means over images, as
both phases' are. Layers that look at a whole batch (batch normalisation) see the parts instead.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fedmend.errors import RunError
from fedmend.phase import Batch

log = logging.getLogger("fedmend.training")

_T = TypeVar("_T")
TOO_LARGE = (
    "a single image does not fit into this device's memory: take a smaller model or image-size, or "
    "device=cpu"
)

Losses = Mapping[str, Tensor]
"""Mean over a batch of each submodule's loss; no two of them share a graph."""


class Accumulation:
    """Computes gradients, in as large parts as the device has memory for.

    What it has found to fit is remembered: one object serves a round.

    Args:
        model: whose gradients are computed.
        losses: of a batch, or of a part of one.
    """

    def __init__(self, model: nn.Module, losses: Callable[[Batch], Losses]) -> None:
        self.most: int | None = None
        """Images that are computed on at a time; None: as many as a batch has."""
        self._model = model
        self._parameters = list(model.parameters())
        self._losses = losses

    def backward(self, batch: Batch) -> dict[str, float]:
        """Set every parameter's gradient to that of the batch's losses, and return these.

        Raises:
            RunError: the memory does not hold a single image's gradients.
        """
        while True:
            kept = [buffer.clone() for buffer in self._model.buffers()]
            try:
                return self._sum(batch)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            # Out of the handler: the exception's frames hold on to what was computed so far.
            self._give_way(len(batch.image), kept)

    def _sum(self, batch: Batch) -> dict[str, float]:
        self._forget()
        count, total = len(batch.image), dict[str, float]()
        for part in parts(batch, self.most or count):
            share = len(part.image) / count
            for name, loss in self._losses(part).items():
                scaled = loss if share == 1 else loss * share
                scaled.backward()  # type: ignore[no-untyped-call]
                total[name] = total.get(name, 0.0) + float(scaled.detach())
        return total

    def _forget(self) -> None:
        """Drop all gradients; a module would first look for its parameters, in every step."""
        for parameter in self._parameters:
            parameter.grad = None

    def _give_way(self, count: int, kept: list[Tensor]) -> None:
        """Go back to where the batch began, with parts of half the size."""
        tried = min(self.most or count, count)
        if tried <= 1:
            raise RunError(
                "a single image's gradients do not fit into this device's memory: take a smaller "
                "model or image-size, or device=cpu"
            ) from None
        self.most = (tried + 1) // 2
        self._forget()
        with torch.no_grad():
            for buffer, before in zip(self._model.buffers(), kept, strict=True):
                buffer.copy_(before)
        release()
        log.warning(
            "out of memory with %d images at a time: going on with %d, gradients accumulated",
            tried,
            self.most,
        )


def piecewise(compute: Callable[[Batch], _T], batch: Batch) -> Iterator[tuple[Batch, _T]]:
    """Yield a batch and what is computed of it, in halves where the device's memory runs out.

    For what has no gradients, and comes to the same for an image whatever the others are.

    Raises:
        RunError: the memory does not hold what a single image takes.
    """
    try:
        whole = compute(batch)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        if len(batch.image) <= 1:
            raise RunError(TOO_LARGE) from None
    else:
        yield batch, whole
        return
    release()
    for part in parts(batch, (len(batch.image) + 1) // 2):
        yield from piecewise(compute, part)


def release() -> None:
    """Give back what a device holds for computations that were broken off."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def parts(batch: Batch, most: int) -> Iterator[Batch]:
    """Yield a batch in parts of at most ``most`` images, in its order; the batch itself if it fits.

    >>> [len(part.image) for part in parts(Batch(torch.zeros(5, 1, 2, 2), torch.zeros(5)), 2)]
    [2, 2, 1]
    """
    if len(batch.image) <= most:
        yield batch
        return
    for start in range(0, len(batch.image), most):
        cut: dict[str, Any] = {
            name: each[start : start + most]
            for name, each in batch._asdict().items()
            if torch.is_tensor(each)
        }
        yield batch._replace(**cut)


def out_of_memory(error: RuntimeError) -> bool:
    """Say whether a device's memory, or this machine's, has run out.

    CUDA has an error class for it; MPS and the CPU's allocator say so in words.

    >>> out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"))
    True
    """
    words = str(error)
    return isinstance(error, torch.OutOfMemoryError) or (
        "out of memory" in words or "DefaultCPUAllocator: can't allocate memory" in words
    )

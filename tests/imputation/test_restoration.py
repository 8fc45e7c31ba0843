from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fedmend.errors import RunError
from imputation.denoisers.base import Restored
from imputation.restoration import restored
from tests.imputation.fakes import Painter


class Cramped(Painter):
    """A painter on a device whose memory holds so many images."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.seen: list[int] = []

    def forward(self, noisy: Tensor) -> Restored:
        self.seen.append(len(noisy))
        if len(noisy) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return super().forward(noisy)


def test_where_memory_runs_out_fewer_are_restored_at_a_time() -> None:
    images = torch.rand(11, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    model = Cramped(most=5)
    with torch.inference_mode():
        wanted = restored(Painter(), images)
        found = restored(model, images)
    for one, other in zip(wanted, found, strict=True):
        torch.testing.assert_close(one, other)
    # Always as many, and first of all as many as ever; the mirror images are some more.
    assert model.seen[:3] == [16, 8, 4]
    assert set(model.seen[2:]) == {4}


def test_where_one_does_not_fit_it_is_said() -> None:
    with pytest.raises(RunError, match="a single image does not fit"):
        restored(Cramped(most=0), torch.rand(3, 1, 8, 8))

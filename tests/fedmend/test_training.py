"""Where a model computes."""

from __future__ import annotations

import pytest
import torch

from fedmend import training
from fedmend.settings import Settings


def device(given: str) -> str:
    return str(training.device_of(Settings.read({"device": given})))


@pytest.mark.parametrize("given", ["cpu", "mps", "cuda", "cuda:0", "cuda:3"])
def test_a_device_that_is_named_is_taken(given: str) -> None:
    assert device(given) == given


@pytest.mark.parametrize(
    ("cuda", "mps", "best"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_best_there_is(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, best: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert device("auto") == best

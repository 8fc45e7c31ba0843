"""Batches that do not fit into memory: the same step, part by part."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from fedmend.accumulation import Accumulation, out_of_memory, parts, piecewise
from fedmend.errors import RunError
from fedmend.phase import Batch


class Small(nn.Module):
    """A network for a device whose memory holds so many images."""

    def __init__(self, most: int = 1000, normalised: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.body = nn.Linear(12, 5)
            self.norm = nn.BatchNorm1d(5) if normalised else nn.Identity()
            self.head = nn.Linear(5, 1)
        self.most = most
        self.seen: list[int] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(len(image))
        found: Tensor = self.head(torch.tanh(self.norm(self.body(image.flatten(1)))))
        if len(image) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return found[:, 0]


def losses(model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    error = (model(batch.image) - batch.target).square()
    return {"": (error if batch.weight is None else error * batch.weight).mean()}


def batch(count: int = 13) -> Batch:
    drawn = torch.Generator().manual_seed(1)
    image = torch.rand(count, 1, 3, 4, generator=drawn)
    return Batch(
        image, torch.rand(count, generator=drawn), weight=torch.rand(count, generator=drawn)
    )


def gradients(model: Small, given: Batch) -> tuple[dict[str, float], list[Tensor]]:
    found = Accumulation(model, lambda part: losses(model, part)).backward(given)
    return found, [each.grad for each in model.parameters() if each.grad is not None]


@pytest.mark.parametrize("most", [1, 2, 5, 7, 12])
def test_the_step_is_the_whole_batchs(most: int) -> None:
    whole, expected = gradients(Small(), batch())
    split, found = gradients(Small(most), batch())
    assert split[""] == pytest.approx(whole[""], rel=1e-5)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_a_batch_that_fits_is_not_touched() -> None:
    model, given = Small(), batch()
    losses(model, given)[""].backward()  # type: ignore[no-untyped-call]
    before = [each.grad for each in model.parameters()]
    _, found = gradients(Small(), given)
    for one, other in zip(before, found, strict=True):
        assert one is not None
        assert torch.equal(one, other)
    assert next(parts(given, 13)) is given


def test_what_fits_is_remembered_and_told(caplog: pytest.LogCaptureFixture) -> None:
    model = Small(most=4)
    accumulation = Accumulation(model, lambda part: losses(model, part))
    with caplog.at_level(logging.WARNING):
        accumulation.backward(batch(16))
    assert model.seen == [16, 8, 4, 4, 4, 4]
    assert [record.args for record in caplog.records] == [(16, 8), (8, 4)]
    caplog.clear()
    model.seen.clear()
    accumulation.backward(batch(16))
    assert model.seen == [4, 4, 4, 4]
    assert caplog.records == []


def test_what_failed_leaves_no_trace_in_running_statistics() -> None:
    model, same = Small(most=8, normalised=True), Small(most=8, normalised=True)
    gradients(model, batch(16))
    for part in parts(batch(16), 8):
        same(part.image)
    for one, other in zip(model.buffers(), same.buffers(), strict=True):
        torch.testing.assert_close(one, other)


def test_nothing_fits() -> None:
    model = Small(most=0)
    with pytest.raises(RunError, match="a single image's gradients do not fit"):
        gradients(model, batch(4))
    assert model.seen == [4, 2, 1]


def test_other_errors_are_not_held_to_be_memory() -> None:
    def wrong(part: Batch) -> Mapping[str, Tensor]:
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        Accumulation(Small(), wrong).backward(batch())
    assert not out_of_memory(RuntimeError("shape mismatch"))


@pytest.mark.parametrize("most", [1, 3, 5, 1000])
def test_what_has_no_gradients_is_halved_too(most: int) -> None:
    model, given = Small(most=most), batch(13)
    with torch.inference_mode():
        wanted = Small()(given.image)
        made = list(piecewise(lambda part: model(part.image), given))
    torch.testing.assert_close(torch.cat([each for _, each in made]), wanted)
    assert torch.equal(torch.cat([part.image for part, _ in made]), given.image)
    assert all(len(part.image) <= most for part, _ in made)


def test_an_image_that_does_not_fit_is_said() -> None:
    with pytest.raises(RunError, match="a single image does not fit"):
        list(piecewise(lambda part: Small(most=0)(part.image), batch(4)))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        list(piecewise(_wrong, batch(4)))


def _wrong(part: Batch) -> Tensor:
    raise RuntimeError("shape mismatch")

"""What every backbone keeps to, tested the day it is registered."""

from __future__ import annotations

import copy
import functools
import inspect

import pytest
import torch
from torch import Tensor, nn

from fedmend.errors import SpecError
from fedmend.plugins import BACKBONES


def built(name: str, channels: int = 1, classes: int = 3) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = BACKBONES.build(name, channels, classes)
    return model.eval()


@functools.cache
def shared(name: str) -> nn.Module:
    """Return a grey network that no test may change: large ones take their time to build."""
    return built(name)


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=BACKBONES.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("channels", [1, 3])
def test_answers_one_logit_a_class_at_any_side(name: str, channels: int) -> None:
    model = shared(name) if channels == 1 else built(name, channels)
    for side in (16, 33, 64):
        with torch.inference_mode():
            logits = model(images(2, channels, side, side + 2))
        assert logits.shape == (2, 3)
        assert logits.dtype == torch.float32
        assert bool(logits.isfinite().all())


def test_keeps_no_batch_statistics(name: str) -> None:
    """What travels is parameters alone: anything else might not average."""
    model = shared(name)
    assert list(model.state_dict()) == [key for key, _ in model.named_parameters()]
    assert not any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in model.modules())


def test_an_image_is_judged_by_itself_alone(name: str) -> None:
    # In double precision: a batch of another size is summed in another order.
    model = copy.deepcopy(shared(name)).double().train()
    both = images(2, 1, 32, 32).double()
    with torch.inference_mode():
        together, alone = model(both), model(both[:1])
    torch.testing.assert_close(together[:1], alone, rtol=1e-9, atol=1e-10)


def test_the_first_logits_are_small(name: str) -> None:
    with torch.inference_mode():
        assert float(shared(name)(images(4, 1, 64, 64)).abs().max()) < 2


def test_same_seed_same_weights(name: str) -> None:
    first, second = shared(name).state_dict(), built(name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_every_parameter_learns(name: str) -> None:
    model, target = copy.deepcopy(shared(name)), torch.tensor([0, 1, 2, 0])
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):  # what starts at zero hides what lies before it from the first gradient
        optimiser.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(model(images(4, 1, 32, 32)), target))
        optimiser.step()
    gradients = {key: each.grad for key, each in model.named_parameters()}
    assert [key for key, each in gradients.items() if each is None or not each.any()] == []


def test_passing_through_leaves_the_global_generator_alone(name: str) -> None:
    model, before = shared(name).train(), torch.random.get_rng_state()
    with torch.inference_mode():
        model(images(2, 1, 16, 16))
    model.eval()
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(("channels", "classes", "named"), [(0, 2, "channels"), (1, 0, "classes")])
def test_refuses_impossible_shapes_by_name(
    name: str, channels: int, classes: int, named: str
) -> None:
    with pytest.raises(SpecError, match=f"{named} must be at least 1; got 0"):
        BACKBONES.build(name, channels, classes)


def test_only_keywords_are_for_a_spec_to_set(name: str) -> None:
    kinds = {each.kind for each in BACKBONES.parameters(name).values()}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY}

"""What every registered loss keeps to, and the values of each."""

import pytest
import torch
from torch import Tensor

from fedmend.errors import SpecError
from fedmend.plugins import LOSSES
from imputation.losses.base import Loss

every_loss = pytest.mark.parametrize("name", LOSSES.names())


def images(seed: int) -> Tensor:
    return torch.rand(4, 3, 17, 20, generator=torch.Generator().manual_seed(seed))


@every_loss
def test_one_value_per_image_zero_where_equal(name: str) -> None:
    loss: Loss = LOSSES.build(name)
    one, other = images(0), images(1)
    other[2] = one[2]
    values = loss(one, other)
    assert values.shape == (4,)
    assert values.dtype == torch.float32
    assert float(values[2]) == pytest.approx(0, abs=1e-6)
    assert all(float(values[row]) > 0.01 for row in (0, 1, 3))


@every_loss
def test_an_images_value_depends_on_that_image_alone(name: str) -> None:
    loss: Loss = LOSSES.build(name)
    one, other = images(0), images(1)
    assert torch.allclose(loss(one, other)[1:2], loss(one[1:2], other[1:2]))


@every_loss
def test_going_down_its_gradient_comes_closer(name: str) -> None:
    loss: Loss = LOSSES.build(name)
    restored, target = images(0).requires_grad_(), images(1)
    before = loss(restored, target).sum()
    before.backward()  # type: ignore[no-untyped-call]
    assert restored.grad is not None
    assert bool(restored.grad.isfinite().all())
    with torch.no_grad():
        assert float(loss(restored - 0.1 * restored.grad, target).sum()) < float(before)


@every_loss
def test_refuses_unknown_parameters(name: str) -> None:
    with pytest.raises(SpecError, match="no parameter 'nonsense'"):
        LOSSES.build(f"{name}(nonsense=1)")


@pytest.mark.parametrize(("name", "value"), [("l1", 0.2), ("l2", 0.08)])
def test_values_by_hand(name: str, value: float) -> None:
    loss: Loss = LOSSES.build(name)
    restored = torch.tensor([0.0, 0.1, 0.2, 0.9]).reshape(1, 1, 2, 2)
    target = torch.tensor([0.0, 0.1, 0.6, 0.5]).reshape(1, 1, 2, 2)
    assert float(loss(restored, target)[0]) == pytest.approx(value)

"""What every registered loss keeps to, and the values of each."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedmend.errors import SpecError, UserError
from fedmend.plugins import LOSSES
from fedmend.settings import Settings
from imputation.losses.base import Loss
from tests.imputation.losses.perceptual import weights_file


@pytest.fixture(scope="module")
def squeeze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights_file(tmp_path_factory.mktemp("weights"), "squeeze")


@pytest.fixture(params=LOSSES.names())
def spec(request: pytest.FixtureRequest) -> str:
    """Return the spec of a loss: by its name, and with a file where it needs one."""
    if request.param == "lpips":
        return f"lpips(net=squeeze, weights='{request.getfixturevalue('squeeze')}')"
    return f"{request.param}()"


def images(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*(shape or (4, 3, 17, 20)), generator=generator)


def test_one_value_per_image_zero_where_equal(spec: str) -> None:
    loss: Loss = LOSSES.build(spec)
    one, other = images(0), images(1)
    other[2] = one[2]
    values = loss(one, other)
    assert values.shape == (4,)
    assert values.dtype == torch.float32
    assert float(values[2]) == pytest.approx(0, abs=1e-6)
    assert all(float(values[row]) > 0.01 for row in (0, 1, 3))


@pytest.mark.parametrize("shape", [(2, 1, 16, 16), (2, 3, 28, 28), (1, 1, 64, 64), (2, 1, 33, 50)])
def test_takes_grey_and_colour_of_any_side(spec: str, shape: tuple[int, ...]) -> None:
    values = LOSSES.build(spec)(images(0, *shape), images(1, *shape))
    assert values.shape == shape[:1]
    assert bool((values > 0).all())


def test_an_images_value_depends_on_that_image_alone(spec: str) -> None:
    loss: Loss = LOSSES.build(spec)
    one, other = images(0), images(1)
    assert torch.allclose(loss(one, other)[1:2], loss(one[1:2], other[1:2]), rtol=1e-4)


def test_going_down_its_gradient_comes_closer(spec: str) -> None:
    loss: Loss = LOSSES.build(spec)
    restored, target = images(0).requires_grad_(), images(1)
    before = loss(restored, target).sum()
    before.backward()  # type: ignore[no-untyped-call]
    assert restored.grad is not None
    assert bool(restored.grad.isfinite().all())
    with torch.no_grad():
        assert float(loss(restored - 0.1 * restored.grad, target).sum()) < float(before)


@pytest.mark.parametrize("case", ["equal", "opposite", "flat", "black"])
def test_its_gradient_is_finite_in_every_corner(spec: str, case: str) -> None:
    target = images(0, 2, 1, 32, 32)
    restored = {
        "equal": target.clone(),
        "opposite": 1 - target,
        "flat": torch.full_like(target, 0.5),
        "black": torch.zeros_like(target),
    }[case].requires_grad_()
    if case == "black":
        target = torch.zeros_like(target)
    LOSSES.build(spec)(restored, target).sum().backward()
    assert restored.grad is not None
    assert bool(restored.grad.isfinite().all())


def test_the_global_generator_is_untouched(spec: str) -> None:
    before = torch.random.get_rng_state()
    LOSSES.build(spec)(images(0), images(1))
    assert torch.equal(before, torch.random.get_rng_state())


def test_its_weight_is_what_it_counts_for_in_a_sum(spec: str) -> None:
    """Whatever the loss: l1()+a(weight=0.5) is the absolute error and half of a."""
    one, other = images(0), images(1)
    whole: Tensor = LOSSES.build(spec)(one, other)
    inside = spec.removesuffix(")") + ("weight=0.5)" if spec.endswith("()") else ", weight=0.5)")
    added = LOSSES.build(f"l1()+{inside}")(one, other)
    torch.testing.assert_close(added, (one - other).abs().mean((1, 2, 3)) + 0.5 * whole)
    assert torch.equal(LOSSES.build(inside.replace("0.5", "1"))(one, other), whole)


@pytest.mark.parametrize("name", LOSSES.names())
def test_a_weight_that_counts_for_nothing_is_refused(name: str, squeeze: Path) -> None:
    file = f"net=squeeze, weights='{squeeze}', " if name == "lpips" else ""
    for weight in ("0", "-1", "nan", "inf"):
        with pytest.raises(SpecError, match=f"{name}.*weight must be above 0 and finite; got"):
            LOSSES.build(f"l1()+{name}({file}weight={weight})")


def test_a_sum_is_learnt_from_as_its_parts_are() -> None:
    target = images(1)
    gradients = []
    for spec in ("l1()", "l2()", "l1(weight=0.5)+l2(weight=0.25)"):
        restored = images(0).requires_grad_()
        LOSSES.build(spec)(restored, target).sum().backward()
        assert restored.grad is not None
        gradients.append(restored.grad)
    torch.testing.assert_close(gradients[2], 0.5 * gradients[0] + 0.25 * gradients[1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("l1()+l3()", "imputation.loss: loss 'l3' does not exist; there is edges"),
        ("l1()+l2(share=2)", "imputation.loss: loss 'l2' has no parameter 'share'; it has weight"),
        ("l1(weight=half)", "imputation.loss: loss 'l1': weight must be a number; got 'half'"),
        ("l1()+l2(weight=0)", "imputation.loss: loss 'l2': weight must be above 0"),
        ("l1()|l2()", "imputation.loss: one chain, a() or a()+b(), is expected, without '|'"),
        ("l1()+", "imputation.loss: a spec is ill-formed at character 6: a name is expected"),
        ("0.5*l1()", "imputation.loss: a spec is ill-formed at character 1: a name is expected"),
        ("", "imputation.loss: a spec is ill-formed at character 1: a name is expected"),
        ("l1()+lpips()", "imputation.loss: loss 'lpips' needs weights="),
    ],
)
def test_a_mistake_in_a_sum_is_found_before_the_first_message(given: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Settings.parse({"imputation.loss": given})
    assert message in str(caught.value)


@pytest.mark.parametrize("name", LOSSES.names())
def test_refuses_unknown_parameters(name: str) -> None:
    with pytest.raises(SpecError, match="no parameter 'nonsense'"):
        LOSSES.build(f"{name}(nonsense=1)")


@pytest.mark.parametrize(("name", "value"), [("l1", 0.2), ("l2", 0.08)])
def test_values_by_hand(name: str, value: float) -> None:
    loss: Loss = LOSSES.build(name)
    restored = torch.tensor([0.0, 0.1, 0.2, 0.9]).reshape(1, 1, 2, 2)
    target = torch.tensor([0.0, 0.1, 0.6, 0.5]).reshape(1, 1, 2, 2)
    assert float(loss(restored, target)[0]) == pytest.approx(value)


def test_edges_see_what_the_absolute_error_does_not() -> None:
    """The same error in all pixels has no gradient; a chequered one has the steepest."""
    target = torch.full((1, 1, 8, 8), 0.5)
    even = target + 0.1
    chequered = target + 0.1 * (1 - 2 * ((torch.arange(8)[:, None] + torch.arange(8)) % 2))
    edges: Loss = LOSSES.build("edges(gradients=2)")
    assert float(edges(even, target)) == pytest.approx(0.1)
    assert float(edges(chequered, target)) == pytest.approx(0.1 + 2 * (0.2 + 0.2), rel=1e-5)


def test_the_spectrum_of_one_wave_is_one_line() -> None:
    """A wave of amplitude a over n pixels has two lines of a n / 2; half of the plane is kept."""
    side, height = 16, 0.2
    wave = height * torch.cos(2 * torch.pi * 3 * torch.arange(side) / side).expand(1, 1, side, side)
    zero = torch.zeros_like(wave)
    plain = float(LOSSES.build("l1")(wave, zero))
    value = float(LOSSES.build("frequency(spectrum=1)")(wave, zero))
    line = height * side / 2  # orthonormal: amplitude * sqrt(pixels) / 2
    assert value - plain == pytest.approx(line / (side * (side // 2 + 1) * 2), rel=1e-4)


@pytest.mark.parametrize("spec", ["edges(gradients=-1)", "frequency(spectrum=nan)"])
def test_impossible_shares_are_refused(spec: str) -> None:
    with pytest.raises(SpecError, match=r"(gradients|spectrum) must be 0 or more"):
        LOSSES.build(spec)

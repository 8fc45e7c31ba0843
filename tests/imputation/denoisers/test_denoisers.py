"""What every registered denoiser keeps to."""

import pytest
import torch
from torch import Tensor, nn

from fedmend.errors import SpecError
from fedmend.plugins import DENOISERS
from imputation.denoisers.base import Denoiser, Restored
from imputation.restoration import restored

BATCH_STATISTICS = (nn.modules.batchnorm._NormBase,)
BAD = {int: ["nonsense", "1.5", "0", "-1"], float: ["nonsense", "nan", "inf"], str: []}
# Steps of training, and by what they divide the squared error: networks without means at several
# scales learn to smooth more slowly, and attention's steps are long.
LEARNS = {
    "dncnn": (40, 3),
    "redcnn": (40, 2),
    "restormer": (20, 2),
    "scunet": (12, 2),
    "wavepaint": (25, 4),
}
every_denoiser = pytest.mark.parametrize("name", DENOISERS.names())


def built(name: str, channels: int = 1, seed: int = 0) -> Denoiser:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Denoiser = DENOISERS.build(name, channels)
    return model


def images(count: int, channels: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, height, width, generator=generator)


def answered(model: Denoiser, noisy: Tensor) -> Restored:
    with torch.no_grad():
        answer: Restored = model(noisy)
    return answer


@every_denoiser
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sides", [(16, 16), (33, 47), (64, 64), (17, 100)])
def test_answers_at_any_size(name: str, channels: int, sides: tuple[int, int]) -> None:
    noisy = images(2, channels, *sides)
    before = noisy.clone()
    answer = answered(built(name, channels), noisy)
    assert answer.image.shape == noisy.shape
    assert answer.hole.shape == answer.sigma.shape == (2, 1, *sides)
    for part in answer:
        assert part is None or (part.dtype == torch.float32 and bool(part.isfinite().all()))
    assert float(answer.sigma.min()) >= 0
    assert torch.equal(noisy, before)


@every_denoiser
@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_carries_its_uncertainty(name: str, channels: int) -> None:
    noisy = images(2, channels, 33, 47)
    with torch.inference_mode():
        error = restored(built(name, channels).eval(), noisy).error
    assert error.shape == (2, 1, 33, 47)
    assert bool(error.isfinite().all())
    assert float(error.min()) >= 0
    assert float(error.std()) > 0  # a map, not one number


@every_denoiser
def test_constant_images_have_finite_answers_and_gradients(name: str) -> None:
    model = built(name)
    for value in (0.0, 1.0):
        answer: Restored = model(torch.full((1, 1, 32, 32), value))
        (answer.image.sum() + answer.hole.sum() + answer.sigma.sum()).backward()  # type: ignore[no-untyped-call]
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all())


@every_denoiser
def test_keeps_no_batch_statistics(name: str) -> None:
    model = built(name)
    assert not [part for part in model.modules() if isinstance(part, BATCH_STATISTICS)]
    noisy = images(5, 1, 32, 32)
    model.train()
    together = answered(model, noisy)
    alone = answered(model, noisy[2:3])
    for all_of_them, one in zip(together[:3], alone[:3], strict=True):
        assert isinstance(all_of_them, Tensor)
        assert isinstance(one, Tensor)
        assert torch.allclose(all_of_them[2:3], one, atol=1e-5)
    model.eval()
    assert torch.allclose(answered(model, noisy).image, together.image)


@every_denoiser
def test_a_gradient_reaches_every_parameter(name: str) -> None:
    model = built(name, 3)
    answer: Restored = model(images(2, 3, 32, 32))
    total = sum(part.sum() for part in answer if part is not None)
    assert isinstance(total, Tensor)
    total.backward()  # type: ignore[no-untyped-call]
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.any()), key


@every_denoiser
def test_the_same_seed_builds_the_same_model(name: str) -> None:
    one, same, other = built(name), built(name), built(name, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    noisy = images(1, 1, 32, 32)
    assert torch.equal(answered(one, noisy).image, answered(same, noisy).image)
    assert not torch.equal(answered(one, noisy).image, answered(other, noisy).image)


@every_denoiser
def test_answering_draws_nothing(name: str) -> None:
    model = built(name)
    before = torch.get_rng_state()
    answered(model, images(1, 1, 32, 32))
    assert torch.equal(torch.get_rng_state(), before)


@every_denoiser
def test_local_names_are_parameters(name: str) -> None:
    model = built(name)
    assert model.local_names <= set(model.state_dict())


@every_denoiser
def test_refuses_bad_parameters_by_name(name: str) -> None:
    with pytest.raises(SpecError, match="no parameter 'nonsense'"):
        DENOISERS.build(f"{name}(nonsense=1)", 1)
    for key, parameter in DENOISERS.parameters(name).items():
        for value in BAD.get(parameter.annotation, ["nonsense"]):
            with pytest.raises(SpecError, match=key):
                DENOISERS.build(f"{name}({key}={value})", 1)


@every_denoiser
def test_learns_to_denoise(name: str) -> None:
    """A few steps on smooth pictures take away most of the error."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(64, 1, 4, 4, generator=generator)
    clean = nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear")
    noisy = (clean + 0.3 * torch.randn(clean.shape, generator=generator)).clamp(0, 1)
    model = built(name)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    steps, gain = LEARNS.get(name, (40, 4))
    for step in range(steps):
        rows = torch.arange(8) + 16 * (step % 3)
        loss = nn.functional.l1_loss(model(noisy[rows]).image, clean[rows])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    restored = answered(model, noisy[48:]).image
    before = nn.functional.mse_loss(noisy[48:], clean[48:])
    assert float(nn.functional.mse_loss(restored, clean[48:])) < float(before) / gain

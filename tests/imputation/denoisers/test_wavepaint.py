"""What Swin WavePaint is made of, and what its map does."""

import pytest
import torch
from torch import Tensor, nn

from fedmend.plugins import DENOISERS
from imputation.denoisers.predictor import NoiseMaps
from imputation.denoisers.wavemix import DeepFeatures, Shape, WaveMixModule, haar
from imputation.denoisers.wavepaint import WavePaint, wavepaint


def built(spec: str = "wavepaint", channels: int = 1) -> WavePaint:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DENOISERS.build(spec, channels)
    assert isinstance(model, WavePaint)
    return model


def picture(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("spec", "parameters"),
    [
        ("wavepaint", 181_140),
        ("wavepaint(ll=swin)", 198_212),
        ("wavepaint(size=small)", 2_116_405),
        ("wavepaint(size=base)", 13_898_246),
    ],
)
def test_sizes(spec: str, parameters: int) -> None:
    with torch.device("meta"):
        model = DENOISERS.build(spec, 1)
    assert sum(each.numel() for each in model.parameters()) == parameters


def test_haar_is_orthonormal_and_names_its_bands() -> None:
    image = picture(2, 3, 8, 6)
    bands = torch.stack(haar(image))
    assert bands.shape == (4, 2, 3, 4, 3)
    assert float(bands.square().sum()) == pytest.approx(float(image.square().sum()), rel=1e-5)
    rows = torch.tensor([1.0, 0.0]).repeat(4)[:, None].expand(1, 1, 8, 8)
    for image, alive in ((rows, 1), (rows.mT, 2), ((rows - rows.mT).abs(), 3)):
        strengths = [float(band.abs().mean()) for band in haar(image)]
        assert strengths[alive] == 1
        assert [strengths[other] for other in {1, 2, 3} - {alive}] == [0, 0]


def test_ll_passes_or_has_swin_blocks_of_its_own() -> None:
    passing, deep = built(), built("wavepaint(ll=swin)")
    count = [
        sum(isinstance(part, DeepFeatures) for part in model.modules()) for model in (passing, deep)
    ]
    assert count == [3 * 4, 4 * 4]


def test_nothing_but_parameters_is_in_its_state() -> None:
    model = built()
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("side", [32, 64, 65, 128])
def test_windows_are_whole_at_any_side(side: int) -> None:
    seen: list[torch.Size] = []
    model = built()
    features = next(part for part in model.modules() if isinstance(part, DeepFeatures))
    features.register_forward_hook(lambda _layer, _given, answer: seen.append(answer.shape))
    with torch.no_grad():
        assert model(picture(1, 1, side, side)).image.shape == (1, 1, side, side)
    assert seen[0][-1] % 4 == seen[0][-2] % 4 == 0


def silent(first: bool = True) -> WaveMixModule:
    """Return a module whose last layer answers 0 everywhere."""
    module = WaveMixModule(1, Shape(32, 1, 4), 1, deep_ll=False, first=first)
    with torch.no_grad():
        module.last.weight.zero_()
    return module


def test_what_the_map_covers_is_replaced_whatever_was_there() -> None:
    hole = torch.full((1, 1, 32, 32), -60.0)
    hole[..., 12:16, 12:16] = 60
    dark, bright = torch.full((1, 1, 32, 32), 0.5), torch.full((1, 1, 32, 32), 0.5)
    dark[hole > 0], bright[hole > 0] = 0, 1
    maps = NoiseMaps(hole, torch.zeros_like(hole))
    rough = torch.full_like(hole, 0.1)
    module = silent()
    mended = [module(image, image, maps, rough)[0] for image in (dark, bright)]
    assert torch.allclose(mended[0], mended[1], atol=1e-2)
    assert torch.allclose(mended[0], torch.full_like(dark, 0.5), atol=1e-2)


def test_a_later_module_starts_by_keeping_the_image() -> None:
    image = picture(1, 1, 32, 32)
    maps = NoiseMaps(torch.full_like(image, -20.0), torch.zeros_like(image))
    rough = torch.full_like(image, 0.1)
    with torch.no_grad():
        kept = (silent(first=False)(image, image, maps, rough)[0] - image).abs().mean()
        blurred = (silent()(image, image, maps, rough)[0] - image).abs().mean()
    assert float(kept) < 0.25 * float(blurred)


def test_the_modules_see_the_map() -> None:
    module = WaveMixModule(1, Shape(32, 1, 4), 1, deep_ll=False, first=True)
    image = picture(1, 1, 32, 32)
    seen: list[Tensor] = []
    module.blocks.register_forward_hook(lambda _layer, _given, answer: seen.append(answer))
    rough = torch.full_like(image, 0.1)
    for level in (-4.0, 4.0):
        hole = torch.full_like(image, level)
        module(image, image, NoiseMaps(hole, torch.zeros_like(hole)), rough)
    assert not torch.allclose(seen[0], seen[1])


def test_normalisation_is_by_layer() -> None:
    norms = [part for part in wavepaint(3).modules() if isinstance(part, nn.GroupNorm)]
    assert {norm.num_groups for norm in norms} == {1}

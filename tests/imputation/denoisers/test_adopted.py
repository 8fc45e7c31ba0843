"""deepinv's networks lose nothing on the face of a denoiser, and start from weights of a file."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from fedmend.errors import DataError, SpecError
from fedmend.plugins import DENOISERS
from fedmend.weights import Pretrained
from imputation import quality
from imputation.denoisers.adopted import Adopted, Fit
from imputation.denoisers.redcnn import ResidualEncoderDecoder
from imputation.detectors.residual import noise_std
from imputation.restoration import restored

PARAMETERS = {
    "dncnn": (84_515, 675_843),
    "drunet": (1_073_266, 32_648_578),
    "restormer": (271263, 26_118_998),
    "scunet": (1466692, 17_953_690),
}
every_network = pytest.mark.parametrize("name", sorted(PARAMETERS))


def built(spec: str, channels: int = 1, seed: int = 0) -> Adopted:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DENOISERS.build(spec, channels)
    assert isinstance(model, Adopted)
    return model


def pictures() -> Tensor:
    coarse = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(0, 1)


@every_network
def test_sizes(name: str) -> None:
    for size, expected in zip(("small", "published"), PARAMETERS[name], strict=True):
        # SCUNet reads numbers from a tensor while it is built, so it needs real ones.
        with torch.device("cpu" if name == "scunet" else "meta"):
            model = DENOISERS.build(f"{name}(size={size})", 1)
        assert sum(each.numel() for each in model.parameters()) == expected


@pytest.mark.parametrize("name", ["dncnn", "drunet"])
@pytest.mark.parametrize("level", [15, 25, 50])
def test_gaussian_noise_goes_as_with_the_network_called_directly(name: str, level: int) -> None:
    """Reference: grey Gaussian denoising, sigma of 255; the phase's own mending against deepinv."""
    clean, std = pictures(), level / 255
    generator = torch.Generator().manual_seed(level)
    noisy = (clean + std * torch.randn(clean.shape, generator=generator)).clamp(0, 1)
    model = built(name)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(4):
        loss = nn.functional.mse_loss(model(noisy).image, clean)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    model.eval()
    with torch.no_grad():
        ours = restored(model, noisy).image
        known = model.network(noisy, noise_std(noisy)).clamp(0, 1)
        told = model.network(noisy, torch.full((4,), std)).clamp(0, 1)
    reached = quality.psnr(ours, clean)
    assert torch.allclose(reached, quality.psnr(known, clean), atol=1e-3)
    # What the blind estimate costs, against being told.
    assert float((quality.psnr(told, clean) - reached).max()) < 0.1
    assert float((ours - noisy).abs().mean()) > 1e-3


def test_a_learnt_level_is_the_predictors_map() -> None:
    model = built("drunet(sigma=learnt)")
    answer = model(pictures()[:1, :, :33, :40])
    last = model.get_parameter("predictor.body.4.weight")
    (gradient,) = torch.autograd.grad(answer.image.sum(), [last])
    assert bool(gradient[1].any())
    assert not bool(gradient[0].any())
    assert answer.image.shape == (1, 1, 33, 40)


def test_sides_are_made_to_fit() -> None:
    fit = Fit(8, 32)
    assert fit.padded(torch.zeros(1, 1, 33, 64)).shape == (1, 1, 40, 64)
    assert fit.padded(torch.zeros(1, 1, 20, 33)).shape == (1, 1, 32, 64)
    assert fit.padded(torch.zeros(1, 1, 32, 48)).shape == (1, 1, 32, 48)


@every_network
def test_weights_of_the_network_are_taken_up_late(name: str, tmp_path: Path) -> None:
    source, file = built(name, seed=1), tmp_path / "network.safetensors"
    safetensors.torch.save_file(dict(source.network.state_dict()), file)
    model = built(f"{name}(weights={file})")
    assert isinstance(model, Pretrained)
    assert built(name).pretrain() == frozenset()
    names = model.pretrain()
    assert names == {key for key in model.state_dict() if key.startswith("network.")}
    for key, value in source.network.state_dict().items():
        assert torch.equal(model.network.state_dict()[key], value)


def test_weights_of_an_earlier_run_are_taken_up_whole(tmp_path: Path) -> None:
    source, file = built("dncnn", seed=1), tmp_path / "imputer.pth"
    torch.save(source.state_dict(), file)
    model = built(f"dncnn(weights={file})")
    assert isinstance(model, Pretrained)
    assert model.pretrain() == set(model.state_dict())
    assert all(torch.equal(model.state_dict()[k], v) for k, v in source.state_dict().items())


@pytest.mark.parametrize(
    ("spec", "change", "reason"),
    [
        (
            "dncnn",
            {"stray": torch.zeros(1)},
            "another network: 1 unknown to it; expected are the 26 arrays of an imputer of the "
            "same spec and number of channels, or the 20 of its network alone",
        ),
        ("dncnn", {"out_conv.bias": torch.zeros(2)}, r"must be \(1,\), and is \(2,\)"),
        ("dncnn", {"out_conv.bias": torch.full((1,), torch.nan)}, "not finite"),
        (
            "dncnn(size=published)",
            {},
            r"20 missing, the first is network\.conv_list\.8\.weight \(64, 64, 3, 3\)",
        ),
    ],
)
def test_other_weights_are_refused(
    spec: str, change: dict[str, Tensor], reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret-name.pth"
    torch.save(dict(built("dncnn").network.state_dict()) | change, file)
    inside = "size=published, " if "published" in spec else ""
    model = built(f"dncnn({inside}weights={file})")
    assert isinstance(model, Pretrained)
    with pytest.raises(DataError, match=reason) as caught:
        model.pretrain()
    assert "secret-name" not in str(caught.value)
    assert "secret-name" in caught.value.full()


def test_building_needs_no_file(tmp_path: Path) -> None:
    model = built(f"dncnn(weights={tmp_path}/none.pth)")
    assert isinstance(model, Pretrained)
    with pytest.raises(DataError, match="cannot be read"):
        model.pretrain()


@every_network
def test_without_deepinv_the_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepinv.models", None)
    with pytest.raises(SpecError, match=re.escape("pip install 'fedmend[deepinv]'")):
        DENOISERS.build(name, 1)


def test_deepinv_is_imported_only_to_build_one() -> None:
    code = (
        "import sys; from fedmend.plugins import DENOISERS; DENOISERS.names(); "
        "sys.exit('deepinv' in sys.modules or 'torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_redcnn_has_the_papers_shape() -> None:
    """Ten layers of 5 x 5 with 96 channels; sides shrink by 4 a layer and grow back."""
    network = ResidualEncoderDecoder(1, 96)
    count = sum(each.numel() for each in network.parameters())
    assert count == 8 * (25 * 96 * 96 + 96) + (25 * 96 + 96) + (25 * 96 + 1)
    sides: list[int] = []
    for layer in (*network.encode, *network.decode):
        layer.register_forward_hook(lambda _layer, _given, answer: sides.append(answer.shape[-1]))
    image = torch.rand(1, 1, 32, 32)
    assert network(image).shape == image.shape
    assert sides == [28, 24, 20, 16, 12, 16, 20, 24, 28, 32]


def test_redcnn_adds_the_image_to_what_it_learns() -> None:
    model = built("redcnn")
    last = model.get_submodule("network.decode.4")
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.zero_()
    image = pictures()[:1]
    assert torch.equal(model(image).image, image)

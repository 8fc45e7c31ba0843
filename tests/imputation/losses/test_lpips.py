from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from fedmend import weights
from fedmend.errors import SpecError, UserError
from fedmend.plugins import LOSSES
from fedmend.settings import Settings
from imputation.losses.base import Loss
from tests.federation import run, tiny
from tests.imputation.losses.perceptual import reference, weights_file


@pytest.fixture(scope="module")
def squeeze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights_file(tmp_path_factory.mktemp("weights"), "squeeze")


def built(path: Path, more: str = "net=squeeze") -> Loss:
    loss: Loss = LOSSES.build(f"lpips(weights='{path}', {more})")
    return loss


def pair(channels: int = 3, side: int = 64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    one, other = torch.rand(2, 3, channels, side, side, generator=generator)
    return one, other


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_agrees_with_the_reference(net: str, tmp_path: Path) -> None:
    loss, other = built(weights_file(tmp_path, net), f"net={net}"), reference(net)
    restored, target = pair()
    with torch.inference_mode():
        expected = other(restored, target, normalize=True).flatten()
        torch.testing.assert_close(loss(restored, target), expected, rtol=1e-4, atol=1e-6)


def test_grey_is_three_equal_colours(squeeze: Path) -> None:
    restored, target = pair(channels=1)
    loss = built(squeeze)
    colours = loss(restored.expand(-1, 3, -1, -1), target.expand(-1, 3, -1, -1))
    torch.testing.assert_close(loss(restored, target), colours)


def test_absolute_and_squared_errors_are_added_by_weight(squeeze: Path) -> None:
    restored, target = pair(channels=1)
    error = restored - target
    expected = (
        built(squeeze)(restored, target)
        + 0.5 * error.abs().mean((1, 2, 3))
        + 0.25 * error.square().mean((1, 2, 3))
    )
    spec = f"lpips(weights='{squeeze}', net=squeeze)+l1(weight=0.5)+l2(weight=0.25)"
    torch.testing.assert_close(LOSSES.build(spec)(restored, target), expected)


def test_torchvisions_own_names_will_do(squeeze: Path, tmp_path: Path) -> None:
    """A network of torchvision's and the authors' heads, put into one file."""
    renamed = {}
    for key, value in safetensors.torch.load_file(squeeze).items():
        name = key.removeprefix("net.slices.").partition(".")[2]
        renamed[f"features.{name}" if key.startswith("net.") else key] = value
    renamed["classifier.1.weight"] = torch.ones(3)
    safetensors.torch.save_file(renamed, tmp_path / "w.safetensors")
    restored, target = pair()
    assert torch.equal(
        built(tmp_path / "w.safetensors")(restored, target), built(squeeze)(restored, target)
    )


def test_the_file_is_read_once_until_it_changes(
    squeeze: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.safetensors"
    path.write_bytes(squeeze.read_bytes())
    reads: list[Path] = []
    read = weights.read

    def counted(path: Path) -> dict[str, Tensor]:
        reads.append(path)
        return read(path)

    monkeypatch.setattr(weights, "read", counted)
    for _ in range(3):
        built(path)
    built(path, "net=squeeze, weight=2")
    assert len(reads) == 1
    os.utime(path, ns=(1, 1))
    built(path)
    assert len(reads) == 2


def broken(folder: Path, source: Path, case: str) -> Path:
    path = folder / f"{case}.safetensors"
    arrays = safetensors.torch.load_file(source)
    head = next(key for key in arrays if key.startswith("lin"))
    feature = next(key for key in arrays if key.startswith("net"))
    if case == "text":
        path.write_text("no weights")
    elif case != "gone":
        if case == "headless":
            del arrays[head]
        elif case == "negative":
            arrays[head] = -arrays[head]
        elif case == "featureless":
            del arrays[feature]
        safetensors.torch.save_file(arrays, path)
    return path


@pytest.mark.parametrize("case", ["gone", "text", "headless", "negative", "featureless", "alex"])
def test_whatever_is_wrong_with_the_file_leaves_in_one_sentence(
    case: str, squeeze: Path, tmp_path: Path
) -> None:
    path = squeeze if case == "alex" else broken(tmp_path, squeeze, case)
    net = "alex" if case == "alex" else "squeeze"
    with pytest.raises(SpecError) as caught:
        built(path, f"net={net}")
    assert str(caught.value) == (
        f"loss 'lpips': its weights cannot be used; every site needs LPIPS's weights for {net} "
        "at the path given"
    )
    assert str(path) in caught.value.local


def test_a_file_that_is_not_there_is_found_out_before_the_first_message() -> None:
    with pytest.raises(UserError, match=r"imputation\.loss: loss 'lpips': its weights"):
        Settings.parse({"imputation.loss": "lpips(weights=/nowhere/alex.safetensors)"})


def test_a_federation_trains_with_it(squeeze: Path, tmp_path: Path) -> None:
    loss = f"lpips(net=squeeze, weights='{squeeze}')+l1(weight=0.5)+l2(weight=0.5)"
    settings = tiny(
        tmp_path, imputation__loss=loss, imputation__rounds=1, arms="imputed",
        classification__rounds=0,
    )  # fmt: skip
    folder, summary = run(settings)
    assert summary["status"] == "complete"
    texts = [each.read_bytes() for each in folder.rglob("*") if each.is_file()]
    assert not any(str(squeeze).encode() in text for text in texts)


def test_torchvision_is_imported_only_to_build_one() -> None:
    code = (
        "import sys; from fedmend.plugins import LOSSES; LOSSES.names(); "
        "sys.exit('torchvision' in sys.modules or 'torchmetrics' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Every denoiser starts from an imputer of an earlier run, or says what it expected."""

import re
from pathlib import Path

import pytest
import safetensors.torch
import torch

from fedmend import training
from fedmend.errors import DataError, SpecError
from fedmend.phase import load
from fedmend.plugins import DENOISERS
from fedmend.settings import Settings
from fedmend.weights import Pretrained
from fedmend.wire import Task
from imputation.denoisers.base import Denoiser
from tests.imputers import imputer

OWN = {
    "autoencoder": "width=8",
    "redcnn": "width=8",
    "unet": "first=8, width=8",
    "wavepaint": "size=tiny",
}
every_own = pytest.mark.parametrize("name", sorted(OWN))


def built(spec: str, channels: int = 1, seed: int = 0) -> Denoiser:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Denoiser = DENOISERS.build(spec, channels)
    return model


def saved(model: Denoiser, file: Path) -> Path:
    safetensors.torch.save_file(model.state_dict(), file)
    return file


@pytest.mark.parametrize("name", DENOISERS.names())
def test_any_denoiser_may_start_from_a_file_that_is_opened_late(name: str, tmp_path: Path) -> None:
    file = tmp_path / "secret-name.safetensors"
    model = built(f"{name}(weights={file})")
    assert isinstance(model, Pretrained)
    with pytest.raises(DataError, match=f"{name}: the weights cannot be read") as caught:
        model.pretrain()
    assert "secret-name" not in str(caught.value)
    assert "secret-name" in caught.value.full()
    source = built(name, seed=1)
    saved(source, file)
    assert model.pretrain() == set(model.state_dict())
    assert all(torch.equal(model.state_dict()[k], v) for k, v in source.state_dict().items())
    assert built(name).pretrain() == frozenset()


@every_own
def test_it_starts_by_chance_as_it_would_without_a_file(name: str, tmp_path: Path) -> None:
    """Sites build the model and have no file; the draws must be the same."""
    plain, late = built(name), built(f"{name}(weights={tmp_path}/none.safetensors)")
    assert all(
        torch.equal(one, other)
        for one, other in zip(plain.parameters(), late.parameters(), strict=True)
    )


@every_own
@pytest.mark.parametrize("case", ["parameters", "channels", "whole numbers", "not finite", "stray"])
def test_a_file_that_does_not_fit_says_what_was_expected(
    name: str, case: str, tmp_path: Path
) -> None:
    model = built(f"{name}({OWN[name]}, weights={tmp_path}/w.safetensors)")
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    arrays = dict(built(f"{name}({OWN[name]})", seed=1).state_dict())
    first = next(iter(arrays))
    if case == "parameters":
        other = "wavepaint(size=small)" if name == "wavepaint" else f"{name}(width=16)"
        arrays = dict(built(other).state_dict())
    elif case == "channels":
        arrays = dict(built(f"{name}({OWN[name]})", channels=3).state_dict())
    elif case == "whole numbers":
        arrays[first] = arrays[first].int()
    elif case == "not finite":
        arrays[first] = torch.full_like(arrays[first], torch.nan)
    else:
        arrays["patient-name"] = torch.zeros(1)
    safetensors.torch.save_file(arrays, tmp_path / "w.safetensors")
    with pytest.raises(DataError) as caught:
        model.pretrain()
    said = str(caught.value)
    assert f"expected are the {len(kept)} arrays of an imputer of the same spec" in said
    wanted = {
        "parameters": r"must be \(.*\), and is \(|8 missing, the first is chain.0.blocks.2.weig",
        "channels": r"must be \(.*\), and is \(",
        "whole numbers": f"{first} must be of torch.float32, and is of torch.int32",
        "not finite": f"the weights are not finite: {first}",
        "stray": "1 unknown to it",
    }[case]
    assert re.search(wanted, said), said
    assert "patient-name" not in said
    # Nothing was taken up.
    assert all(torch.equal(kept[key], value) for key, value in model.state_dict().items())


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("sprung",)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_nothing_in_a_file_is_unpickled(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"trap.{suffix}"
    torch.save({"first.weight": Trap()}, file)
    model = built(f"unet(weights={file})")
    with pytest.raises(DataError, match=r"neither a \.safetensors file nor a state dict"):
        model.pretrain()
    assert capsys.readouterr().out == ""


def test_a_run_starts_from_the_imputer_of_an_earlier_one(tmp_path: Path) -> None:
    earlier, file = imputer(seed=7), tmp_path / "imputer.safetensors"
    earlier.write(file)
    spec = earlier.spec.removesuffix(")") + f", weights={file})"
    settings = Settings.parse({"imputation.model": spec})
    task = Task("imputation", "", "", 1, 1, 0, ())
    started = training.initial(load("imputation"), settings, task).state_dict()
    assert all(torch.equal(started[key], value) for key, value in earlier.arrays.items())
    assert str(tmp_path) not in repr(settings.public())


def test_a_file_that_does_not_fit_ends_the_run_before_the_first_message(tmp_path: Path) -> None:
    file = saved(built("unet(width=8)"), tmp_path / "w.safetensors")
    with pytest.raises(DataError, match=r"imputation\.model: unet: the arrays are of another netw"):
        Settings.parse({"imputation.model": f"unet(width=16, weights={file})"})
    with pytest.raises(SpecError, match="weights must be an absolute path"):
        Settings.parse({"imputation.model": "unet(weights=w.safetensors)"})

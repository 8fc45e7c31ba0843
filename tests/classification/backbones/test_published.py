from __future__ import annotations

import json
import pickle
import re
import traceback
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
import torchvision.models
from torch import Tensor, nn

from classification.backbones import zoo
from fedmend import weights
from fedmend.errors import DataError, SettingsError, UserError
from fedmend.plugins import BACKBONES
from fedmend.settings import Settings
from fedmend.weights import Pretrained
from tests.federation import TINY, run, tiny

SMALL = "mobilenet_v3_small"

State = dict[str, Tensor]


def published(name: str, classes: int = 1000) -> State:
    """Return a state dict as torchvision's of this name, with weights of chance."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = getattr(torchvision.models, name)(weights=None, num_classes=classes)
        for key, each in network.state_dict().items():
            if each.is_floating_point():
                each.uniform_(0.5 if "norm" in key or "bn" in key else -0.1, 1)
    state: State = network.state_dict()
    return state


def file(folder: Path, state: Any, name: str = "weights.pth") -> Path:
    if name.endswith(".safetensors"):
        safetensors.torch.save_file(state, folder / name)
    else:
        torch.save(state, folder / name)
    return folder / name


def started(
    path: Path, name: str = SMALL, channels: int = 3, classes: int = 3
) -> tuple[nn.Module, frozenset[str]]:
    """Return a model after its start, and the names of what the file has set."""
    model = BACKBONES.build(f"{name}(weights='{path}')", channels, classes)
    assert isinstance(model, nn.Module)
    assert isinstance(model, Pretrained)
    return model, model.pretrain()


def refused(path: Path, name: str = SMALL, channels: int = 3) -> DataError:
    with pytest.raises(DataError) as caught:
        started(path, name, channels)
    assert str(path.parent) not in str(caught.value)
    assert str(path) in caught.value.local
    return caught.value


@pytest.mark.parametrize("name", sorted(zoo.KINDS))
def test_every_network_takes_up_its_published_weights(name: str, tmp_path: Path) -> None:
    found = published(name)
    model, loaded = started(file(tmp_path, found), name, channels=1)
    own, kind = model.state_dict(), zoo.KINDS[name]
    head = {f"1.{kind.head}.weight", f"1.{kind.head}.bias"}
    assert set(own) - loaded == head
    for key in loaded - {f"1.{kind.stem}.weight"}:
        assert torch.equal(own[key], found[key.removeprefix("1.")]), key
    stem = found[f"{kind.stem}.weight"].sum(1, keepdim=True)
    assert torch.equal(own[f"1.{kind.stem}.weight"], stem)


def test_a_head_that_fits_is_taken_and_another_left_fresh(tmp_path: Path) -> None:
    found = published(SMALL, classes=3)
    path = file(tmp_path, found)
    model, loaded = started(path)
    assert loaded == set(model.state_dict())
    assert torch.equal(model.state_dict()["1.classifier.3.bias"], found["classifier.3.bias"])
    _, loaded = started(path, classes=4)
    assert {"1.classifier.3.weight", "1.classifier.3.bias"}.isdisjoint(loaded)
    headless = {key: each for key, each in found.items() if not key.startswith("classifier.3")}
    assert started(file(tmp_path, headless))[1] == loaded


def test_grey_images_pass_as_three_equal_colours(tmp_path: Path) -> None:
    path = file(tmp_path, published(SMALL, classes=3))
    grey, colour = started(path, channels=1)[0].eval(), started(path, channels=3)[0].eval()
    image = torch.rand(2, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(
            grey(image), colour(image.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-3
        )


def test_both_formats_give_the_same(tmp_path: Path) -> None:
    found = published(SMALL)
    first = started(file(tmp_path, found), classes=1000)[0].state_dict()
    second = started(file(tmp_path, found, "w.safetensors"), classes=1000)[0].state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_first_densenet_files_names_are_understood(tmp_path: Path) -> None:
    found = published("densenet121")
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", key): value
        for key, value in found.items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    model, loaded = started(file(tmp_path, old), "densenet121", classes=1000)
    assert loaded == set(model.state_dict())


def test_a_run_may_start_from_an_earlier_runs_classifier(tmp_path: Path) -> None:
    earlier = BACKBONES.build(SMALL, 1, 3).state_dict()
    model, loaded = started(file(tmp_path, earlier, "classifier-raw.safetensors"), channels=1)
    assert loaded == set(earlier)
    assert all(torch.equal(model.state_dict()[key], earlier[key]) for key in earlier)


def test_a_file_that_does_not_fit_says_what_is_expected(tmp_path: Path) -> None:
    found = published(SMALL)
    said = str(refused(file(tmp_path, found), "resnet18"))
    assert "resnet18: the weights are of another network: 60 of 60 arrays are missing" in said
    assert "conv1.weight must be (64, 3, 7, 7), and is not there" in said
    assert said.endswith("a state dict of torchvision's resnet18 is expected")
    extra = found | {"features.99.weight": torch.zeros(1)}
    assert "have no place in it, the first is features.99" in str(refused(file(tmp_path, extra)))
    key = "features.0.0.weight"
    wide = found | {key: torch.zeros(16, 4, 3, 3)}
    assert f"{key} must be (16, 3, 3, 3), and is (16, 4, 3, 3)" in str(
        refused(file(tmp_path, wide))
    )
    broken = found | {key: torch.full((16, 3, 3, 3), torch.nan)}
    assert f"not finite: {key}" in str(refused(file(tmp_path, broken)))


class Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("unpickled!",)


def test_nothing_is_unpickled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bomb = tmp_path / "bomb.pth"
    bomb.write_bytes(pickle.dumps({"weight": Bomb()}, protocol=2))
    wrapped = file(tmp_path, {"weight": Bomb()}, "wrapped.pth")
    for path in (bomb, wrapped):
        assert "neither a .safetensors file nor a state dict" in str(refused(path))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "name", ["text.pth", "text.safetensors", "list.pth", "nested.pth", "e.pth"]
)
def test_other_files_are_refused(tmp_path: Path, name: str) -> None:
    if name.startswith("text"):
        (tmp_path / name).write_text("no weights")
    else:
        torch.save({"l": [1], "n": {"state_dict": {"a": torch.ones(1)}}, "e": {}}[name[0]],
                   tmp_path / name)  # fmt: skip
    assert "neither a .safetensors file nor a state dict" in str(refused(tmp_path / name))


@pytest.mark.parametrize("name", ["gone.pth", "gone.safetensors"])
def test_a_file_that_is_not_there_is_named_only_locally(tmp_path: Path, name: str) -> None:
    assert "the weights cannot be read: no such file" in str(refused(tmp_path / name))


def test_weights_are_looked_at_before_the_first_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"classification\.model: .* no such file"):
        Settings.parse({"classification.model": f"{SMALL}(weights={tmp_path}/gone.pth)"})


def test_an_arm_that_would_start_without_them_is_refused(tmp_path: Path) -> None:
    model = f"{SMALL}(weights='{file(tmp_path, published(SMALL))}')"
    with pytest.raises(SettingsError, match="arm 'local' would start without the pretrained"):
        Settings.parse(TINY | {"classification.model": model, "arms": "raw,local"})


def test_the_coordinator_opens_the_file_and_the_sites_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = published(SMALL)
    path = file(tmp_path, found)
    openers: list[set[str]] = []
    read = weights.read

    def noted(path: Path) -> State:
        openers.append({Path(frame.filename).parent.name for frame in traceback.extract_stack()})
        return read(path)

    monkeypatch.setattr(weights, "read", noted)
    settings = tiny(
        tmp_path, arms="raw", classification__model=f"{SMALL}(weights='{path}')",
        classification__rounds=0,
    )  # fmt: skip
    folder, summary = run(settings)
    assert summary["status"] == "complete"
    assert len(openers) == 2  # as the settings are read, and as the arm begins
    assert all("client_app" not in opener for opener in openers)
    assert "server_app" in openers[1]
    kept = safetensors.torch.load_file(folder / "classifier-raw.safetensors")
    assert torch.equal(kept["1.features.1.block.0.0.weight"], found["features.1.block.0.0.weight"])
    with safetensors.safe_open(folder / "classifier-raw.safetensors", framework="pt") as opened:
        about = opened.metadata()
    assert f"{SMALL}()" in json.dumps(about)
    texts = [each.read_bytes() for each in folder.rglob("*") if each.is_file()]
    assert not any(str(tmp_path).encode() in text for text in texts)
    assert "weights=…" in json.dumps(json.loads((folder / "settings.json").read_text()),
                                     ensure_ascii=False)  # fmt: skip

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from fedmend import models, plugins
from fedmend.errors import DataError, SpecError
from fedmend.models import Kind, ModelFile
from fedmend.settings import Settings


def made(kind: Kind = "imputer", spec: str = "") -> tuple[ModelFile, nn.Module]:
    settings = Settings.parse({})
    spec = spec or ("autoencoder()" if kind == "imputer" else "small_cnn()")
    model: nn.Module = (
        plugins.DENOISERS.build(spec, 1)
        if kind == "imputer"
        else plugins.BACKBONES.build(spec, 1, 2)
    )
    file = ModelFile(
        kind=kind,
        spec=spec,
        channels=1,
        image_size=64,
        classes=("no", "yes"),
        arm="" if kind == "imputer" else "imputed",
        settings=settings,
        arrays=model.state_dict(),
    )
    return file, model


@pytest.mark.parametrize("kind", ["imputer", "classifier"])
def test_a_file_builds_the_model_it_was_written_from(tmp_path: Path, kind: Kind) -> None:
    file, model = made(kind)
    file.write(tmp_path / "m.safetensors")
    again = models.read(tmp_path / "m.safetensors", kind)
    assert again.digest == file.digest
    assert (again.arm, again.classes, again.image_size) == (file.arm, file.classes, 64)
    assert again.settings.detector == file.settings.detector
    before = torch.get_rng_state()
    built = again.build()
    assert torch.equal(before, torch.get_rng_state())
    assert not built.training
    for name, value in model.state_dict().items():
        assert torch.equal(built.state_dict()[name], value)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_the_other_kind_is_refused_by_name(tmp_path: Path) -> None:
    made("classifier")[0].write(tmp_path / "m.safetensors")
    with pytest.raises(DataError, match="expected an imputer file, got one that holds 'classif"):
        models.read(tmp_path / "m.safetensors", "imputer")


def test_files_that_are_none_of_ours_are_refused_without_their_path(tmp_path: Path) -> None:
    pickled, bare, foreign = (
        tmp_path / "p.pt",
        tmp_path / "b.safetensors",
        tmp_path / "f.safetensors",
    )
    torch.save({"a": torch.zeros(1)}, pickled)
    safetensors.torch.save_file({"a": torch.zeros(1)}, bare)
    about = {"fedmend": json.dumps({"kind": "imputer", "version": "9"})}
    safetensors.torch.save_file({"a": torch.zeros(1)}, foreign, metadata=about)
    for path in (pickled, bare, foreign, tmp_path / "absent", tmp_path):
        with pytest.raises(DataError) as caught:
            models.read(path, "imputer")
        assert str(path) not in str(caught.value)
        assert str(path) in caught.value.local


def test_arrays_that_do_not_fit_are_told_by_name_and_shape(tmp_path: Path) -> None:
    file, model = made()
    name = next(iter(model.state_dict()))
    arrays = {**file.arrays, name: torch.zeros(3)}
    ModelFile(**{**file.__dict__, "arrays": arrays}).write(tmp_path / "m.safetensors")
    with pytest.raises(DataError, match=rf"{name} should be \(.*\), is \(3,\)"):
        models.read(tmp_path / "m.safetensors", "imputer").build()
    missing = {key: value for key, value in file.arrays.items() if key != name}
    with pytest.raises(DataError, match=f"{name} should be .*, is absent"):
        ModelFile(**{**file.__dict__, "arrays": missing}).build()


def test_a_model_of_another_version_is_refused_by_its_spec(tmp_path: Path) -> None:
    file = ModelFile(**{**made()[0].__dict__, "spec": "dreamer(depth=3)"})
    file.write(tmp_path / "m.safetensors")
    with pytest.raises(SpecError, match="dreamer"):
        models.read(tmp_path / "m.safetensors", "imputer").build()


@pytest.mark.parametrize("kind", ["imputer", "classifier"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, kind: Kind, value: float) -> None:
    file, model = made(kind)
    name = next(iter(model.state_dict()))
    broken = file.arrays[name].clone()
    broken.view(-1)[-1] = value
    dataclasses.replace(file, arrays={**file.arrays, name: broken}).write(tmp_path / "m")
    with pytest.raises(DataError, match=f"the {kind} file has weights that are not finite") as told:
        models.read(tmp_path / "m", kind)
    assert name in told.value.local
    assert name not in str(told.value)


def test_weights_that_the_model_cannot_hold_are_refused_too(tmp_path: Path) -> None:
    file, model = made()
    name = next(iter(model.state_dict()))
    wide = torch.full_like(file.arrays[name], 1e300, dtype=torch.float64)
    dataclasses.replace(file, arrays={**file.arrays, name: wide}).write(tmp_path / "m")
    with pytest.raises(DataError, match="weights that are not finite"):
        models.read(tmp_path / "m", "imputer").build()


@pytest.mark.parametrize("kind", ["imputer", "classifier"])
@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 8}, {"image_size": 0}, {"image_size": -4}, {"image_size": 10**9},
        {"channels": 7}, {"channels": 3},
    ],
)  # fmt: skip
def test_a_file_that_contradicts_its_own_settings_is_refused(
    tmp_path: Path, kind: Kind, change: dict[str, Any]
) -> None:
    dataclasses.replace(made(kind)[0], **change).write(tmp_path / "m")
    with pytest.raises(DataError, match=f"the {kind} file contradicts itself"):
        models.read(tmp_path / "m", kind)


@pytest.mark.parametrize("classes", [(), ("ill",), ("ill", "ill")])
def test_a_classifier_names_two_classes_or_more(tmp_path: Path, classes: tuple[str, ...]) -> None:
    dataclasses.replace(made("classifier")[0], classes=classes).write(tmp_path / "m")
    with pytest.raises(DataError, match="does not name two classes"):
        models.read(tmp_path / "m", "classifier")


def hostile(path: Path, text: str) -> Path:
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, metadata={"fedmend": text})
    return path


@pytest.mark.parametrize("kind", ["imputer", "classifier"])
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"kind": KIND, "settings": ' + "[" * 100_000,
        '{"kind": ' + "[" * 900 + "]" * 900 + "}",
        "[]", "NaN", '{"kind": 7}', '{"kind": ["imputer"]}',
    ],
    ids=["deep", "deep settings", "deep kind", "list", "number", "numbered", "listed"],
)  # fmt: skip
def test_metadata_that_make_no_sense_are_one_sentence(
    tmp_path: Path, kind: Kind, text: str
) -> None:
    path = hostile(tmp_path / "m", text.replace("KIND", json.dumps(kind)))
    with pytest.raises(DataError, match=f"this is no {kind} file of fedmend's"):
        models.read(path, kind)


_DEEP: list[Any] = []
for _ in range(300):
    _DEEP = [_DEEP]


@pytest.mark.parametrize(
    "change",
    [
        {"settings": []}, {"settings": "x"}, {"settings": None}, {"settings": _DEEP},
        {"settings": {"image-size": _DEEP}}, {"settings": {"magic": 1}},
        {"image-size": float("inf")}, {"image-size": None}, {"image-size": []}, {"channels": {}},
        {"classes": 3}, {"routes": 3},
    ],
    ids=str,
)  # fmt: skip
def test_entries_that_make_no_sense_are_one_sentence(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    sound = {
        "kind": "imputer", "version": "9", "model": "autoencoder()", "channels": 1,
        "image-size": 64, "classes": [], "settings": {},
    }  # fmt: skip
    text = json.dumps(sound)
    assert models.read(hostile(tmp_path / "sound", text), "imputer").spec == "autoencoder()"
    path = hostile(tmp_path / "m", json.dumps({**sound, **change}))
    with pytest.raises(DataError, match="this is no imputer file of fedmend's"):
        models.read(path, "imputer")


@pytest.mark.parametrize("width", [10**7, 10**9, 10**19])
def test_a_model_that_no_memory_holds_is_told(tmp_path: Path, width: int) -> None:
    dataclasses.replace(made()[0], spec=f"autoencoder(width={width})").write(tmp_path / "m")
    with pytest.raises(DataError, match=r"cannot be built on this machine: .* too large"):
        models.read(tmp_path / "m", "imputer").build()

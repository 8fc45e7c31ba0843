from __future__ import annotations

import json
from pathlib import Path

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

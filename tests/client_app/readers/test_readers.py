"""What every reader keeps to, tested the day it is registered."""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fedmend.errors import SpecError
from fedmend.plugins import READERS
from fedmend.records import SPLITS, Reader
from tests import dicom_files


@pytest.fixture(params=READERS.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _folder(place: Path) -> Path:
    for number in range(6):
        file = place / f"class-{number % 2}" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.new("L", (20, 17), 10 * number).save(file)
    return place


def _medmnist(place: Path) -> Path:
    rng = np.random.default_rng(0)
    splits = {"train": 6, "val": 2, "test": 3}
    images = {f"{k}_images": rng.integers(0, 256, (n, 28, 28), np.uint8) for k, n in splits.items()}
    labels = {f"{k}_labels": rng.integers(0, 2, (n, 1), np.uint8) for k, n in splits.items()}
    np.savez_compressed(place / "data.npz", allow_pickle=False, **images, **labels)
    return place / "data.npz"


def _dicom(place: Path) -> Path:
    for number in range(4):
        dicom_files.write(place / f"{number}", number)
    dicom_files.write(place / "frames", 4, shape=(3, 8, 6))
    return place


def _rsna(place: Path) -> Path:
    for number in range(4):
        dicom_files.write(place / "train_images" / "P" / f"{number}.dcm", number)
    rows = "".join(f"P,{number},{number % 2}\n" for number in range(4))
    (place / "train.csv").write_text(f"patient_id,image_id,cancer\n{rows}")
    return place


SOURCES: Mapping[str, Callable[[Path], Path]] = {
    "dicom": _dicom, "folder": _folder, "medmnist": _medmnist, "rsna": _rsna,
}  # fmt: skip
"""What a reader that reads files is given."""


@pytest.fixture
def reader(name: str, tmp_path: Path) -> Reader:
    """Return the reader with its defaults, over a source of its own kind."""
    if "path" not in READERS.parameters(name):
        return READERS.build(name)
    return READERS.build(f"{name}(path='{SOURCES[name](tmp_path)}')")


def test_an_unknown_parameter_is_refused_by_name(name: str) -> None:
    with pytest.raises(SpecError, match="no parameter 'nonsense'"):
        READERS.build(f"{name}(nonsense=1)")


def test_every_parameter_can_be_typed_and_only_paths_are_required(name: str) -> None:
    for key, parameter in READERS.parameters(name).items():
        required = parameter.default is inspect.Parameter.empty
        assert required == (parameter.annotation is Path), key


def test_the_index_is_sorted_and_repeats(reader: Reader) -> None:
    first, again = reader.index(), reader.index()
    assert list(first.records) == list(again.records)
    assert list(first.rejected) == list(again.rejected)
    uids = [record.uid for record in first.records]
    assert uids
    assert uids == sorted(set(uids))
    assert reader.fingerprint() == reader.fingerprint()


def test_records_hold_hashes_known_splits_and_what_json_can_keep(reader: Reader) -> None:
    for record in reader.index().records:
        assert len(record.uid) == len(record.group) == 64
        int(record.uid, 16)
        int(record.group, 16)
        assert record.split in {"", *SPLITS}
        assert json.loads(json.dumps(record.facts)) == record.facts


def test_images_are_in_range_and_repeat_to_the_bit(reader: Reader) -> None:
    for record in reader.index().records[:5]:
        image = reader.load(record)
        assert image.dtype == torch.float32
        assert image.ndim == 3
        assert image.shape[0] in (1, 3)
        assert 0 <= float(image.min()) <= float(image.max()) <= 1
        assert torch.equal(image, reader.load(record))


def test_global_generators_are_untouched(reader: Reader) -> None:
    def drawn() -> list[Any]:
        legacy: Any = np.random.get_state()  # noqa: NPY002 - the one that nobody may touch
        return [torch.get_rng_state().tolist(), random.getstate(), legacy[1].tolist()]

    before = drawn()
    reader.load(reader.index().records[0])
    assert drawn() == before

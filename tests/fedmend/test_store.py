from __future__ import annotations

from pathlib import Path

import torch

from fedmend.store import SiteStore


def state(number: int) -> dict[str, torch.Tensor]:
    return {"kept:x": torch.tensor([float(number)])}


def test_the_last_two_rounds_are_kept(tmp_path: Path) -> None:
    store = SiteStore(tmp_path / "arm")
    for number in (1, 2, 3):
        store.write(number, state(number))
    assert store.read(4)["kept:x"].item() == 3
    assert store.read(3)["kept:x"].item() == 2
    assert store.read(2) == {}
    assert len(list((tmp_path / "arm").iterdir())) == 2


def test_a_round_done_again_forgets_the_future(tmp_path: Path) -> None:
    store = SiteStore(tmp_path / "arm")
    for number in (1, 2, 2):
        store.write(number, state(number))
    store.write(1, state(10))
    assert store.read(3)["kept:x"].item() == 10


def test_the_best_round_outlives_its_time(tmp_path: Path) -> None:
    store = SiteStore(tmp_path / "arm")
    for number in range(1, 6):
        store.write(number, state(number))
        store.promote(2)
    assert store.read_best(2)["kept:x"].item() == 2
    assert store.read_best(5)["kept:x"].item() == 5
    assert store.read_best(0) == {}


def test_nothing_is_written_for_an_algorithm_without_memory(tmp_path: Path) -> None:
    store = SiteStore(tmp_path / "arm")
    store.write(1, {})
    assert store.read(2) == {}
    assert not store.folder.exists()


def test_the_folder_is_the_owners_alone(tmp_path: Path) -> None:
    store = SiteStore(tmp_path / "arm")
    store.write(1, state(1))
    assert store.folder.stat().st_mode & 0o777 == 0o700

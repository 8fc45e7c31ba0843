from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from PIL import Image

from client_app import source
from client_app.app import app
from client_app.member import Member, own_settings
from client_app.workers import Workers, cores
from fedmend import wire
from fedmend.errors import SettingsError
from fedmend.settings import Settings

RUN = Settings.read({"device": "cpu", "threads": 2})


def test_a_site_that_says_nothing_takes_the_runs() -> None:
    assert own_settings({"data": "phantom()"}, RUN) == RUN


def test_a_sites_own_word_counts() -> None:
    own = own_settings({"device": "auto", "threads": 3}, RUN)
    assert (own.device, own.threads) == ("auto", 3)


@pytest.mark.parametrize(
    ("node", "wrong"),
    [
        ({"threads": 0}, "threads must be from 1 to 1024; got 0"),
        ({"threads": "4"}, "threads must be a whole number; got '4'"),
        ({"threads": True}, "threads must be a whole number; got True"),
        ({"threads": 2.0}, "threads must be a whole number; got 2.0"),
        ({"device": "gpu"}, "device must be auto, cpu, cuda, cuda:N or mps; got 'gpu'"),
        ({"device": "cuda:"}, "device must be auto, cpu, cuda, cuda:N or mps; got 'cuda:'"),
        ({"device": 0}, "device must be text in quotes; got 0"),
        ({"device": "cuda:99"}, "this site's machine has no device cuda:99"),
    ],
)
def test_what_cannot_be_is_refused(node: dict[str, object], wrong: str) -> None:
    with pytest.raises(SettingsError, match=wrong):
        own_settings(node, RUN)


@pytest.mark.parametrize(
    "node",
    [{"device": "cuda:99"}, {"threads": 0}, {"workers": -1}, {"workers": "2"}, {"least-images": 6}],
)
def test_the_coordinator_is_told(node: dict[str, str | int], tmp_path: Path) -> None:
    content = RecordDict({wire.CONFIG: ConfigRecord({"run": "r"})})
    message = Message(content, 7, MessageType.QUERY)
    own: dict[str, str | int | float | bool] = {
        "data": "phantom(count=8)",
        "cache-dir": str(tmp_path),
        **node,
    }
    reply = app(message, Context(1, 7, own, RecordDict(), {}))
    assert reply.has_error()
    assert next(iter(node)) in str(reply.error.reason)


def test_a_message_is_worked_on_with_the_sites_threads(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    wanted = 1 if before != 1 else 2
    content = RecordDict({wire.CONFIG: ConfigRecord({"run": "r"})})
    message = Message(content, 7, MessageType.QUERY)
    own: dict[str, str | int | float | bool] = {
        "data": "phantom(count=8, size=32)",
        "cache-dir": str(tmp_path),
        "threads": wanted,
    }
    try:
        reply = app(message, Context(1, 7, own, RecordDict(), {"image-size": 32}))
        assert not reply.has_error()
        assert torch.get_num_threads() == wanted
    finally:
        torch.set_num_threads(before)


def test_a_site_that_may_take_part_does(tmp_path: Path) -> None:
    """Of eight images it trains on five or six."""
    content = RecordDict({wire.CONFIG: ConfigRecord({"run": "r"})})
    message = Message(content, 7, MessageType.QUERY)
    own: dict[str, str | int | float | bool] = {
        "data": "phantom(count=8, size=32)", "cache-dir": str(tmp_path),
        "workers": 1, "least-images": 4,
    }  # fmt: skip
    assert not app(message, Context(1, 7, own, RecordDict(), {"image-size": 32})).has_error()


def test_a_site_decodes_with_as_many_processes_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Counted(Workers):
        def __init__(self, count: int) -> None:
            asked.append(count)
            super().__init__(1)

    monkeypatch.setattr(source, "Workers", Counted)
    for told, wanted in ((3, 3), (0, cores())):
        made = tmp_path / f"data-{told}"
        node = {
            "data": f"folder(path={_folder(made)})",
            "cache-dir": str(tmp_path),
            "workers": told,
        }
        Member.of(node, 7, RUN).site(RUN, ("a", "b")).rows()
        assert set(asked) == {wanted}
        asked.clear()


def _folder(folder: Path) -> Path:
    """Return a folder of tiny pictures."""
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for grey in range(4):
            image = np.full((32, 32), 20 * grey + 5 * ord(label) % 7, dtype=np.uint8)
            Image.fromarray(image).save(folder / label / f"{grey}.png")
    return folder

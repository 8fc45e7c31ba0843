"""A run that is killed, anywhere, and resumed ends with the weights of one that never was."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Message

from fedmend import plugins
from fedmend.errors import RunError
from fedmend.settings import Settings
from server_app.checkpoint import Checkpoint
from server_app.run_folder import RunFolder
from tests.federation import run, same, tiny, weights
from tests.grid import Fault

EVERYTHING = {"arms": "imputed,local"}  # whose sites have state of their own as well
SITES = 5  # as many as krum(malicious=1) needs


class KilledError(BaseException):
    """The process ends here: nothing catches it but the test."""


def settings(folder: Path, strategy: str, **changes: Any) -> Settings:
    """Return a run of which every round but the first stands on what the one before left."""
    own = {"data": "phantom(count=80, size=32)", "arms": "imputed"}
    return tiny(folder, strategy=strategy, **(own | changes))


def killed_at(reply: int) -> Fault:
    """Return a fault: the process ends as one site's n-th reply is on its way."""
    counted = itertools.count(1)

    def fault(message: Message, answer: Message) -> Message:
        if message.metadata.message_type != "query" and next(counted) == reply:
            raise KilledError
        return answer

    return fault


def check_same(one: Path, other: Path) -> None:
    """Compare two runs' models to the bit, and what they say of themselves."""
    summaries = [json.loads((each / "summary.json").read_text()) for each in (one, other)]
    for key in ("status", "sites", "images", "imputation", "arms"):
        assert summaries[0][key] == summaries[1][key]
    models = [sorted(path.stem for path in each.glob("*.safetensors")) for each in (one, other)]
    assert models[0] == models[1]
    assert models[0]
    for model in models[0]:
        assert same(weights(one, model), weights(other, model)), model


@pytest.mark.parametrize("strategy", plugins.STRATEGIES.names())
def test_every_strategy_goes_on_to_the_same_bits(tmp_path: Path, strategy: str) -> None:
    whole, _ = run(settings(tmp_path, strategy), SITES)
    broken = settings(tmp_path, strategy, run_name="broken")
    with pytest.raises(KilledError):
        run(broken, SITES, faults={1: killed_at(2)})  # in the second round
    again = settings(tmp_path, strategy, run_name="", resume="broken")
    with pytest.raises(KilledError):
        run(again, SITES, faults={3: killed_at(4)})  # and in that of the classifier
    resumed, _ = run(again, SITES)
    check_same(whole, resumed)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that nothing disturbed, its images in a cache beside it."""
    folder, _ = run(settings(tmp_path_factory.mktemp("whole"), "fedadam()", **EVERYTHING), 3)
    return folder


def renames(monkeypatch: pytest.MonkeyPatch, kill: int, *, after: bool) -> Iterator[int]:
    """Let the process end as the n-th file is renamed into place, just before or just after."""
    counted = itertools.count(1)

    def deadly(rename: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def renamed(source: Any, target: Any) -> None:
            number = next(counted)
            if number == kill and not after:
                raise KilledError
            rename(source, target)
            if number == kill:
                raise KilledError

        return renamed

    monkeypatch.setattr(os, "replace", deadly(os.replace))
    monkeypatch.setattr(os, "rename", deadly(os.rename))
    return counted


def test_a_kill_at_any_write_costs_nothing(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both apps are in this process, so what is cut short is the sites' writes as well."""
    with monkeypatch.context() as patch:
        counted = renames(patch, 0, after=False)
        run(settings(tmp_path / "counting", "fedadam()", **EVERYTHING), 3)
    total = next(counted) - 1
    assert total > 40
    for place in range(1, total + 1, total // 8):
        folder = tmp_path / str(place)
        with monkeypatch.context() as patch:
            renames(patch, place, after=bool(place % 2))
            with pytest.raises(KilledError):
                run(settings(folder, "fedadam()", **EVERYTHING), 3)
        begun = (folder / "runs" / "tiny" / "settings.json").is_file()
        named = {"run_name": "", "resume": "tiny"} if begun else {}
        resumed, _ = run(settings(folder, "fedadam()", **EVERYTHING, **named), 3)
        check_same(whole, resumed)


def test_a_simulation_is_not_resumed_with_another_number_of_sites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KilledError):
        run(settings(tmp_path, "fedavg()"), 3, faults={1: killed_at(3)})
    again = settings(tmp_path, "fedavg()", run_name="", resume="tiny")
    with monkeypatch.context() as patch:
        patch.setattr("server_app.federation.simulated", lambda: True)
        with pytest.raises(RunError, match=r"other sites \(site-0 had \d+ training images, has"):
            run(again, 2)
    # Hospitals may come and go.
    assert run(again, 2)[1]["status"] == "complete"


def test_a_half_written_line_spoils_no_other(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    line = {"phase": "p", "arm": "", "round": 1, "final": False}
    folder.note(line)
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line)[:9])
    folder.note(line | {"round": 2})
    assert [each["round"] for each in folder.lines()] == [1, 2]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data.replace(b"best_round", b"west_round"),  # as of another version
    ],
)
def test_a_checkpoint_that_cannot_be_read_is_said_so(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "classification-raw.safetensors"
    Checkpoint({"w": torch.zeros(2)}, {"w": torch.ones(2)}).save(path)
    assert Checkpoint.load(path).best["w"].tolist() == [1, 1]
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(RunError, match=r"classification-raw\.safetensors is damaged, or of"):
        Checkpoint.load(path)

"""Disks that fill, folders that change and sites that come in mid-run, all in this process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message

from client_app.app import app as client_app
from client_app.synth import tree
from client_app.synth.order import Order
from fedmend.errors import RunError
from fedmend.settings import Settings
from server_app.federation import federate
from tests.deploy.hospitals import READER, RUN
from tests.deploy.simulation import unlike
from tests.federation import grid, tiny
from tests.grid import LocalGrid

MODELS = ("imputer", "classifier-imputed")
OURS: dict[str, Any] = {**RUN, "deadline": 0.2, "join-deadline": 0.2, "run-name": "run"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return the mount point of a file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free; return the file that takes them."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


class RealSites(LocalGrid):
    """Sites with folders of their own, one of which something happens to before a message.

    Args:
        settings: of the run.
        folder: of the sites' folders and caches.
        number: of the first message of the struck site before which it happens, from 0.
        strike: what happens.
        caches: folder of each site's cache, where it is not the usual one.
    """

    def __init__(
        self, settings: Settings, folder: Path, number: int = 0,
        strike: Callable[[], object] | None = None, caches: Mapping[str, Path] | None = None,
    ) -> None:  # fmt: skip
        nodes: dict[int, dict[str, Any]] = {}
        for place in range(3):
            name = f"site-{place}"
            cache = (caches or {}).get(name, folder / "caches" / name)
            data = READER.format(path=folder / "data" / name)
            nodes[place + 5] = {"name": name, "data": data, "cache-dir": str(cache)}
        super().__init__(client_app, settings.flat(), nodes)
        self._left = number
        self._strike = strike

    def _answered(self, message: Message) -> str:
        if message.metadata.dst_node_id == 6 and self._strike:
            if self._left == 0:
                strike, self._strike = self._strike, None
                strike()
            self._left -= 1
        return super()._answered(message)


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    """Return a folder with the data of three sites."""
    order = Order(sites=3, images=24, size=40, noise="gaussian(std=0.3)")
    tree.write(order, tmp_path / "data", lambda: None)
    return tmp_path


def settings_in(folder: Path, **changes: Any) -> Settings:
    return Settings.parse({**OURS, "run-dir": str(folder / "runs"), **changes})


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("change", "number"), [("gone", 1), ("gone", 4), ("fewer", 1), ("other labels", 4)]
)
def test_data_that_change_in_mid_run_do_not_touch_it(
    change: str, number: int, sites: Path, tmp_path: Path
) -> None:
    usual = settings_in(tmp_path / "usual")
    before = federate(RealSites(usual, sites), usual, "1").path
    shutil.rmtree(sites / "caches")
    own = sites / "data" / "site-1"

    def strike() -> None:
        if change == "gone":
            shutil.rmtree(own)
        elif change == "fewer":
            for path in sorted(each for each in own.rglob("IM*") if each.is_file())[::2]:
                path.unlink()
        else:
            table = (own / "labels.csv").read_text().splitlines()
            (own / "labels.csv").write_text("\n".join(table[:6]) + "\n")

    settings = settings_in(tmp_path)
    after = federate(RealSites(settings, sites, number, strike), settings, "1").path
    assert [line["left_out"] for line in lines(after)] == [{}] * 6
    assert unlike(before, after, MODELS) == []


def test_a_site_whose_disk_fills_is_left_out_and_named(
    sites: Path, tmp_path: Path, small_disk: Path
) -> None:
    cache = {"site-1": small_disk / "cache"}
    cache["site-1"].mkdir()
    settings = settings_in(tmp_path)
    sites_ = RealSites(settings, sites, 0, lambda: fill(small_disk), cache)
    run = federate(sites_, settings, "1").path
    summary = json.loads((run / "summary.json").read_text())
    assert summary["sites"]["used"] == 2
    (reason,) = summary["sites"]["refused"].values()
    assert "disk" in reason
    assert str(tmp_path) not in reason


def test_a_coordinator_whose_disk_fills_stops_and_goes_on_to_the_same(
    tmp_path: Path, small_disk: Path
) -> None:
    usual = tiny(tmp_path / "usual", arms="imputed")
    whole = federate(grid(usual), usual, "1").path
    settings = tiny(tmp_path, arms="imputed", run_dir=str(small_disk / "runs"))
    net = grid(settings)
    struck: list[Path] = []

    def strike(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "train" and not struck:
            struck.append(fill(small_disk))
        return reply

    net.faults[900] = strike
    with pytest.raises(RunError, match="disk"):
        federate(net, settings, "1")
    struck[0].unlink()
    again = tiny(tmp_path, arms="imputed", run_dir=str(small_disk / "runs"), run_name="",
                 resume="tiny")  # fmt: skip
    resumed = federate(grid(again), again, "1").path
    assert unlike(whole, resumed, MODELS) == []
    assert [path.name for path in resumed.rglob(".*")] == []
    assert list(resumed.rglob("*.partial")) == []


def test_a_site_that_comes_late_waits_for_the_next_run(sites: Path, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, **{"imputation.rounds": 3})
    net = RealSites(settings, sites, 3)
    late = net.nodes.pop(7)
    net._strike = lambda: net.nodes.setdefault(7, late)  # before the message of round 3
    run = federate(net, settings, "1").path
    assert 7 in net.nodes
    assert {tuple(line["sites"]) for line in lines(run)} == {("site-0", "site-1")}
    again = settings_in(tmp_path, **{"imputation.rounds": 3, "run-name": "next"})
    following = federate(RealSites(again, sites), again, "2").path
    assert {tuple(line["sites"]) for line in lines(following)} == {("site-0", "site-1", "site-2")}

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from fedmend import histogram
from fedmend.settings import Settings
from fedmend.sums import Sums
from fedmend.wire import Introduction
from server_app.checkpoint import Checkpoint
from server_app.sites import Sites
from server_app.summary import summary


def counted(**counts: int) -> dict[str, Any]:
    return {name.replace("__", "/"): np.array([float(count)]) for name, count in counts.items()}


def introduced(name: str, flagged: int) -> Introduction:
    nothing = histogram.counts(np.zeros(0), np.zeros(0, dtype=bool))
    counts = counted(
        train=100, val=10, test=20, flagged=flagged, clean=0, false_alarms=0, unknown=0
    )
    return Introduction(name, "", "", ("a", "b"), 1, {}, {"detection": nothing} | counts)


def finished(mended: int, dropped: int) -> Sums:
    quality = {f"finish__{label}__n": 0 for label in ("noisy", "imputed", "filter")}
    return counted(finish__mended=mended, finish__dropped=dropped, **quality)


def images(flagged: dict[str, int], sums: dict[str, Sums] | None) -> dict[str, int | None]:
    introductions = {name: introduced(name, count) for name, count in flagged.items()}
    sites = cast("Sites", SimpleNamespace(introductions=introductions, refused={}))
    point = None if sums is None else Checkpoint(arrays={}, best={}, sites=sums)
    said = summary("run", Settings.parse({}), ("a", "b"), sites, point, {}, 1.0)
    counts: dict[str, int | None] = said["images"]
    return counts


@pytest.mark.parametrize(
    ("sums", "mended", "kept", "dropped"),
    [
        ({"x": finished(30, 4), "y": finished(9, 0)}, 39, 7, 4),
        ({"x": finished(40, 0), "y": finished(10, 0)}, 50, 0, 0),
        ({"x": finished(0, 0), "y": finished(0, 0)}, 0, 50, 0),
        ({"x": finished(0, 40), "y": finished(0, 10)}, 0, 0, 50),
        # Away when the run was resumed; and one that never said what it mended.
        ({"x": finished(30, 4), "z": finished(50, 50)}, 30, 16, 4),
    ],
)
def test_every_image_held_to_be_noisy_is_mended_or_kept_or_dropped(
    sums: dict[str, Sums], mended: int, kept: int, dropped: int
) -> None:
    found = images({"x": 40, "y": 10}, sums)
    assert found == {
        "train": 200, "test": 40, "flagged": 50, "mended": mended, "kept": kept, "dropped": dropped,
    }  # fmt: skip
    assert found["flagged"] == mended + kept + dropped


def test_where_nothing_is_mended_nobody_knows_what_would_become_of_it() -> None:
    found = images({"x": 40}, None)
    assert found["flagged"] == 40
    assert [found[key] for key in ("mended", "kept", "dropped")] == [None] * 3

"""Broken files, on the path that a site takes: header, data set, every frame as it is shown."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_dicom import mutated, outcome, seeds
from client_app.dicom import untrusted
from client_app.dicom.parsed import Parsed
from client_app.dicom.window import Window

_SEEDS = seeds()
_WINDOWS = st.sampled_from([Window.parse(text) for text in ("file", "file:2", "range", "40/400")])


@st.composite
def _broken(draw: st.DrawFn) -> bytes:
    """Return a good file with some bytes replaced, in its header or its pixels, or cut."""
    data = draw(st.sampled_from(_SEEDS))
    pixels = max(0, data.rfind(b"\xe0\x7f\x10\x00"))
    for _ in range(draw(st.integers(1, 4))):
        low, high = draw(st.sampled_from([(0, pixels), (pixels, pixels + 400), (0, len(data))]))
        at = draw(st.integers(low, max(low, min(high, len(data)) - 1)))
        new = draw(st.binary(min_size=1, max_size=6))
        replaced = draw(st.sampled_from([len(new), len(new), len(new), 0]))
        data = data[:at] + new + data[at + replaced :]
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data


@settings(derandomize=True, max_examples=200, deadline=None)
@given(data=_broken(), window=_WINDOWS)
def test_a_broken_file_gives_pictures_or_a_reason(data: bytes, window: Window) -> None:
    start = time.perf_counter()
    kind, detail = outcome(data, window)
    assert kind in (*untrusted.REASONS, "read"), detail
    assert time.perf_counter() - start < 5


def test_every_good_file_is_read() -> None:
    outcomes = [outcome(data, Window()) for data in _SEEDS]
    bare = outcomes.pop(_SEEDS.index(next(each for each in _SEEDS if each[128:132] != b"DICM")))
    assert set(outcomes) == {("read", "")}
    assert bare == ("read", "")


def test_a_mutation_depends_on_its_number_alone() -> None:
    assert mutated(7, 0, _SEEDS) == mutated(7, 0, _SEEDS)
    assert len({mutated(number, 0, _SEEDS)[0] for number in range(50)}) > 45


def test_nothing_is_printed_about_a_file(capfd: pytest.CaptureFixture[str]) -> None:
    kinds = {outcome(*mutated(number, 1, _SEEDS))[0] for number in range(150)}
    assert "read" in kinds
    assert len(kinds) > 5
    assert "DEFECT" not in kinds
    assert capfd.readouterr() == ("", "")


def test_an_error_that_is_no_reason_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Parsed) -> None:
        raise KeyError("x")

    monkeypatch.setattr("client_app.dicom.headers.header", broken)
    kind, detail = outcome(_SEEDS[0], Window())
    assert kind == "DEFECT"
    assert "KeyError" in detail

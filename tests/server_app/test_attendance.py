"""Sites that fail, are late, or are to stop: what becomes of them and of the run."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from client_app.app import app as client_app
from fedmend.errors import RunError
from server_app import running
from server_app.attendance import Attendance
from server_app.federation import federate
from tests.federation import failing, run, same, silent, tiny, weights
from tests.grid import Fault, LocalGrid


@hypothesis(deadline=None)
@given(st.lists(st.booleans(), max_size=30), st.integers(0, 5))
def test_a_site_is_dropped_for_failures_in_a_row_alone(answers: list[bool], allowed: int) -> None:
    attendance, row, dropped = Attendance(allowed), 0, False
    for answered in answers:
        row = 0 if answered else row + 1
        fresh = attendance.note(["s"] if answered else [], {} if answered else {"s": "why"})
        due = allowed > 0 and row >= allowed
        assert fresh == (["s"] if due else [])
        dropped |= due
    assert ("s" in attendance.dropped) == dropped


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]


def asked(net: LocalGrid, site: int) -> int:
    return sum(each.metadata.dst_node_id == 900 - site for each in net.sent)


def test_a_site_that_fails_three_times_in_a_row_is_asked_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = tiny(tmp_path, arms="raw", classification__rounds=4)
    net = LocalGrid.simulated(client_app, settings.flat(), 3, {1: failing("train", "evaluate")})
    with caplog.at_level(logging.WARNING):
        folder = federate(net, settings, "1").path
    assert asked(net, 1) == 1 + 3
    assert asked(net, 0) == asked(net, 2) == 1 + 4 + 2
    reasons = [line["left_out"]["site-1"] for line in lines(folder)]
    dropped = "failed 3 times in a row and is not asked any more; last: the disk is full"
    assert reasons == ["the disk is full"] * 3 + [dropped] * 3
    assert [text for text in caplog.messages if "any more" in text] == [f"site-1 {dropped}"]


def test_a_site_that_comes_back_in_time_counts_afresh(tmp_path: Path) -> None:
    """Two failures, an answer, two failures: never three in a row."""
    counted: list[str] = []

    def fault(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "query":
            return reply
        counted.append(message.metadata.message_type)
        return reply if len(counted) == 3 else failing("train", "evaluate")(message, reply) or reply

    settings = tiny(tmp_path, arms="raw", classification__rounds=3)
    folder, _ = run(settings, faults={1: fault})
    assert len(counted) == 5
    assert [list(line["left_out"]) for line in lines(folder)] == [
        ["site-1"], ["site-1"], [], ["site-1"], ["site-1"],
    ]  # fmt: skip


def test_with_zero_every_site_is_asked_for_ever(tmp_path: Path) -> None:
    settings = tiny(tmp_path, arms="raw", classification__rounds=4, failures_allowed=0)
    net = LocalGrid.simulated(client_app, settings.flat(), 3, {1: failing("train", "evaluate")})
    federate(net, settings, "1")
    assert asked(net, 1) == 1 + 4 + 2


def test_where_too_few_are_left_the_run_ends_and_names_them(tmp_path: Path) -> None:
    settings = tiny(tmp_path, arms="raw", failures_allowed=1, min_sites=1)
    faults = {0: failing("train"), 1: failing("evaluate")}
    reasons = r"site-0: failed once and is not asked any more; last: the disk is full; site-1: the"
    with pytest.raises(RunError, match=f"0 sites answered.*{reasons}"):
        run(settings, 2, faults)


def test_a_resumed_run_asks_every_site_again(tmp_path: Path) -> None:
    settings = tiny(tmp_path, arms="raw", failures_allowed=1, min_sites=1)
    faults = {0: failing("train"), 1: failing("evaluate")}
    with pytest.raises(RunError):
        run(settings, 2, faults)
    again = tiny(tmp_path, arms="raw", failures_allowed=1, min_sites=1, run_name="", resume="tiny")
    folder, _ = run(again, 2)
    assert list(lines(folder)[-1]["sites"]) == ["site-0", "site-1"]
    assert lines(folder)[-1]["left_out"] == {}


class LateGrid(LocalGrid):
    """Holds a site's first answers back, and hands them over, asked for or not, with the next."""

    late: list[Message]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        wanted = list(message_ids)
        found = list(super().pull_messages(wanted))
        if any("train" in each.metadata.message_type for each in found) and self._rounds(found) > 1:
            found = [*self.late, *found]
            self.late = []
        return found

    def _rounds(self, found: list[Message]) -> int:
        trained = [each for each in self.sent if each.metadata.message_type == "train"]
        return len(trained) // len(self.nodes)


def test_a_late_answer_never_gets_into_a_later_round(tmp_path: Path) -> None:
    """It comes while the next round's are awaited; the weights are those without it."""
    held: list[Message] = []

    def slow(message: Message, reply: Message) -> Message | None:
        if message.metadata.message_type == "train" and not held:
            held.append(reply)
            return None
        return reply

    def lost(counted: list[int]) -> Fault:
        def fault(message: Message, reply: Message) -> Message | None:
            if message.metadata.message_type == "train" and not counted:
                counted.append(1)
                return None
            return reply

        return fault

    expected, _ = run(tiny(tmp_path, arms="raw", run_name="lost"), faults={2: lost([])})
    settings = tiny(tmp_path, arms="raw", run_name="late")
    net = LateGrid.simulated(client_app, settings.flat(), 3, {2: slow})
    assert isinstance(net, LateGrid)
    net.late = held
    folder = federate(net, settings, "1").path
    assert held
    assert net.late == []  # it was handed over
    assert same(weights(folder, "classifier-raw"), weights(expected, "classifier-raw"))
    assert [list(line["left_out"]) for line in lines(folder)] == [["site-2"], [], [], []]
    assert all(len(line["sites"]) + len(line["left_out"]) == 3 for line in lines(folder))


def test_who_keeps_the_others_waiting_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = tiny(tmp_path, arms="raw")
    with caplog.at_level(logging.WARNING):
        folder, _ = run(settings, faults={2: silent("train")})
    waited = [text for text in caplog.messages if text.startswith("waited ")]
    assert waited
    assert all(text.endswith("for site-2") for text in waited)
    seconds = [each["seconds"] for line in lines(folder) for each in line["sites"].values()]
    assert all(0 <= each < 5 for each in seconds)


def test_a_run_that_is_asked_to_stop_ends_and_can_be_resumed(tmp_path: Path) -> None:
    settings = tiny(tmp_path, arms="raw", deadline=60.0)
    folder = tmp_path / "runs" / "tiny"

    def never(message: Message, reply: Message) -> Message | None:
        """Site 1 is at work when the run is stopped."""
        if message.metadata.message_type == "train":
            running.ask_to_stop(folder)
            return None
        return reply

    net = LocalGrid.simulated(client_app, settings.flat(), 3, {1: never})
    with pytest.raises(RunError, match="run tiny was stopped; resume=tiny goes on with it"):
        federate(net, settings, "1")
    assert running.of(folder) is None

    again = tiny(tmp_path, arms="raw", run_name="", resume="tiny")
    resumed, _ = run(again)
    undisturbed, _ = run(tiny(tmp_path, arms="raw", run_name="undisturbed"))
    assert same(weights(resumed, "classifier-raw"), weights(undisturbed, "classifier-raw"))

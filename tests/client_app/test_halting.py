from __future__ import annotations

from pathlib import Path

import pytest

from client_app.app import app as client_app
from client_app.halting import Halt
from fedmend.errors import RunError
from tests.federation import run, tiny
from tests.grid import LocalGrid


def test_the_mark_is_set_and_lifted(tmp_path: Path) -> None:
    halt = Halt(tmp_path / "run" / "north")
    halt.lift()
    halt.check()
    halt.ask()
    with pytest.raises(RunError, match="the run was stopped"):
        halt.check()
    halt.lift()
    halt.check()


def test_work_that_is_under_way_ends_at_its_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark is set as a site has taken three steps of a round."""
    steps: list[str] = []
    before = Halt.check

    def check(self: Halt) -> None:
        steps.append("check")
        if len(steps) == 4:
            self.ask()
        before(self)

    settings = tiny(tmp_path, arms="raw", min_sites=1, classification__rounds=1)
    net = LocalGrid.simulated(client_app, settings.flat(), 1)
    monkeypatch.setattr(Halt, "check", check)
    from server_app.federation import federate

    with pytest.raises(RunError, match=r"0 sites answered.*site-0: the run was stopped"):
        federate(net, settings, "1")
    assert len(steps) == 4  # as it began, and before each of three steps; the third was not taken
    monkeypatch.undo()
    _, summary = run(tiny(tmp_path, arms="raw", min_sites=1, run_name="next"), sites=1)
    assert summary["status"] == "complete"

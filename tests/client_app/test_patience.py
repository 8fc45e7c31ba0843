from __future__ import annotations

import time
from pathlib import Path

import pytest

from client_app.app import app as client_app
from client_app.patience import LEAST, Patience
from fedmend.errors import RunError
from server_app.federation import federate
from tests.federation import tiny
from tests.grid import LocalGrid


@pytest.mark.parametrize(("deadline", "allowed"), [(600.0, 600.0), (0.2, LEAST)])
def test_work_has_the_rounds_deadline_and_a_minute_at_least(
    deadline: float, allowed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    patience = Patience(deadline)
    now[0] += allowed
    patience.check()
    now[0] += 0.1
    with pytest.raises(RunError, match=f"not done within {allowed:g} s: nobody waits"):
        patience.check()


def test_training_ends_at_the_step_at_which_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def check(self: Patience) -> None:
        steps.append("before a step")
        if len(steps) == 3:
            raise RunError("its time is over")

    settings = tiny(tmp_path, arms="raw", min_sites=1, classification__epochs=10)
    net = LocalGrid.simulated(client_app, settings.flat(), 1)
    monkeypatch.setattr(Patience, "check", check)
    with pytest.raises(RunError, match=r"0 sites answered.*site-0: its time is over"):
        federate(net, settings, "1")
    assert len(steps) == 3

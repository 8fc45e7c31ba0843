from __future__ import annotations

import logging
import time

import pytest

from client_app.sparsely import SECONDS, Sparsely


def test_progress_is_logged_seldom_and_in_counts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    caplog.set_level(logging.INFO, "fedmend.site")
    told = Sparsely(logging.getLogger("fedmend.site"))
    for done in range(1, 101):
        now += SECONDS / 40
        told("reading" if done < 50 else "decoding", done, 100)
    assert caplog.messages == ["looked at 40 of 100 files", "decoded 80 of 100 images"]

from __future__ import annotations

import pytest

from commands.failure import reason
from commands.superlink import State

_LOG = """\x1b[91mERROR \x1b[0m:     ClientApp raised an exception
Traceback (most recent call last):
  File "app.py", line 3, in train
torch.OutOfMemoryError: CUDA out of memory
INFO: stopping
"""


@pytest.mark.parametrize(
    ("details", "log", "words"),
    [
        ("Simulation failed with exception: fedmend: 1 site is left", _LOG, "1 site is left"),
        ("Simulation failed with exception: No module named 'x'", "", "No module named 'x'"),
        ("", f"{_LOG}fedmend: too few sites\n", "too few sites"),
        (
            "Simulation failed with exception: An error was encountered. Ending simulation.",
            _LOG,
            "OutOfMemoryError: CUDA out of memory",
        ),
        ("", "ValueError\n", "ValueError"),
        ("", "", "the run failed without results, and its log does not say why"),
    ],
)
def test_the_most_telling_words_are_chosen(details: str, log: str, words: str) -> None:
    assert reason(State("finished", "failed", details), log) == words

"""Why a run failed, in one sentence, found in what Flower says about it."""

from __future__ import annotations

import re

from commands.superlink import State

_OWN = re.compile(r"fedmend: (.+)")
_RAISED = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception))(?:: (.+))?$", re.MULTILINE)
_PREFIX = "Simulation failed with exception: "
_SAYS_NOTHING = {
    "",
    "An error was encountered. Ending simulation.",
    "Task failed with unknown error.",
}
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def reason(state: State, log: str) -> str:
    """Return why a run has failed.

    The coordinator's own sentence is best; then the reason that Flower gives; then the last
    exception in the run's log.
    """
    log = _COLOUR.sub("", log)
    details = state.details.strip().removeprefix(_PREFIX)
    for text in (details, log):
        if own := _OWN.findall(text):
            return str(own[-1]).strip()
    if details not in _SAYS_NOTHING:
        return details
    if raised := _RAISED.findall(log):
        return ": ".join(part for part in raised[-1] if part)
    outcome = state.outcome or "ended"
    return f"the run {outcome} without results, and its log does not say why"

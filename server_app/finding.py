"""What a run found, in sentences that claim no more than one run can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedmend.arms import ARMS

_SETS = {"clean": "clean test images", "noisy": "test images with noise"}
_SMALLER_IS_BETTER = {"ece"}
_CAUTION = (
    "This is one run with one seed: it gives no interval, and a difference may be chance. "
    "Repeat it with other seeds before you rely on one."
)


def score(scores: Mapping[str, Any] | None, test: str, key: str) -> float | int | None:
    """Return one score of one arm; None where it is unknown."""
    value = ((scores or {}).get(test) or {}).get(key)
    return value if isinstance(value, int | float) else None


def best(arms: Mapping[str, Any], test: str, key: str, *, digits: int) -> set[str]:
    """Return the arms that are best by a score, as far as ``digits`` decimals tell.

    The oracle does not compete: no hospital has the images that it is trained on. Nothing is
    best of fewer than two.
    """
    known = {name: score(scores, test, key) for name, scores in arms.items() if not oracle(name)}
    rounded = {name: round(value, digits) for name, value in known.items() if value is not None}
    if len(rounded) < 2 or len(set(rounded.values())) < 2:
        return set()
    pick = min if key in _SMALLER_IS_BETTER else max
    top = pick(rounded.values())
    return {name for name, value in rounded.items() if value == top}


def oracle(name: str) -> bool:
    """Return whether an arm is trained on the images from before the simulated noise."""
    return name in ARMS and ARMS[name].original


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """Return which arm is best on which test images, and what that is worth."""
    arms = summary.get("arms") or {}
    found = [_sentence(arms, test, words) for test, words in _SETS.items()]
    left = [name for name in arms if oracle(name)]
    aside = f"The {left[0]} arm is an oracle and is left out of the comparison." if left else ""
    return [each for each in (*found, aside, _CAUTION) if each]


def _sentence(arms: Mapping[str, Any], test: str, words: str) -> str:
    values = {name: score(scores, test, "auroc") for name, scores in arms.items()}
    known = {n: v for n, v in values.items() if v is not None and not oracle(n)}
    if not known:
        return f"On the {words} no AUROC is known."
    if len(known) == 1:
        [(name, value)] = known.items()
        return f"On the {words} the {name} arm has an AUROC of {value:.3f}; there is no other."
    top = best(arms, test, "auroc", digits=3)
    if not top:
        value = next(iter(known.values()))
        return f"On the {words} all arms have the same AUROC, {value:.3f}."
    names = " and ".join(sorted(top, key=list(arms).index))
    share = "arms share" if len(top) > 1 else "arm has"
    value = known[next(iter(top))]
    return f"On the {words} the {names} {share} the highest AUROC, {value:.3f}{_rest(known, top)}."


def _rest(known: Mapping[str, float | int], top: set[str]) -> str:
    """Return the other arms and their values, best first."""
    others = sorted((name for name in known if name not in top), key=lambda n: -known[n])
    return f" ({', '.join(f'{name}: {known[name]:.3f}' for name in others)})"

"""Tables of what runs with several seeds came to, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.intervals import Interval, interval, paired

SCORES = ("auroc", "balanced_accuracy")
TESTS = ("clean", "noisy")
OURS = "imputed"

Summaries = Sequence[Mapping[str, Any]]


def scores(summaries: Summaries, arm: str, test: str, score: str = "auroc") -> list[float]:
    """Return one arm's score on one test set, seed by seed."""
    return [float(summary["arms"][arm][test][score]) for summary in summaries]


def advantage(summaries: Summaries, arm: str, test: str) -> Interval:
    """Return the paired difference in AUROC, imputed minus another arm."""
    return paired(scores(summaries, OURS, test), scores(summaries, arm, test))


def means(summaries: Summaries) -> str:
    """Return every arm's means over the seeds."""
    lines = [
        "| arm | " + " | ".join(f"{t} {s}" for t in TESTS for s in SCORES) + " |",
        "|---|" + "---|" * len(TESTS) * len(SCORES),
    ]
    for arm in summaries[0]["arms"]:
        cells = [
            f"{interval(scores(summaries, arm, test, score)).mean:.3f}"
            for test in TESTS
            for score in SCORES
        ]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences(summaries: Summaries) -> str:
    """Return the paired differences of the imputed arm to every other one."""
    lines = ["| other arm | clean test | noisy test |", "|---|---|---|"]
    for arm in summaries[0]["arms"]:
        if arm != OURS:
            cells = [str(advantage(summaries, arm, test)) for test in TESTS]
            lines.append(f"| {arm} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def by_seed(summaries: Summaries) -> str:
    """Return every seed's AUROC."""
    arms = list(summaries[0]["arms"])
    lines = ["| seed | test | " + " | ".join(arms) + " |", "|---|---|" + "---|" * len(arms)]
    for summary in summaries:
        for test in TESTS:
            cells = [f"{summary['arms'][arm][test]['auroc']:.3f}" for arm in arms]
            lines.append(f"| {summary['seed']} | {test} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mending(summaries: Summaries) -> str:
    """Return the test images' quality, before and after."""
    lines = ["| test images | PSNR (dB) | SSIM |", "|---|---|---|"]
    for name in summaries[0]["imputation"]["test"]:
        rows = [summary["imputation"]["test"][name] for summary in summaries]
        psnr, ssim = (interval([row[key] for row in rows]).mean for key in ("psnr", "ssim"))
        lines.append(f"| {name} | {psnr:.2f} | {ssim:.3f} |")
    return "\n".join(lines)

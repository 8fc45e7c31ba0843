"""summary.json: what a run came to, in the contract's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from classification import metrics
from fedmend import histogram, sums
from fedmend.settings import Settings
from fedmend.spec import parse_term
from imputation import routing
from server_app.checkpoint import Checkpoint
from server_app.sites import Sites, Traffic

TESTS = ("clean", "noisy")
_SCORES = ("accuracy", "balanced_accuracy", "auroc", "auroc_site_mean", "f1", "ece")


def summary(
    run: str,
    settings: Settings,
    classes: Sequence[str],
    sites: Sites,
    imputation: Checkpoint | None,
    arms: Mapping[str, Checkpoint],
    seconds: float,
) -> dict[str, Any]:
    """Return the run's summary; what is unknown is None."""
    said = sums.merge(each.sums for each in sites.introductions.values())
    points = [*([imputation] if imputation else []), *arms.values()]
    traffic = sum((point.traffic for point in points), Traffic())
    classification = sum(point.seconds for point in arms.values())
    return {
        "schema": 1,
        "status": "complete",
        "run": run,
        "seed": settings.seed,
        "classes": list(classes),
        "sites": {
            "asked": len(sites.introductions) + len(sites.refused),
            "used": len({name for point in points for name in point.used}),
            "refused": sites.refused,
        },
        "images": _images(sites, said, imputation),
        "imputation": {
            "test": _mending(settings, imputation),
            **_routing(settings, imputation),
            "detection": {
                "auroc": histogram.auroc(said["detection"]),
                "false_alarm": sums.ratio(said, "false_alarms", "clean"),
                "unknown_sites": int(said["unknown"][0]),
            },
        },
        "arms": {
            name: {test: _scores(point, test, classes, settings) for test in TESTS}
            for name, point in arms.items()
        },
        "privacy": None,
        "seconds": {
            "imputation": round(imputation.seconds, 3) if imputation else None,
            "classification": round(classification, 3),
            "total": round(seconds, 3),
        },
        "bytes": {"up": traffic.up, "down": traffic.down},
    }


def _images(sites: Sites, said: sums.Sums, imputation: Checkpoint | None) -> dict[str, int | None]:
    """Return how many images there are, and what became of those held to be noisy.

    Each of them is mended, dropped or kept as acquired, so that the three add up. All counts are
    of the sites that introduced themselves: a run may be resumed without one that has mended.
    """
    flagged = int(said["flagged"][0])
    outcomes: dict[str, int | None] = dict.fromkeys(("mended", "kept", "dropped"))
    if imputation is not None:
        finished = [
            sums.under("finish", each)
            for name, each in imputation.sites.items()
            if name in sites.introductions
        ]
        mended, dropped = (
            sum(int(each[key][0]) for each in finished) for key in ("mended", "dropped")
        )
        outcomes = {"mended": mended, "kept": flagged - mended - dropped, "dropped": dropped}
    return {
        "train": int(said["train"][0]),
        "test": int(said["test"][0]),
        "flagged": flagged,
        **outcomes,
    }


def _mending(settings: Settings, imputation: Checkpoint | None) -> dict[str, Any] | None:
    """Return the quality of the noisy, the imputed and the filtered test images."""
    if imputation is None:
        return None
    finished = sums.under("finish", sums.merge(imputation.sites.values()))
    table = {}
    names = {
        "noisy": "noisy",
        "imputed": "imputed",
        "filter": f"filter:{parse_term(settings.filter).name}",
    }
    for key, name in names.items():
        part = sums.under(key, finished)
        count = int(part["n"][0])
        means = {score: sums.ratio(part, score, "n") for score in ("psnr", "ssim")}
        table[name] = {"n": count, **means} if count else None
    return table


def _routing(settings: Settings, imputation: Checkpoint | None) -> dict[str, Any]:
    """Return what mends which kind of noise, and the figures that decided it."""
    if imputation is None:
        return {"routes": None, "validation": None}
    return {
        "routes": routing.read(routing.decided(imputation.compared, settings)),
        "validation": routing.table(imputation.compared, settings),
    }


def _scores(
    point: Checkpoint, test: str, classes: Sequence[str], settings: Settings
) -> dict[str, float | int | None] | None:
    """Return one arm's scores on one test set; None where that set is empty everywhere."""
    if test == "clean" and not settings.simulates_noise:
        return None
    parts = {name: sums.under(test, said) for name, said in point.sites.items()}
    merged = metrics.reduce(sums.merge(parts.values()), len(classes))
    if not merged["n"]:
        return None
    own = [metrics.reduce(part, len(classes))["auroc"] for part in parts.values()]
    known = [value for value in own if value is not None]
    scores: dict[str, float | int | None] = {"n": int(merged["n"])}
    merged["auroc_site_mean"] = sum(known) / len(known) if known else None
    return scores | {key: merged[key] for key in _SCORES}

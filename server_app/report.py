"""report.html: a run in one page that needs nothing else, to read, to print and to pass on.

It says what summary.json and metrics.jsonl say, and holds no image: whatever is in it may leave
the coordinator. Names that sites chose are text to it, never markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmend.arms import ARMS
from fedmend.files import write_atomically
from imputation import routing
from server_app import curves, finding
from server_app.figures import UNKNOWN, duration, number, percent, real, size, whole
from server_app.page import TEMPLATE

TESTS = (("clean", "Test images as acquired clean"), ("noisy", "Test images with noise"))
SCORES = (
    ("accuracy", "Accuracy"),
    ("balanced_accuracy", "Balanced accuracy"),
    ("auroc", "AUROC"),
    ("auroc_site_mean", "AUROC, mean of sites"),
    ("f1", "F1"),
    ("ece", "ECE"),
)
IMAGES = (
    ("train", "training images"),
    ("test", "test images"),
    ("flagged", "held to be noisy"),
    ("mended", "mended"),
    ("kept", "kept as acquired"),
    ("dropped", "dropped"),
)
CHARTS = (
    ("imputation", "Imputation: PSNR of mended validation images, in dB"),
    ("classification", "Classification: macro AUROC of validation images"),
)

Table = Mapping[str, Any]
Lines = Sequence[Table]


def write_report(folder: Path, summary: Table, lines: Lines) -> None:
    """Write ``report.html`` into a run folder, in one piece.

    Args:
        folder: of the run.
        summary: content of summary.json; None stands for what is unknown.
        lines: of metrics.jsonl, in the order written.
    """
    write_atomically(folder / "report.html", rendered(summary, lines), 0o644)


def rendered(summary: Table, lines: Lines) -> str:
    """Return the report's HTML."""
    import jinja2

    pages = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return pages.from_string(TEMPLATE).render(content(summary, lines))


def content(summary: Table, lines: Lines) -> dict[str, Any]:
    """Return what the page shows, as text and in the order shown."""
    mending = summary.get("imputation") or {}
    return {
        "run": str(summary.get("run") or UNKNOWN),
        "status": str(summary.get("status") or UNKNOWN),
        "findings": finding.sentences(summary),
        "facts": facts(summary),
        "tests": TESTS,
        "headings": [heading for _, heading in SCORES],
        "arms": arm_rows(summary.get("arms") or {}),
        "mending": mending_rows(mending.get("test") or {}),
        "detection": detection(mending.get("detection") or {}),
        "routes": route_rows(mending),
        "charts": charts(lines),
        "sites": site_rows(lines),
        "left_out": left_out(summary, lines),
        "privacy": privacy(summary.get("privacy")),
        "costs": costs(summary),
        "drawing": curves,
        "unknown": UNKNOWN,
    }


def facts(summary: Table) -> list[tuple[str, str]]:
    """Return the run's counts: what and how many."""
    sites = summary.get("sites") or {}
    images = summary.get("images") or {}
    used = f"{number(sites.get('used'))} of {number(sites.get('asked'))}"
    return [
        ("sites took part", used),
        *((label, number(images.get(key))) for key, label in IMAGES),
        ("classes", ", ".join(map(str, summary.get("classes") or ())) or UNKNOWN),
        ("seed", str(summary["seed"]) if summary.get("seed") is not None else UNKNOWN),
    ]


def arm_rows(arms: Table) -> list[dict[str, Any]]:
    """Return one row an arm: its name, what it means and its cells, the best ones marked."""
    best = {
        (test, key): finding.best(arms, test, key, digits=3)
        for test, _ in TESTS
        for key, _ in SCORES
    }
    rows = []
    for name, scores in arms.items():
        cells = [
            {
                "text": number(real(finding.score(scores, test, key))),
                "best": name in best[test, key],
                "first": key == SCORES[0][0],
            }
            for test, _ in TESTS
            for key, _ in SCORES
        ]
        counts = [number(whole(finding.score(scores, test, "n"))) for test, _ in TESTS]
        meaning = ARMS[name].meaning if name in ARMS else ""
        rows.append({"name": name, "meaning": meaning, "cells": cells, "counts": counts})
    return rows


def mending_rows(tests: Table) -> list[dict[str, str]]:
    """Return one row a way of mending: its name, n, PSNR in dB and SSIM."""
    names = {"noisy": "left as they are", "imputed": "mended by the federated imputer"}
    rows = []
    for name, scores in tests.items():
        known = scores or {}
        kind, _, by = name.partition(":")
        label = f"mended by the {by} filter" if kind == "filter" and by else names.get(name, name)
        rows.append(
            {
                "name": label,
                "n": number(whole(known.get("n"))),
                "psnr": number(real(known.get("psnr")), 2),
                "ssim": number(real(known.get("ssim"))),
            }
        )
    return rows


def route_rows(mending: Table) -> dict[str, Any]:
    """Return what mends which kind of noise, and the figures that decided it.

    ``methods`` are the columns; each of ``rows`` has a kind and a cell a method, that of the
    chosen one marked. Both are empty where nothing was compared.
    """
    table, routes = mending.get("validation") or {}, mending.get("routes") or {}
    methods = list(next(iter(table.values()), {}))
    rows = [
        {
            "kind": str(kind).replace("_", ", "),
            "cells": [
                {
                    "text": number(real(values.get(method)), 1),
                    "chosen": method == routes.get(kind, routing.IMPUTER),
                }
                for method in methods
            ],
        }
        for kind, values in table.items()
    ]
    return {"methods": methods, "rows": rows}


def detection(found: Table) -> list[tuple[str, str]]:
    """Return what the blind detector is worth."""
    return [
        ("AUROC of noisy against clean images", number(real(found.get("auroc")))),
        ("False alarms among clean images", percent(real(found.get("false_alarm")))),
        ("Sites whose images it cannot tell apart", number(found.get("unknown_sites"))),
    ]


def charts(lines: Lines) -> list[dict[str, Any]]:
    """Return the validation scores by phase: the drawing, and the same as a table.

    A line's score is that of the model its round began with, so round 1 tells of the initial
    weights; the curve counts the rounds that a model was trained for.
    """
    made = []
    for phase, title in CHARTS:
        values: dict[str, dict[int, float]] = {}
        for line in lines:
            if line["phase"] == phase and not line.get("final"):
                arm = values.setdefault(line["arm"] or phase, {})
                if real(line.get("score")) is not None:
                    arm[line["round"] - 1] = float(line["score"])
        drawing = curves.chart({name: list(points.items()) for name, points in values.items()})
        if drawing is not None:
            made.append({"id": phase, "title": title, "drawing": drawing, **_table(values)})
    return made


def _table(values: Mapping[str, Mapping[int, float]]) -> dict[str, Any]:
    rounds = sorted({each for points in values.values() for each in points})
    rows = [
        (str(each), [number(points.get(each)) for points in values.values()]) for each in rounds
    ]
    return {"columns": list(values), "rows": rows}


def site_rows(lines: Lines) -> list[dict[str, str]]:
    """Return one row a site: its training images and how many messages it answered of those sent.

    A message counts as sent to a site where the site answered it or was left out of it.
    """
    names = sorted({name for line in lines for key in ("sites", "left_out") for name in line[key]})
    rows = []
    for name in names:
        answers = [line["sites"][name] for line in lines if name in line["sites"]]
        missed = sum(name in line["left_out"] for line in lines)
        most = max((int(each.get("n") or 0) for each in answers), default=None)
        rows.append(
            {
                "name": name,
                "n": number(most),
                "answered": f"{len(answers):,} of {len(answers) + missed:,}",
            }
        )
    return rows


def left_out(summary: Table, lines: Lines) -> list[dict[str, str]]:
    """Return which sites did not count, why, and when: one row a site and reason."""
    refused = (summary.get("sites") or {}).get("refused") or {}
    when: dict[tuple[str, str], list[str]] = {
        (name, reason): ["from the start"] for name, reason in refused.items()
    }
    for line in lines:
        stage = f"{line['phase']} {line['arm']}".strip()
        moment = f"{stage}, {'the test' if line.get('final') else 'round ' + str(line['round'])}"
        for name, reason in line["left_out"].items():
            when.setdefault((name, reason), []).append(moment)
    return [
        {"name": name, "reason": reason, "when": _listed(moments)}
        for (name, reason), moments in sorted(when.items())
    ]


def _listed(moments: Sequence[str]) -> str:
    more = len(moments) - 3
    return "; ".join(moments[:3]) + (f"; and {more} more" if more > 0 else "")


def privacy(guarantee: object) -> list[tuple[str, str]]:
    """Return the formal guarantee's terms; empty where none was given."""
    if not isinstance(guarantee, Mapping):
        return [] if guarantee is None else [("guarantee", str(guarantee))]
    return [
        (str(key), f"{value:g}" if isinstance(value, float) else _text(value))
        for key, value in guarantee.items()
    ]


def _text(value: object) -> str:
    return UNKNOWN if value is None else str(value)


def costs(summary: Table) -> list[tuple[str, str]]:
    """Return how long the run took and what crossed the wire."""
    seconds, sent = summary.get("seconds") or {}, summary.get("bytes") or {}
    return [
        ("Imputation", duration(real(seconds.get("imputation")))),
        ("Classification", duration(real(seconds.get("classification")))),
        ("The whole run", duration(real(seconds.get("total")))),
        ("Sent by the sites", size(real(sent.get("up")))),
        ("Sent to the sites", size(real(sent.get("down")))),
    ]

"""Chest X-rays, ten unlike sites: every arm over several seeds, with paired intervals.

    python benchmarks/chest_xray.py --data FOLDER [--seeds 0-4] [--out benchmarks/chest_xray.md]

FOLDER holds ``labels.csv`` with the columns that experiments/chest-xray.toml names. A seed whose
run folder is complete is not run again, and an interrupted one is resumed: the command can be
stopped and repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from benchmarks.statistics import interval, paired

HERE = Path(__file__).parent
EXPERIMENT = HERE.parent / "experiments" / "chest-xray.toml"
SCORES = ("auroc", "balanced_accuracy")


def run(seed: int, data: Path, runs: Path, more: Sequence[str]) -> dict[str, Any]:
    """Return the summary of one seed's run, running or resuming it where that is to be done."""
    name = f"chest-xray-{seed}"
    summary = runs / name / "summary.json"
    if not summary.is_file():
        begun = (runs / name / "settings.json").is_file()
        naming = f"resume={name}" if begun else f"run-name={name}"
        command = [
            str(Path(sys.executable).with_name("fedmend")),
            "run",
            str(EXPERIMENT),
            f"data={data}",
        ]
        command += [f"seed={seed}", f"run-dir={runs}", naming, *more]
        subprocess.run(command, check=True, cwd=HERE.parent, env=os.environ)
    loaded: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
    return loaded


def table(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Return the Markdown of means over seeds, and of paired differences to the other arms."""
    arms = list(summaries[0]["arms"])
    lines = [
        "| arm | " + " | ".join(f"{t} {s}" for t in ("clean", "noisy") for s in SCORES) + " |",
        "|---|" + "---|" * 2 * len(SCORES),
    ]

    def values(arm: str, test: str, score: str) -> list[float]:
        return [float(summary["arms"][arm][test][score]) for summary in summaries]

    for arm in arms:
        cells = [
            f"{interval(values(arm, test, score)).mean:.3f}"
            for test in ("clean", "noisy")
            for score in SCORES
        ]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Paired differences in AUROC, imputed minus the other arm (mean ± half the 95 % interval):",
        "",
        "| other arm | clean test | noisy test |",
        "|---|---|---|",
    ]
    for arm in arms:
        if arm != "imputed":
            cells = [
                str(paired(values("imputed", test, "auroc"), values(arm, test, "auroc")))
                for test in ("clean", "noisy")
            ]
            lines.append(f"| {arm} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def by_seed(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Return the Markdown of every seed's AUROC."""
    arms = list(summaries[0]["arms"])
    lines = ["| seed | test | " + " | ".join(arms) + " |", "|---|---|" + "---|" * len(arms)]
    for summary in summaries:
        for test in ("clean", "noisy"):
            cells = [f"{summary['arms'][arm][test]['auroc']:.3f}" for arm in arms]
            lines.append(f"| {summary['seed']} | {test} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mending(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Return the Markdown of the test images' quality."""
    lines = ["| test images | PSNR (dB) | SSIM |", "|---|---|---|"]
    for name in summaries[0]["imputation"]["test"]:
        rows = [summary["imputation"]["test"][name] for summary in summaries]
        psnr, ssim = (interval([row[key] for row in rows]).mean for key in ("psnr", "ssim"))
        lines.append(f"| {name} | {psnr:.2f} | {ssim:.3f} |")
    return "\n".join(lines)


def page(summaries: Sequence[Mapping[str, Any]], command: str) -> str:
    """Return the whole Markdown page."""
    seconds = [summary["seconds"]["total"] for summary in summaries]
    first = summaries[0]
    return f"""# Chest X-rays, {first["sites"]["used"]} sites, {len(summaries)} seeds

Made by `{command}` (settings: `experiments/chest-xray.toml`).

{machine.described()}. {interval(seconds).mean:.0f} s a run in the mean.

{table(summaries)}

## The images

{mending(summaries)}

## Every seed's AUROC

{by_seed(summaries)}
"""


def main() -> None:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", default="0-4", help="first-last, or a comma list")
    parser.add_argument("--runs", type=Path, default=HERE.parent / "runs")
    parser.add_argument("--out", type=Path, default=HERE / "chest_xray.md")
    parser.add_argument("more", nargs="*", help="further settings, key=value")
    given = parser.parse_args()
    first, dash, last = given.seeds.partition("-")
    seeds = range(int(first), int(last) + 1) if dash else map(int, given.seeds.split(","))
    summaries = [
        run(seed, given.data.resolve(), given.runs.resolve(), given.more) for seed in seeds
    ]
    more = "".join(f" {each}" for each in given.more)
    command = f"python benchmarks/chest_xray.py --data FOLDER --seeds {given.seeds}{more}"
    given.out.write_text(page(summaries, command), encoding="utf-8")
    sys.stdout.write(f"wrote {given.out}\n")


if __name__ == "__main__":
    main()

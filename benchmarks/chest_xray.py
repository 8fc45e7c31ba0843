"""Chest X-rays, ten unlike sites: every arm over several seeds, with paired intervals.

    python benchmarks/chest_xray.py --data FOLDER [--seeds 0-4] [--out benchmarks/chest_xray.md]

FOLDER holds ``labels.csv`` with the columns that experiments/chest-xray.toml names. A seed whose
run folder is complete is not run again, and an interrupted one is resumed: the command can be
stopped and repeated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine, runs, tables
from benchmarks.intervals import interval


def page(summaries: tables.Summaries, command: str) -> str:
    """Return the whole Markdown page."""
    seconds = [summary["seconds"]["total"] for summary in summaries]
    first = summaries[0]
    return f"""# Chest X-rays, {first["sites"]["used"]} sites, {len(summaries)} seeds

Made by `{command}` (settings: `experiments/chest-xray.toml`).

{machine.described()}. {interval(seconds).mean:.0f} s a run in the mean.

{tables.means(summaries)}

Paired differences in AUROC, imputed minus the other arm (mean ± half the 95 % interval):

{tables.differences(summaries)}

## The images

{tables.mending(summaries)}

## Every seed's AUROC

{tables.by_seed(summaries)}
"""


def main() -> None:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", default="0-4", help="first-last, or a comma list")
    parser.add_argument("--runs", type=Path, default=runs.RUNS)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("more", nargs="*", help="further settings, key=value")
    given = parser.parse_args()
    own = [f"data={given.data.resolve()}", *given.more]
    summaries = [
        runs.completed(
            runs.Run(f"chest-xray-{seed}", [*own, f"seed={seed}"]),
            runs.CHEST_XRAY,
            given.runs.resolve(),
        )
        for seed in runs.numbers(given.seeds)
    ]
    more = "".join(f" {each}" for each in given.more)
    command = f"python benchmarks/chest_xray.py --data FOLDER --seeds {given.seeds}{more}"
    given.out.write_text(page(summaries, command), encoding="utf-8")
    sys.stdout.write(f"wrote {given.out}\n")


if __name__ == "__main__":
    main()

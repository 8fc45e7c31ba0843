"""Two kinds of noise, two shares of noisy images: every arm over several seeds, and a heat map.

    python benchmarks/noise_grid.py --data FOLDER [--seeds 0-4] [--shard 1/4]

The settings are those of experiments/chest-xray.toml but for what SETTINGS says, so that a shard
(a quarter of the grid) takes less than an hour on two cores. Runs that are complete are not run
again, interrupted ones are resumed; the page and the heat map show the cells that are complete,
each with as many seeds as it has. A shard writes neither: repeat the command without --shard when
all of them are done, with --runs naming the folder that holds their runs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine, runs, tables
from benchmarks.heat_map import drawn
from benchmarks.runs import Run, Summary

NOISES = {
    "gaussian+strokes": "strokes(size=medium)+gaussian(std=0.1..0.5)",
    "stripes+blocks": "stripes()+blocks()",
}
SHARES = (0.5, 0.9)
OTHERS = ("raw", "removed", "filtered", "clean", "local")
SETTINGS = (
    "arms=raw,removed,filtered,imputed,clean,local",
    "imputation.epochs=2",
    "classification.rounds=10",
)

Cell = tuple[str, float]


def grid(data: Path, seeds: list[int]) -> dict[tuple[Cell, int], Run]:
    """Return every run of the grid, seeds outermost: what is there first is a whole grid."""
    made = {}
    for seed, name, share in itertools.product(seeds, NOISES, SHARES):
        label = f"grid-{name.replace('+', '-')}-{share}-{seed}"
        own = [f"data={data}", f"noise={NOISES[name]}", f"noise-fraction={share}", f"seed={seed}"]
        made[(name, share), seed] = Run(label, [*own, *SETTINGS])
    return made


def by_cell(found: Mapping[tuple[Cell, int], Summary]) -> dict[Cell, list[Summary]]:
    """Return the summaries of each cell, by seed."""
    cells: dict[Cell, list[Summary]] = {}
    for (cell, _), summary in found.items():
        cells.setdefault(cell, []).append(summary)
    return cells


def page(cells: Mapping[Cell, list[Summary]], command: str, picture: str) -> str:
    """Return the whole Markdown page."""
    settings = " ".join(SETTINGS)
    parts = [
        "# Noise kinds and shares: what mending is worth\n",
        f"Made by `{command}` (settings: `experiments/chest-xray.toml`, but `{settings}`); "
        "sites are told which images are noisy.\n",
        f"{machine.described()}.\n",
        f"![Paired differences in AUROC, imputed minus the other arm]({picture})\n",
    ]
    for (noise, share), summaries in cells.items():
        seeds = ", ".join(str(summary["seed"]) for summary in summaries)
        parts += [
            f"## {noise}, {share:.0%} of the images noisy, seeds {seeds}\n",
            f"`{NOISES[noise]}`\n",
            tables.means(summaries) + "\n",
            "Paired differences in AUROC, imputed minus the other arm "
            "(mean ± half the 95 % interval):\n",
            tables.differences(summaries) + "\n",
            tables.mending(summaries) + "\n",
        ]
    return "\n".join(parts)


def main() -> None:
    """Run what is missing, then write the page and the heat map."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", default="0-4", help="first-last, or a comma list")
    parser.add_argument("--shard", help="k/n: every n-th run, from the k-th")
    parser.add_argument("--runs", type=Path, default=runs.RUNS)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--only-show", action="store_true", help="run nothing")
    given = parser.parse_args()
    wanted, folder = grid(given.data.resolve(), runs.numbers(given.seeds)), given.runs.resolve()
    if not given.only_show:
        first, step = map(int, (given.shard or "1/1").split("/"))
        for run in list(wanted.values())[first - 1 :: step]:
            runs.completed(run, runs.CHEST_XRAY, folder)
    if given.shard:
        return
    found = {key: runs.finished(run, folder) for key, run in wanted.items()}
    cells = by_cell({key: summary for key, summary in found.items() if summary is not None})
    rows = {
        f"{noise}, {share:.0%}": {
            f"{arm}, {test}": tables.advantage(summaries, arm, test)
            for test in tables.TESTS
            for arm in OTHERS
        }
        for (noise, share), summaries in cells.items()
    }
    picture = given.out.with_suffix(".svg")
    picture.write_text(drawn("AUROC, imputed minus …", rows), encoding="utf-8")
    command = f"python benchmarks/noise_grid.py --data FOLDER --seeds {given.seeds}"
    given.out.write_text(page(cells, command, picture.name), encoding="utf-8")
    sys.stdout.write(f"wrote {given.out} and {picture}\n")


if __name__ == "__main__":
    main()

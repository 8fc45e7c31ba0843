"""The claim: classifiers trained on mended images beat the others, and mending never harms.

    python benchmarks/headline.py --data FOLDER --shard 1/2 --minutes 60
    python benchmarks/headline.py --only-show

Every arm over five noises x three shares of noisy images, blind, and with the sites told at a
share of 0.6. FOLDER holds ``pneumoniamnist_balanced.npz`` in the layout of MedMNIST; with
``--study chest`` it is that of experiments/chest-xray.toml, on which three noises at two shares are
to confirm what the large grid shows (:mod:`benchmarks.studies`). Nobody is told which noise it is:
one imputer is trained on a mixture of all of them. Runs are made seed by seed, whole grids first,
within this process, and a line of each is added to ``headline.jsonl`` at once: what is there is not
run again, and shards may be stopped at any time. A cell has ten seeds at least, and more, up to
``--seeds``, until its intervals are narrower than 0.01 on either side. Each line names the settings
it was made with, defaults included; the page shows those made with the present ones.

What does not depend on a cell is run once a seed: the ``clean`` arm where all images are clean,
the arms ``raw`` and ``local`` where the sites are not told. What noise costs an arm, on either
test set, is how far it is below the clean arm on the clean one.

A comparison is superior where the paired difference's 95 % interval lies above 0, and non-inferior
where it lies above -0.01; both after Holm's correction over the cells of one test set.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine, tables
from benchmarks.heat_map import drawn
from benchmarks.intervals import holm, one_sided, paired
from benchmarks.studies import PASS_THROUGH, STUDIES, Cell, Study
from fedmend.settings import Settings

OTHERS = ("raw", "removed")
UNTOLD = ("raw", "local")
"""The arms that ask nobody which images are noisy."""
GAP, MARGIN = 0.02, 0.01
LEAST_SEEDS, NARROW = 10, 0.01
COLUMNS = [
    *itertools.product(("raw", "removed", "filtered", "imputed", "local"), tables.TESTS),
    ("clean", "clean"),
]
Row = dict[str, Any]


def arms(cell: Cell) -> list[str]:
    """Return the arms that a cell runs; the others are those of another cell."""
    if cell == PASS_THROUGH:
        return ["raw", "imputed", "clean"]
    mend = ["removed", "filtered", "imputed"]
    return mend if cell.told else [*mend, *UNTOLD]


def rows(study: Study) -> list[Row]:
    """Return the lines that were made with the present settings."""
    if not study.rows.is_file():
        return []
    lines = (json.loads(line) for line in study.rows.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["made_with"] == study.made_with]


def completed(study: Study, lines: Sequence[Row]) -> dict[Cell, list[Row]]:
    """Return every cell's lines by seed, with the arms of other cells; what waits for them not."""
    known = {(Cell(row["noise"], row["share"], row["told"]), row["seed"]): row for row in lines}
    found: dict[Cell, list[Row]] = {}
    for cell, seed in itertools.product(study.cells, sorted({row["seed"] for row in lines})):
        own, clean = known.get((cell, seed)), known.get((PASS_THROUGH, seed))
        untold = known.get((cell._replace(told=False), seed))
        if own and clean and untold:
            said = {arm: untold["arms"][arm] for arm in UNTOLD if arm in untold["arms"]}
            said |= {"clean": {"clean": clean["arms"]["clean"]["clean"]}}
            found.setdefault(cell, []).append({**own, "arms": {**said, **own["arms"]}})
    return found


def settled(study: Study, cell: Cell, found: Mapping[Cell, Sequence[Row]]) -> bool:
    """Say whether a cell, and every cell that its arms are compared in, needs no more seeds."""
    told = [each for each in study.cells if each == cell._replace(told=True)]
    compared_in = study.cells if cell == PASS_THROUGH else [cell, *told]
    return all(map(functools.partial(_narrow, found), compared_in))


def _narrow(found: Mapping[Cell, Sequence[Row]], cell: Cell) -> bool:
    lines = found.get(cell, ())
    if len(lines) < LEAST_SEEDS:
        return False
    tests = tables.TESTS if cell != PASS_THROUGH else ["clean"]
    others = OTHERS if cell != PASS_THROUGH else ["raw"]
    return all(
        tables.advantage(lines, other, test).half <= NARROW
        for other, test in itertools.product(others, tests)
    )


def run(study: Study, cell: Cell, seed: int, data: Path) -> Row:
    """Run one cell with one seed, in this process, and return its line."""
    import torch
    from flwr.supercore.task_identity import TaskIdentity

    from client_app.app import app
    from server_app.federation import federate
    from tests.grid import LocalGrid

    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    torch.set_num_threads(1)
    scratch = Path(tempfile.mkdtemp(prefix="headline-"))
    started = time.process_time()
    try:
        settings = Settings.parse(
            {
                **study.of(cell, data),
                "arms": ",".join(arms(cell)),
                "seed": seed,
                "run-dir": str(scratch),
                "run-name": "run",
                "cache-dir": str(scratch / "cache"),
            }
        )
        folder = federate(LocalGrid.simulated(app, settings.flat(), study.sites), settings, "run")
        summary = json.loads((folder.path / "summary.json").read_text(encoding="utf-8"))
    finally:
        shutil.rmtree(scratch)
    return {
        "made_with": study.made_with,
        **cell._asdict(),
        "seed": seed,
        "seconds": round(time.process_time() - started),
        "images": summary["images"],
        "detection": summary["imputation"]["detection"],
        "psnr": {k: round(v["psnr"], 3) for k, v in summary["imputation"]["test"].items()},
        "arms": {
            arm: {test: {"auroc": round(tested[test]["auroc"], 5)} for test in tables.TESTS}
            for arm, tested in summary["arms"].items()
        },
    }


def work(study: Study, data: Path, seeds: int, shard: str, minutes: float) -> None:
    """Run what is missing, one run after the other, until the time is over.

    Seeds come one after the other: what is there first is a whole grid.
    """
    first, step = map(int, shard.split("/"))
    until = time.monotonic() + 60 * minutes
    wanted = itertools.product(range(seeds), study.cells)
    for seed, cell in itertools.islice(wanted, first - 1, None, step):
        there = rows(study)
        done = {(Cell(row["noise"], row["share"], row["told"]), row["seed"]) for row in there}
        if (cell, seed) in done or settled(study, cell, completed(study, there)):
            continue
        if time.monotonic() > until:
            return
        line = json.dumps(run(study, cell, seed, data))
        with study.rows.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        sys.stdout.write(f"{cell}, seed {seed}: {json.loads(line)['seconds']} s\n")
        sys.stdout.flush()


class Comparison(NamedTuple):
    """Imputed minus another arm on one test set of one cell."""

    cell: Cell
    other: str
    test: str
    seeds: int
    gap: float
    """What noise costs the other arm: what there is to be won."""
    difference: str
    p_superior: float
    p_inferior: float

    @property
    def to_win(self) -> bool:
        """Say whether the goal is superiority here, rather than doing no harm."""
        return self.gap >= GAP


def compared(found: Mapping[Cell, Sequence[Row]]) -> list[Comparison]:
    """Return every comparison of cells with two seeds at least."""
    made = []
    for cell, lines in found.items():
        if len(lines) < 2 or cell == PASS_THROUGH:
            continue
        for other, test in itertools.product(OTHERS, tables.TESTS):
            ours, theirs = (tables.scores(lines, arm, test) for arm in (tables.OURS, other))
            apart = [a - b for a, b in zip(ours, theirs, strict=True)]
            made.append(
                Comparison(
                    cell,
                    other,
                    test,
                    len(lines),
                    paired(tables.scores(lines, "clean", "clean"), theirs).mean,
                    str(paired(ours, theirs)),
                    one_sided(apart, 0.0),
                    one_sided(apart, -MARGIN),
                )
            )
    return made


def verdicts(made: Sequence[Comparison]) -> list[str]:
    """Return what each comparison comes to, Holm's correction over those of its goal and test."""
    said = [""] * len(made)
    for test, to_win in itertools.product(tables.TESTS, (True, False)):
        places = [n for n, c in enumerate(made) if c.test == test and c.to_win == to_win]
        values = [made[n].p_superior if to_win else made[n].p_inferior for n in places]
        for place, held in zip(places, holm(values), strict=True):
            goal = "superior" if to_win else "not worse"
            said[place] = goal if held else f"not shown: {goal}"
    return said


def page(study: Study, found: Mapping[Cell, Sequence[Row]]) -> str:
    """Return the whole Markdown page."""
    made = compared(found)
    said = verdicts(made)
    held = sum(not verdict.startswith("not shown") for verdict in said)
    settings = " ".join(f"{key}={value!r}" for key, value in study.settings.items())
    asked = "" if study is STUDIES["pneumonia"] else " --study chest"
    count = sum(map(len, found.values()))
    mean = sum(row["seconds"] for lines in found.values() for row in lines) / max(count, 1)
    parts = [
        "# The headline: what mending is worth, and that it does no harm\n",
        f"Made by `python benchmarks/headline.py{asked} --data FOLDER --shard 1/2 --minutes 60` "
        f"and `… 2/2`, repeated. {study.words}, {study.sites} sites; settings `{settings}`.\n",
        f"{machine.described()}. {mean:.0f} s of one core a run in the mean.\n",
        "The imputer is trained on the mixture of all noises, whichever the cell's is; sites "
        "find the noisy images themselves, except where it says *told*. AUROC, mean over seeds.\n",
        f"Goal: superior wherever noise costs the other arm at least {GAP}, against the classifier "
        "of clean images on the clean test images, and elsewhere not worse by "
        f"{MARGIN}; one-sided paired t-tests at 2.5 %, after Holm over the comparisons of "
        f"one test set and goal. **Shown in {held} of {len(said)} comparisons.**\n",
        "How mended images are shown in training, and which classifier is kept, were settled on "
        "with test scores on PneumoniaMNIST in view.\n",
        f"![Paired differences in AUROC, imputed minus the other arm]({study.name}.svg)\n",
        "## Comparisons\n",
        "| noise, share | test | other arm | seeds | noise costs it | imputed minus it | shown |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {c.cell} | {c.test} | {c.other} | {c.seeds} | {c.gap:+.3f} | {c.difference} | {v} |"
            for c, v in zip(made, said, strict=True)
        ),
        "\n## Clean pass-through\n",
        _pass_through(found.get(PASS_THROUGH, ())),
        "## Every arm\n",
        "| noise, share | seeds | PSNR noisy → imputed | detection AUROC | false alarms | "
        + " | ".join(f"{arm} {test}" for arm, test in COLUMNS) + " |",
        "|---" * (5 + len(COLUMNS)) + "|",
        *(_line(cell, lines) for cell, lines in found.items() if cell != PASS_THROUGH),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _pass_through(lines: Sequence[Row]) -> str:
    """Return what becomes of images that are all clean."""
    if not lines:
        return "Not run yet.\n"
    changed = [row["images"]["mended"] / row["images"]["train"] for row in lines]
    apart = tables.advantage(lines, "raw", "clean")
    return (
        f"With clean training images alone, blind, {len(lines)} seeds: "
        f"{sum(changed) / len(changed):.2%} of them are changed (goal: at most 2 %), "
        f"{max(changed):.2%} at most; imputed minus raw on the clean test images is {apart} "
        "(goal: within 0.005).\n"
    )


def _line(cell: Cell, lines: Sequence[Row]) -> str:
    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    cells = [
        str(cell),
        str(len(lines)),
        " → ".join(f"{mean([row['psnr'][k] for row in lines]):.1f}" for k in ("noisy", "imputed")),
        f"{mean([row['detection']['auroc'] for row in lines]):.3f}",
        f"{mean([row['detection']['false_alarm'] for row in lines]):.1%}",
        *(f"{mean(tables.scores(lines, arm, test)):.3f}" for arm, test in COLUMNS),
    ]
    return f"| {' | '.join(cells)} |"


def show(study: Study) -> None:
    """Write the page and the heat map of what is there."""
    there = completed(study, rows(study))
    picture = {
        str(cell): {
            f"{arm}, {test}": tables.advantage(lines, arm, test)
            for arm, test in COLUMNS
            if arm != tables.OURS
        }
        for cell, lines in there.items()
        if cell != PASS_THROUGH
    }
    drawing = drawn("AUROC, imputed minus …", picture)
    study.rows.with_suffix(".svg").write_text(drawing, encoding="utf-8")
    study.rows.with_suffix(".md").write_text(page(study, there), encoding="utf-8")
    sys.stdout.write(f"{sum(map(len, there.values()))} runs shown\n")


def main() -> None:
    """Run what is missing, then write the page and the heat map."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--study", choices=STUDIES, default="pneumonia")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=30, help="at most")
    parser.add_argument("--shard", default="1/1", help="k/n: every n-th run, from the k-th")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only-show", action="store_true", help="run nothing")
    given = parser.parse_args()
    study = STUDIES[given.study]
    if not given.only_show:
        if given.data is None:
            parser.error("--data FOLDER is needed to run anything")
        work(study, given.data.resolve(), given.seeds, given.shard, given.minutes)
    show(study)


if __name__ == "__main__":
    main()

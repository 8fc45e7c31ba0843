"""Strike a real federation in every way there is, and write the table of docs/deployment.md.

``python benchmarks/faults.py`` takes about an hour. Words are passed on to pytest:
``python benchmarks/faults.py -k "supernode"`` renews the rows of those faults alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "deployment.md"
TESTS = ROOT / "tests" / "deploy" / "test_faults.py"
BEGIN, END = "<!-- faults: python benchmarks/faults.py -->", "<!-- end of faults -->"
COLUMNS = ("fault", "phase", "seen", "seconds")


def strike(words: Sequence[str], report: Path) -> int:
    """Run the tests, which add a line of JSON to the report each; return their exit status."""
    command = [
        sys.executable, "-m", "pytest", str(TESTS), "-q", "-m", "faults or engine",
        "-p", "no:randomly", *words,
    ]  # fmt: skip
    environment = {**os.environ, "FEDMEND_FAULT_ROWS": str(report)}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def rows(report: Path) -> list[Mapping[str, str]]:
    """Return what the tests that passed have seen, in their order."""
    lines = report.read_text(encoding="utf-8").splitlines() if report.exists() else []
    return [json.loads(line) for line in lines]


def kept(page: str) -> list[Mapping[str, str]]:
    """Return the rows that the page has."""
    table = page.partition(BEGIN)[2].partition(END)[0]
    lines = [line.strip("| ") for line in table.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    return [dict(zip(COLUMNS, each, strict=True)) for each in cells if len(each) == len(COLUMNS)]


def page_with(page: str, fresh: Sequence[Mapping[str, str]]) -> str:
    """Return the page with its table renewed; rows that were not run stay."""
    named = {(row["fault"], row["phase"]): row for row in (*kept(page)[1:], *fresh)}
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---|---|---:|"]
    lines += ["| " + " | ".join(row[each] for each in COLUMNS) + " |" for row in named.values()]
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return "\n".join((before + BEGIN, *lines, END)) + after


def main() -> int:
    """Run the tests and renew the table."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "rows.jsonl"
        status = strike(sys.argv[1:], report)
        fresh = rows(report)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page_with(page, fresh), encoding="utf-8")
    print(f"{len(fresh)} rows written to {PAGE.name}")
    return status


if __name__ == "__main__":
    sys.exit(main())

"""``fedmend check``: what a run would find and cost, before it is started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.table import Table

from client_app.member import Member
from client_app.site import LocalSite
from client_app.survey.counts import refusals
from commands import forecast, reading, refused, simulation
from commands.arguments import read
from commands.console import out
from fedmend.errors import DataError
from fedmend.records import SPLITS, Record, Rejected
from fedmend.settings import Settings

_UNLABELLED = "(unlabelled)"
_KIB = 1024.0


def check(words: Sequence[str], options: Mapping[str, int | float | None], *, listed: bool) -> None:
    """Build every spec, read the data as a run would, count and foresee.

    What is decoded and derived stays in the cache, so that a run that follows starts at once.

    Args:
        words: an experiment file and settings.
        options: of the simulation, None where not given.
        listed: whether files that cannot be used are named.

    Raises:
        UserError: a run with these settings or data would not work.
    """
    request = read(words)
    wanted = simulation.merged(request.simulation, options)
    settings = Settings.parse(request.settings)
    size = simulation.sized(
        settings, wanted, core_count=simulation.cores(), gpu_count=simulation.gpus()
    )
    found = _sites(settings, size.sites, settings.class_list)
    records = {site.name: site.rows()[0] for site in found}
    classes = _classes(settings, records)
    console = out()
    console.print(counts(records, classes))
    refused.show(console, refusals(_rejected(found)), listed=listed)
    labelled = [name for name in classes if name]
    sites = _sites(settings, size.sites, labelled)  # now that it is known how labels are numbered
    costs = forecast.costs(settings, sites, labelled, size)
    images = sum(len(own) for own in records.values())
    console.print(foreseen(costs, forecast.disk(settings, sites, images)))


def _sites(settings: Settings, number: int, classes: Sequence[str]) -> list[LocalSite]:
    """Open every simulated site, and with it decode what is not in the cache."""
    sites = []
    with reading.shown(out()) as progress:
        for each in range(number):
            node = {"partition-id": each, "num-partitions": number}
            # One site after another: the machine is each one's own meanwhile.
            member = replace(Member.of(node, each, settings), busy=False)
            site = member.site(settings, classes, progress=progress)
            site.rows()
            sites.append(site)
    return sites


def _classes(settings: Settings, records: Mapping[str, Sequence[Record]]) -> list[str]:
    """Return the run's classes, and "" behind them where images are unlabelled.

    Raises:
        DataError: fewer than two, or one that no site has.
    """
    found = {record.label or "" for own in records.values() for record in own}
    classes = list(settings.class_list) or sorted(found - {""})
    if strays := [name for name in classes if name not in found]:
        raise DataError(f"no site has images of class {', '.join(strays)}")
    if len(classes) < 2:
        raise DataError(
            f"a classifier needs two classes or more; the sites have {', '.join(classes) or 'none'}"
        )
    return [*classes, *([""] if "" in found else [])]


def _rejected(sites: Sequence[LocalSite]) -> list[Rejected]:
    """Return the files that cannot be used; where sites share a source, once."""
    shared = any(site.share.of > 1 for site in sites)
    return [each for site in (sites[:1] if shared else sites) for each in site.source.rejected]


def counts(records: Mapping[str, Sequence[Record]], classes: Sequence[str]) -> Table:
    """Return the table of images by site, split and class."""
    table = Table(title="images (train / val / test)")
    table.add_column("site")
    for name in ("all", *classes):
        table.add_column(name or _UNLABELLED, justify="right")
    total: Counter[tuple[str, str]] = Counter()
    for site, own in records.items():
        counted = Counter((record.split, record.label or "") for record in own)
        total += counted
        table.add_row(site, *_cells(counted, classes))
    table.add_section()
    table.add_row("all", *_cells(total, classes))
    return table


def _cells(counted: Counter[tuple[str, str]], classes: Sequence[str]) -> list[str]:
    rows = [[counted[split, name] for split in SPLITS] for name in classes]
    whole = [sum(n for (split, _), n in counted.items() if split == each) for each in SPLITS]
    return [" / ".join(str(n) for n in row) for row in (whole, *rows)]


def foreseen(costs: Sequence[forecast.Cost], disk: int) -> Table:
    """Return the table of what a run will cost."""
    table = Table(title=f"foreseen: {_duration(forecast.total(costs))}, {_size(disk)} of cache")
    for name in ("phase", "arms", "parameters", "a step", "time", "sites send", "sites receive"):
        table.add_column(name, justify="left" if name == "phase" else "right")
    for cost in costs:
        table.add_row(
            cost.phase,
            str(cost.arms),
            f"{cost.parameters:,}",
            f"{cost.step * 1000:.0f} ms",
            _duration(cost.seconds),
            _size(cost.up),
            _size(cost.down),
        )
    return table


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < _KIB:
            return f"{number:.3g} {unit}"
        number /= _KIB
    return f"{number:.3g} GiB"

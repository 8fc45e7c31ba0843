"""``fedmend inspect``: what a folder holds and how noisy its images are, at the site alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client_app import listing
from client_app.calibration import FITTED, said
from client_app.opening import spec_for
from client_app.pictures import Pictures
from client_app.survey import page, scores
from client_app.survey.counts import left_over
from client_app.survey.look import Survey, look
from client_app.survey.scores import Score, distribution
from commands import reading, refused
from commands.console import out
from commands.outputs import vacant
from fedmend import plugins
from fedmend.errors import RunError, SettingsError
from fedmend.files import write_atomically
from fedmend.settings import Settings
from imputation.detectors.base import Detector

_BAR = 40
"""Characters of the longest."""
_MOST_VALUES = 12
"""Of a trait that are shown on the terminal."""


class Request(NamedTuple):
    """What is asked for."""

    path: str
    """A folder, a file, or a reader's spec."""
    settings: Mapping[str, str | int]
    """By which a run would see the images, where they are not the defaults."""
    worst: int
    """Images that the terminal names."""
    listed: bool
    """Whether files that cannot be used are named."""
    csv: Path | None
    html: Path | None
    thumbnails: int
    """Of the page, at most."""
    force: bool
    """Whether files may be replaced."""
    calibrate: bool = True
    """Whether the detector is set to these images."""


def inspect(request: Request) -> None:
    """Look at every image once, print what was found, and write what was asked for.

    Raises:
        UserError: the images cannot be used as asked.
    """
    csv, html = (
        vacant(option, path, force=request.force) if path else None
        for option, path in (("--csv", request.csv), ("--html", request.html))
    )
    if csv is not None and csv == html:
        raise SettingsError("--csv and --html name the same file", local=str(csv))
    settings = Settings.read(request.settings)
    detector: Detector = plugins.DETECTORS.build(settings.detector)
    torch.set_num_threads(settings.threads)  # as at a site; the threads that decode are others
    spec = spec_for(request.path)
    reader = plugins.READERS.build(spec)
    with reading.shown(Console(stderr=True)) as progress:
        pictures = Pictures(
            reader, size=settings.image_size, channels=settings.channels, progress=progress
        )
        learnt = pictures.learnt(detector, settings, believed=True) if request.calibrate else None
        if learnt is not None:
            detector = detector.calibrated(learnt.kept.get(FITTED, {}))
        survey = look(pictures, detector, thumbnails=request.thumbnails if html else 0)
    console = out()
    # The name of a reader, that is: what a folder is taken for, by what it holds.
    console.print(Text(f"read as {spec.partition('(')[0]}(…)"))
    if survey.scores:
        _show(console, survey, said(learnt), request.worst)
    refused.show(console, survey.refused, listed=request.listed)
    if csv is not None:
        listing.write(csv, scores.COLUMNS, map(scores.cells, survey.scores))
        console.print(Text(f"scores: {csv}"), soft_wrap=True)
    if html is not None:
        write_atomically(html, page.rendered(survey, settings, request.path))
        console.print(Text(f"page:   {html}"), soft_wrap=True)
    if not survey.scores:
        raise RunError("there is no image here that can be used")


def _show(console: Console, survey: Survey, calibrated: str, worst: int) -> None:
    totals = survey.counts.totals | left_over(survey.refused)
    totals["cannot be used"] = sum(len(each.files) for each in survey.refused)
    words = ", ".join(f"{number:,} {name}" for name, number in totals.items())
    console.print(Text(words), soft_wrap=True)
    console.print(kinds(survey))
    console.print(Text(calibrated), soft_wrap=True)
    console.print(spread(survey.scores))
    agreed = scores.agreement(survey.scores)
    if agreed is not None:
        console.print(f"AUROC of the score against what the site vouches for: {agreed:.3f}")
    if worst:
        console.print(ranking(survey.scores[:worst]))


def kinds(survey: Survey) -> Table:
    """Return the table of how many images have which trait."""
    table = Table(title="images by kind")
    table.add_column("what")
    table.add_column("value", overflow="fold")
    table.add_column("images", justify="right")
    for title, values in survey.counts.kinds.items():
        table.add_section()
        shown, rest = values[:_MOST_VALUES], values[_MOST_VALUES:]
        if rest:
            shown = [*shown, (f"({len(rest)} more)", sum(number for _, number in rest))]
        for place, (value, number) in enumerate(shown):
            name = title if place == 0 else ""
            table.add_row(name, Text(listing.legible(value)), f"{number:,}")
    return table


def spread(found: Sequence[Score]) -> Table:
    """Return the distribution of the scores, flagged images apart."""
    flagged = sum(score.flagged for score in found)
    table = Table(title=f"noise scores: {flagged:,} of {len(found):,} images flagged")
    table.add_column("score", justify="right")
    table.add_column("images", justify="right")
    table.add_column("flagged", justify="right")
    table.add_column("")
    bins = distribution(found)
    most = max(each.clear + each.flagged for each in bins)
    for each in bins:
        clear, noisy = (round(_BAR * part / most) for part in (each.clear, each.flagged))
        bar = Text("░" * clear) + Text("█" * noisy, style="red")
        images = f"{each.clear + each.flagged:,}"
        table.add_row(f"{each.low:.1f} to {each.high:.1f}", images, f"{each.flagged:,}", bar)
    return table


def ranking(found: Sequence[Score]) -> Table:
    """Return the table of single images."""
    table = Table(title=f"the {len(found)} worst")
    table.add_column("score", justify="right")
    table.add_column("flagged")
    table.add_column("size", justify="right")
    table.add_column("modality")
    table.add_column("label")
    table.add_column("image", overflow="fold")
    for score in found:
        _, height, width = score.shape
        words = (score.traits.modality, score.label or "", str(score.place))
        table.add_row(
            f"{score.value:.2f}",
            "yes" if score.flagged else "no",
            f"{height} x {width}",
            *(Text(listing.legible(word)) for word in words),
        )
    return table

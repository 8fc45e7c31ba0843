"""``fedmend impute``: a hospital mends its own files, with no federation running."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text
from torch import nn

from client_app.calibration import said
from client_app.mending.derived import Made
from client_app.mending.memory import Memory, calibrated
from client_app.mending.mender import Mender, Scale
from client_app.mending.originals import originals, tree_of
from client_app.mending.samples import Cut
from client_app.mending.target import Target
from client_app.mending.work import Summary, Work
from client_app.opening import reader_for
from client_app.workers import cores
from commands import reading
from commands.console import complain, out
from fedmend import checks, models, plugins
from fedmend.errors import SettingsError
from fedmend.models import ModelFile
from fedmend.training import placed
from imputation.detectors.base import Detector


class Options(NamedTuple):
    """How to mend."""

    detector: str
    """Spec; empty: that of the run which the imputer comes from."""
    scale: Scale
    device: str
    """auto, cpu, cuda, cuda:N or mps."""
    threads: int
    """Of the CPU; the same number gives the same bits."""
    calibrate: bool = True
    """Whether the detector is set to these images."""


def impute(path: str, imputer: Path, folder: Path, options: Options) -> None:
    """Mend what is flagged, and say what became of the images.

    Args:
        path: a folder, a file or a reader's spec.
        imputer: a model file.
        folder: for the mended images.
        options: how.

    Raises:
        UserError: something given makes no sense, or the work cannot go on.
    """
    reader = reader_for(path)
    target = Target(folder, tree_of(reader).root)
    file = models.read(imputer.expanduser(), "imputer")
    spec = options.detector or file.settings.detector
    with checks.named("detector"):
        detector: Detector = plugins.DETECTORS.build(spec)
    network = _network(file, options)
    with reading.shown(Console(stderr=True)) as progress:
        listed = originals(reader, workers=cores(), progress=progress)
        memory = learnt = None
        if options.calibrate:
            sample = Cut(reader, file.image_size, file.channels, options.scale)
            key = (spec, options.scale, file.image_size, file.channels, file.settings.split)
            memory = Memory(target, (*key, file.settings.seed, listed.decoding))
            learnt = memory.learnt(detector, listed, sample, file.settings, progress)
    how = f"detector {spec}{calibrated(learnt)}, scale {options.scale}"
    if listed.decoding:
        how += f", shown as {listed.decoding}"
    mender = Mender(
        network, file.channels, file.image_size, detector, options.scale, file.routes,
        learnt.kept if learnt else None,
    )  # fmt: skip
    console = out()
    columns = (
        TextColumn("mending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("mending", total=sum(map(len, listed.files.values())))
        work = Work(listed, mender, Made(file.digest, how), target, memory)
        summary = work.run(lambda count: bar.advance(task, count))
    for line in (*told(summary), said(learnt)):
        console.print(Text(line), soft_wrap=True)
    for reason, number in summary.unusable.most_common():
        complain(f"{number} cannot be used: {reason}")


def _network(file: ModelFile, options: Options) -> nn.Module:
    """Build the imputer where it is to compute.

    Raises:
        DataError: the model file does not fit.
        SettingsError: no such device or number of threads, or the device has too little memory.
    """
    settings = dataclasses.replace(file.settings, device=options.device)
    checks.ranges(settings)
    torch.set_num_threads(options.threads)
    network = file.build()
    try:
        return placed(network, settings)
    except torch.OutOfMemoryError as error:
        raise SettingsError(
            f"the imputer is too large for the memory of device {options.device!r}: make room "
            "there, or give another --device",
            local=str(error).partition("\n")[0],
        ) from error
    except (AssertionError, RuntimeError) as error:
        raise SettingsError(
            f"device {options.device!r} cannot be used on this machine", local=str(error)
        ) from error


def told(summary: Summary) -> list[str]:
    """Return the lines that say what became of the images.

    >>> from collections import Counter
    >>> told(Summary(Counter(mended=2, clean=3), 2, Counter(), Counter(), 2, 0, 5))
    ['5 images: 2 flagged, 2 mended, 3 untouched', '2 files written']
    """
    counts = summary.outcomes
    total, lost = sum(counts.values()), counts["unusable"]
    first = [
        f"{summary.flagged} flagged",
        f"{counts['mended']} mended",
        f"{total - counts['mended'] - lost} untouched",
        *([f"{lost} not usable"] if lost else []),
    ]
    lines = [f"{_some(total, 'image')}: {', '.join(first)}"]
    if counts["unchanged"]:
        lines.append(f"{counts['unchanged']} flagged, but the imputer changes nothing in them")
    lines += [f"{number} not mended: {why}" for why, number in summary.not_mended.most_common()]
    if not summary.looked_at and not summary.files_removed:
        lines.append("nothing to do: all of it was done before")
    else:
        lines.append(f"{_some(summary.files_written, 'file')} written")
    if summary.files_removed:
        lines.append(f"{_some(summary.files_removed, 'earlier file')} deleted")
    return lines


def _some(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

"""``fedmend predict``: a run's classifier on a folder of this site, no federation running."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from classification import metrics
from client_app import listing
from client_app.calibration import said
from client_app.opening import reader_for
from client_app.pairing import of_one_run
from client_app.pictures import Pictures
from client_app.prediction import Predicted, Prediction, Predictor
from client_app.survey.counts import refusals
from commands import reading, refused
from commands.console import complain, out
from commands.outputs import vacant
from fedmend import models
from fedmend.errors import RunError
from fedmend.models import ModelFile

_METRICS = (
    ("accuracy", "accuracy"),
    ("balanced_accuracy", "balanced accuracy"),
    ("auroc", "AUROC"),
    ("f1", "F1"),
    ("ece", "calibration error"),
)


class Request(NamedTuple):
    """What is asked for."""

    path: str
    """A folder, a file, or a reader's spec."""
    classifier: Path
    imputer: Path | None
    out: Path
    device: str
    force: bool
    """Whether ``out`` may replace a file."""
    listed: bool
    """Whether files that cannot be used are named."""
    calibrate: bool = True
    """Whether the detector is set to these images."""


def predict(request: Request) -> None:
    """Classify every image and write the answers.

    Raises:
        UserError: the images or models cannot be used as asked; nothing was written.
    """
    target = vacant("--out", request.out, force=request.force)
    classifier = models.read(request.classifier.expanduser(), "classifier")
    imputer = models.read(request.imputer.expanduser(), "imputer") if request.imputer else None
    predictor = Predictor(classifier, imputer, request.device)
    torch.set_num_threads(classifier.settings.threads)  # another number sums in another order
    reader = reader_for(request.path)
    with reading.shown(Console(stderr=True)) as progress:
        pictures = Pictures(
            reader, size=predictor.size, channels=predictor.channels, progress=progress
        )
        told = predictor.calibrate(pictures) if request.calibrate else said(None)
        found = predictor.predict(pictures)
    console = out()
    refused.show(console, refusals(found.rejected), listed=request.listed)
    if not found.predictions:
        raise RunError("there is no image here that can be used; nothing was written")
    listing.write(target, columns(predictor.classes), rows(found, predictor.classes))
    console.print(Text(told), soft_wrap=True)
    _show(found.predictions, classifier, imputer)
    console.print(Text(f"written to {target}"), soft_wrap=True)


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of the answers: those of the probabilities are called p:CLASS."""
    probabilities = (f"p:{name}" for name in classes)
    return (
        "path", "frame", "uid", "score", "flagged", "mended", *probabilities, "predicted", "label",
    )  # fmt: skip


def rows(found: Predicted, classes: Sequence[str]) -> Iterable[tuple[listing.Cell, ...]]:
    """Yield a row per image, under :func:`columns`."""
    for each in found.predictions:
        yield (
            *each.place, each.uid, each.score, each.flagged, each.mended,
            *each.probabilities().tolist(), classes[int(each.logits.argmax())], each.label,
        )  # fmt: skip


def _show(
    predictions: Sequence[Prediction], classifier: ModelFile, imputer: ModelFile | None
) -> None:
    classes = classifier.classes
    console = out()
    if imputer is not None and not of_one_run(classifier, imputer):
        complain("the imputer and the classifier come from runs with different settings")
    flagged, mended = (sum(getattr(e, n) for e in predictions) for n in ("flagged", "mended"))
    console.print(
        Text(
            f"{len(predictions)} images, {flagged} held to be noisy, {mended} mended; "
            f"classifier of arm {classifier.arm}"
        ),
        soft_wrap=True,
    )
    answers = Counter(classes[int(each.logits.argmax())] for each in predictions)
    table = Table()
    table.add_column("class")
    table.add_column("predicted", justify="right")
    table.add_column("labelled", justify="right")
    labels = Counter(each.label for each in predictions)
    for name in classes:
        table.add_row(Text(listing.legible(name)), str(answers[name]), str(labels[name]))
    console.print(table)
    strays = sum(number for name, number in labels.items() if name and name not in classes)
    if strays:
        complain(f"{strays} images have labels that the classifier does not know")
    if worth := measured(predictions, classes):
        console.print(Text(worth), soft_wrap=True)


def measured(predictions: Sequence[Prediction], classes: Sequence[str]) -> str:
    """Return what the answers are worth against labels; empty where no image has a known one."""
    known = [each for each in predictions if each.label in classes]
    if not known:
        return ""
    logits = torch.from_numpy(np.stack([each.logits for each in known]))
    truth = torch.tensor([classes.index(str(each.label)) for each in known])
    scores = metrics.reduce(metrics.sums(logits, truth), len(classes))
    figures = (
        f"{title} {value:.3f}" for key, title in _METRICS if (value := scores[key]) is not None
    )
    return f"on {len(known)} labelled images: {', '.join(figures)}"

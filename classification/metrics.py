"""What a classifier is worth: sums that sites add up, and the metrics they reduce to."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from fedmend import histogram
from fedmend.sums import Sums, ratio

CALIBRATION_BINS = 15
"""Equally wide bins of confidence, as in Guo et al., "On Calibration of Modern Neural Networks"."""

Floats = npt.NDArray[np.float64]


def sums(logits: Tensor, labels: Tensor) -> dict[str, Floats]:
    """Return what a set of images adds to the metrics.

    Logits that are not finite make the sum of the losses not finite, by which the reply is
    recognised and dropped; they are otherwise counted as if all were equal.

    Args:
        logits: (n, K), n possibly 0.
        labels: (n,) class indices in [0, K).

    Returns:
        n: (1,); loss: (1,), summed cross-entropy in nats; confusion: (K * K,), counts by truth,
        then prediction; calibration: (3 * 15,), by bin of the confidence the number of images,
        of right answers and the sum of confidences; auroc: one histogram of
        :mod:`fedmend.histogram` per class against the rest (of two classes: of the second
        alone, as the first's is its mirror image).
    """
    exact = logits.detach().cpu().double()
    truth = labels.detach().cpu().long()
    loss = functional.cross_entropy(exact, truth, reduction="sum") if len(truth) else exact.sum()
    exact = torch.where(exact.isfinite().all(dim=1, keepdim=True), exact, 0.0)
    return {
        "n": np.array([float(len(truth))]),
        "loss": np.array([float(loss)]),
        "confusion": _confusion(exact, truth),
        "calibration": _calibration(exact, truth),
        "auroc": np.concatenate(
            [
                histogram.counts(_log_odds(exact, each).numpy(), (truth == each).numpy())
                for each in _ranked(exact.shape[1])
            ]
        ),
    }


def _ranked(classes: int) -> range:
    """Return the classes that have a histogram."""
    return range(1, 2) if classes == 2 else range(classes)


def _log_odds(logits: Tensor, each: int) -> Tensor:
    """Return (n,): log(p / (1 - p)) of one class, without ever forming p, which rounds to 1."""
    others = torch.cat([logits[:, :each], logits[:, each + 1 :]], dim=1)
    return logits[:, each] - others.logsumexp(dim=1)


def _confusion(logits: Tensor, truth: Tensor) -> Floats:
    classes = logits.shape[1]
    cell = truth * classes + logits.argmax(dim=1)
    return torch.bincount(cell, minlength=classes**2).numpy().astype(np.float64)


def _calibration(logits: Tensor, truth: Tensor) -> Floats:
    confidence, answer = logits.softmax(dim=1).max(dim=1)
    place = (confidence * CALIBRATION_BINS).long().clamp(max=CALIBRATION_BINS - 1).numpy()
    columns = (torch.ones_like(confidence), (answer == truth).double(), confidence)
    total = [np.bincount(place, each.numpy(), CALIBRATION_BINS) for each in columns]
    return np.concatenate(total).astype(np.float64)  # NumPy counts nothing in integers


def reduce(total: Sums, classes: int) -> dict[str, float | None]:
    """Return the metrics of merged sums; None where one is not defined, never NaN.

    Args:
        total: of :func:`sums`, merged over sites; what is missing counts as zero.
        classes: K.

    Returns:
        n: number of images; accuracy; balanced_accuracy: mean recall of the classes that occur;
        auroc: mean over the classes that some images have and others have not, each against the
        rest; f1: mean over the classes that occur or are answered; ece: expected calibration
        error; loss: mean cross-entropy in nats.
    """
    confusion = np.asarray(total.get("confusion", np.zeros(classes**2)), dtype=np.float64)
    table = confusion.reshape(classes, classes)
    hit, true, said = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    count = float(table.sum())
    metrics = {
        "accuracy": float(hit.sum()) / count if count else None,
        "balanced_accuracy": _mean(hit, true),
        "auroc": _auroc(total, classes),
        "f1": _mean(2 * hit, true + said),
        "ece": _ece(total),
        "loss": ratio(total, "loss", "n"),
    }
    known = {key: _finite(value) for key, value in metrics.items()}
    return {"n": count, **known}


def standard_error(total: Sums, classes: int) -> float:
    """Return the standard error of the "auroc" of :func:`reduce`, else of "balanced_accuracy".

    The classes' errors are added up as if they went together, which they may; 0 of neither.
    """
    known = [each for each in map(histogram.auroc_error, _areas(total, classes)) if each]
    if known:
        return sum(known) / len(known)
    confusion = np.asarray(total.get("confusion", np.zeros(classes**2)), dtype=np.float64)
    table = confusion.reshape(classes, classes)
    true = table.sum(axis=1)
    recall = ((np.diag(table) + 0.5) / (true + 1))[true > 0]
    errors = np.sqrt(recall * (1 - recall) / true[true > 0])
    return float(errors.mean()) if len(errors) else 0.0


def _mean(parts: Floats, wholes: Floats) -> float | None:
    """Return the mean of the quotients that are defined."""
    defined = wholes > 0
    return float((parts[defined] / wholes[defined]).mean()) if defined.any() else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _areas(total: Sums, classes: int) -> Floats:
    """Return the histograms of the classes that have one, (number, 2 * bins)."""
    return np.reshape(total.get("auroc", np.zeros(0)), (len(_ranked(classes)), -1))


def _auroc(total: Sums, classes: int) -> float | None:
    known = [area for area in map(histogram.auroc, _areas(total, classes)) if area is not None]
    return sum(known) / len(known) if known else None


def _ece(total: Sums) -> float | None:
    """Return the mean over images of |accuracy - confidence| of their bins."""
    if "calibration" not in total:
        return None
    count, right, confidence = total["calibration"].reshape(3, CALIBRATION_BINS)
    return float(np.abs(right - confidence).sum() / count.sum()) if count.sum() else None

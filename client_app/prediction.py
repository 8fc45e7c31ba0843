"""Classifying a folder as a run would have done it, with the models that a run has left.

An image is decoded, fitted and kept in 16 bits as at a site, scored by the run's detector, mended
where the classifier's arm mends, and classified. An answer depends on its image, and on what the
detector was calibrated on, alone: models are always given batches of the same shape, since another
shape may sum in another order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from classification.selection import EVALUATION_BATCH
from client_app.calibration import FITTED, said
from client_app.pairing import checked
from client_app.pictures import Picture, Pictures, stacked
from client_app.place import Place
from fedmend import plugins, training
from fedmend.arms import Arm
from fedmend.errors import DataError, SettingsError
from fedmend.models import ModelFile
from fedmend.records import Pixels, Record, Rejected, quantised
from fedmend.site import Examined
from imputation.detectors.base import Detector, examined
from imputation.mending import Mending
from imputation.routing import filtering

Mender = Callable[[Tensor], tuple[Tensor, npt.NDArray[np.bool_]]]
"""(n, C, H, W) in [0, 1] to the same, mended where that was to the good, and where it was."""


class Prediction(NamedTuple):
    """One image and what the classifier answers. It never leaves the site."""

    place: Place
    uid: str
    label: str | None
    score: float
    """The detector's, larger for noisier."""
    flagged: bool
    """Held to be noisy: the site's own word where it counts, else the detector's."""
    mended: bool
    logits: npt.NDArray[np.float32]
    """(K,), in the order of the classifier's classes."""

    def probabilities(self) -> npt.NDArray[np.float64]:
        """Return (K,), summing to 1."""
        return torch.from_numpy(self.logits).double().softmax(0).numpy()


class Predicted(NamedTuple):
    """What became of a folder."""

    predictions: Sequence[Prediction]
    """Of every image that can be decoded, sorted by place."""
    rejected: Sequence[Rejected]


class Predictor:
    """A classifier, and what its arm does to an image before it is shown to it.

    Args:
        classifier: as a run has left it.
        imputer: of the same run; for an arm that mends with it, and no other.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        DataError: the two files do not fit each other, or not the models that they name.
        SettingsError: the arm needs an imputer, or has no use for one; or there is no such device.
        SpecError: this version of fedmend lacks what the files name.
    """

    def __init__(
        self, classifier: ModelFile, imputer: ModelFile | None = None, device: str = "auto"
    ) -> None:
        arm = checked(classifier, imputer)
        self.settings = dataclasses.replace(classifier.settings, device=device)
        check_device(device)
        self.classes = classifier.classes
        self.size, self.channels = classifier.image_size, classifier.channels
        self._plain: Detector = plugins.DETECTORS.build(self.settings.detector)
        self._detector = self._plain
        self._mender = self._mender_of(arm, imputer)
        self._model = training.placed(classifier.build(), self.settings)

    def _mender_of(self, arm: Arm, imputer: ModelFile | None) -> Mender | None:
        if arm.mend == "filter":
            return _filtering(self.settings.filter)
        return None if imputer is None else self._imputing(imputer)

    def _imputing(self, imputer: ModelFile) -> Mender:
        model = training.placed(imputer.build(), self.settings)
        mending = Mending(model, imputer.routes, self._plain.kinds, self._examined)

        @torch.inference_mode()
        def mend(images: Tensor) -> tuple[Tensor, npt.NDArray[np.bool_]]:
            outcome = mending(images)
            return outcome.images, outcome.accepted

        return mend

    def _examined(self, images: Tensor) -> Examined:
        """Ask the detector, as it is by now."""
        return examined(self._detector, images)

    def calibrate(self, pictures: Pictures) -> str:
        """Set the detector to a folder's images, as a run sets it to a site's; say what came of it.

        Args:
            pictures: of the classifier's size and channels.

        Raises:
            DataError: the folder as a whole cannot be used.
            RunError: the disk fails, or the images changed since they were listed.
        """
        learnt = pictures.learnt(self._plain, self.settings, believed=self._believing)
        self._detector = self._plain.calibrated(learnt.kept.get(FITTED, {}))
        return said(learnt)

    def predict(self, pictures: Pictures) -> Predicted:
        """Classify every image, some at a time; nothing is kept on disk.

        Args:
            pictures: of the classifier's size and channels.

        Raises:
            DataError: the classifier's answers are not finite, or the folder as a whole cannot
                be used.
            RunError: the disk fails, or the images changed since they were listed.
        """
        made: list[Prediction] = []
        for chunk in pictures.batches():
            made += self._predicted(chunk)
        return Predicted(sorted(made, key=lambda each: each.place), pictures.refused)

    def _predicted(self, chunk: Sequence[Picture]) -> Iterator[Prediction]:
        images = stacked(chunk)
        seen = self._examined(images)
        pairs = zip(chunk, seen.alarm.tolist(), strict=True)
        flagged = np.array([self._held_noisy(each.record, alarm) for each, alarm in pairs])
        shown, mended = self._shown(images, flagged)
        logits = self._answers(shown)
        for row, (record, place, *_) in enumerate(chunk):
            yield Prediction(
                place, record.uid, record.label, float(seen.score[row]),
                bool(flagged[row]), bool(mended[row]), logits[row],
            )  # fmt: skip

    @property
    def _believing(self) -> bool:
        """Whether a site's own word on its images counts."""
        return self.settings.noise_known or not self.settings.simulates_noise

    def _held_noisy(self, record: Record, alarm: bool) -> bool:
        """Return what a site holds an image to be; see :class:`fedmend.site.View`."""
        return alarm if record.noisy is None or not self._believing else record.noisy

    def _shown(
        self, images: Tensor, flagged: npt.NDArray[np.bool_]
    ) -> tuple[Tensor, npt.NDArray[np.bool_]]:
        """Return the images as the arm shows them to its classifier, and which it has mended."""
        done = np.zeros(len(images), dtype=np.bool_)
        rows = np.flatnonzero(flagged)
        if self._mender is not None and len(rows):
            mended, done[rows] = self._mender(images[rows])
            # A site keeps what it mended in 16 bits too.
            images[rows] = Pixels(quantised(mended)).take(range(len(rows)))
        return images, done

    def _answers(self, images: Tensor) -> npt.NDArray[np.float32]:
        """Return logits, (n, K).

        Raises:
            DataError: they are not finite.
        """
        device = next(self._model.parameters()).device

        def classify(images: Tensor) -> Tensor:
            logits: Tensor = self._model(images.to(device)).float().cpu()
            return logits

        logits = _evenly(classify, images)
        if not bool(logits.isfinite().all()):
            raise DataError("the classifier's answers are not finite: its file is damaged")
        return logits.numpy()


def check_device(device: str) -> None:
    """Refuse a device that cannot be computed on here.

    Raises:
        SettingsError: there is none of this name.
    """
    if device == "auto":
        return
    try:
        torch.zeros(1, device=torch.device(device)).add(1).cpu()
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        raise SettingsError(
            f"device {device!r} cannot be used here; there is auto, cpu, cuda, cuda:N and mps",
            local=str(error).partition("\n")[0],
        ) from error


def _filtering(spec: str) -> Mender:
    mend = filtering(spec)
    return lambda images: (mend(images), np.ones(len(images), np.bool_))


@torch.inference_mode()
def _evenly(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return a model's answers, (n, …), of (n, C, H, W), in batches of one and the same shape."""
    parts = []
    for start in range(0, len(images), EVALUATION_BATCH):
        part = images[start : start + EVALUATION_BATCH]
        whole = part.new_zeros(EVALUATION_BATCH, *part.shape[1:])
        whole[: len(part)] = part
        parts.append(function(whole)[: len(part)])
    return torch.cat(parts)

"""One hospital's images, as the phases see them.

A view (training, validation, test) is made once per configuration and kept in the site's cache;
opening it again reads small arrays and maps the large ones, so that the short-lived process that
answers a message starts at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from client_app import modalities
from client_app.cache import Cache
from client_app.dicom import quarantine as quarantined
from client_app.source import Progress, Source, open_source
from client_app.split import split_records
from fedmend import plugins, randomness
from fedmend.records import Pixels, Reader, Record, in_parts, quantised
from fedmend.settings import Settings
from fedmend.site import VIEWS, Examined, Mended, MissingImputerError, View
from imputation.detectors.base import Detector, examined
from imputation.noise import mixture
from imputation.routing import filtering

_VERSION = "6"  # of what a view holds; a change of it makes cached views anew
_FILTERED_AT_ONCE = 256


@dataclass(frozen=True)
class Share:
    """Which part of a simulation's images a site has; a real site has all of its own."""

    number: int = 0
    of: int = 1


class LocalSite:
    """A site whose reader, share and cache are known.

    Args:
        name: the site's name, as the federation knows it.
        reader: of the site's images, or of the whole simulation's.
        share: the part of the reader's images that is this site's.
        settings: of the run.
        cache: where decoded and derived images are kept.
        classes: the run's class names, in the order that labels are numbered.
        fingerprint: the reader's, when the run began: listing all files again would cost more
            than some messages' work.
        quarantine: private folder for the list of the files that cannot be used; None: it is
            not written.
    """

    def __init__(
        self,
        name: str,
        reader: Reader,
        share: Share,
        settings: Settings,
        cache: Cache,
        classes: Sequence[str],
        fingerprint: str,
        quarantine: Path | None = None,
        *,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> None:
        self._workers = workers
        self._progress = progress
        self._name = name
        self._quarantine = quarantine
        self.reader = reader
        self.share = share
        self.settings = settings
        self.cache = cache
        self.classes = tuple(classes)
        self._source: Source | None = None
        self._views: dict[str, View] = {}
        self._detectors: list[Detector] = []
        self._fingerprint = fingerprint

    @property
    def name(self) -> str:
        """The site's name, as the federation knows it."""
        return self._name

    @property
    def source(self) -> Source:
        """All images that the reader has; opened when first asked for."""
        if self._source is None:
            size, channels = self.settings.image_size, self.settings.channels
            self._source = open_source(
                self.cache,
                self.reader,
                size=size,
                channels=channels,
                fingerprint=self._fingerprint,
                workers=self._workers,
                progress=self._progress,
            )
            if self._quarantine is not None:
                quarantined.write(self._quarantine, self._source.rejected)
        return self._source

    def rows(self) -> tuple[list[Record], npt.NDArray[np.int64]]:
        """Return the site's own records, split, and where the source keeps their pixels."""
        records = split_records(self.source.records, self.settings.split_shares, self.settings.seed)
        if self.share.of == 1:
            mine = np.arange(len(records))
        else:
            partition = plugins.PARTITIONS.build(self.settings.partition_spec)
            owner = partition.assign(records, self.share.of, self.settings.seed)
            mine = np.flatnonzero(owner == self.share.number)
        return [records[row] for row in mine], self.source.rows[mine]

    def _key(self, *parts: str) -> str:
        """Return the cache key of something derived from this site's images."""
        settings = self.settings
        made_of: tuple[object, ...] = (
            _VERSION, self._fingerprint, settings.image_size, settings.channels, settings.split,
            settings.partition_spec, settings.seed, self.share.number, self.share.of,
            settings.noise, settings.noise_fraction, settings.detector, *parts,
        )  # fmt: skip
        return "\x1f".join(str(part) for part in made_of)

    def view(self, name: str) -> View:
        """Return one of :data:`fedmend.site.VIEWS`; possibly empty."""
        if name not in VIEWS:
            raise ValueError(f"view {name!r} does not exist; there is {', '.join(VIEWS)}")
        if name not in self._views:
            self._views[name] = self._opened(name)
        return self._views[name]

    def _opened(self, name: str) -> View:
        kept = self.cache.arrays(self._key("view", name), lambda: self._derived(name))
        source = Pixels(self._pixels(str(kept["pixels"])), kept["row"])
        simulated = self.settings.simulates_noise
        original = source if simulated else None
        images = Pixels(kept["image"]) if simulated else source
        names = [str(label) for label in kept["label"]]
        number = {label: position for position, label in enumerate(self.classes)}
        labels = np.array([number.get(label, -1) for label in names], dtype=np.int64)
        noisy, alarm = kept["noisy"], kept["alarm"]
        told = self.settings.noise_known or not simulated  # a site's own word always counts
        said = (noisy >= 0) & told
        flagged = np.where(said, noisy == 1, alarm)
        group = kept["group"]
        unknown = np.array([detector.unknown for detector in self.detectors])[group]
        clean = ~flagged & (said | ~unknown)
        uids = tuple(str(uid) for uid in kept["uid"])
        return View(
            uids, images, original, labels, noisy, kept["score"], alarm, flagged, clean, group
        )

    def _pixels(self, key: str) -> npt.NDArray[np.uint16]:
        """Map the source's pixels, without reading its records where that can be helped."""
        found = self.cache.find(key)
        return self.source.pixels.array if found is None else found["image"]

    def _derived(self, name: str) -> Mapping[str, npt.NDArray[Any]]:
        """Make a view's arrays from the source's images."""
        records, rows = self.rows()
        split = name.partition("-")[0]
        simulated = self.settings.simulates_noise
        chosen = [place for place, record in enumerate(records) if record.split == split]
        if name == "test-clean" and not simulated:
            chosen = []  # nobody knows what lies beneath the noise
        records, rows = [records[place] for place in chosen], rows[chosen]
        noisy = np.array([self._truth(name, record) for record in records], dtype=np.int8)
        source = Pixels(self.source.pixels.array, rows)
        arrays: dict[str, npt.NDArray[Any]] = {
            "pixels": np.array(self.source.key),
            "row": rows,
            "uid": np.array([record.uid for record in records], dtype="U"),
            "label": np.array([record.label or "" for record in records], dtype="U"),
            "noisy": noisy,
        }
        images = source
        if simulated:
            images = Pixels(self._corrupted(source, records, noisy))
            arrays["image"] = images.array
        detector: Detector = plugins.DETECTORS.build(self.settings.detector)
        kinds = [modalities.modality(record) for record in records]
        if name == "train":
            # A simulation knows which images it has corrupted, and keeps it to itself.
            words = np.full(len(images), -1, np.int8) if simulated else noisy
            learnt = modalities.learn(detector, images, words, kinds)
            arrays |= learnt.arrays()
        else:
            learnt = self._learnt()
        group = learnt.groups(kinds)
        seen = modalities.examined_by(learnt.detectors(detector), images, group)
        return arrays | {"score": seen.score, "alarm": seen.alarm, "group": group}

    def _learnt(self) -> modalities.Learnt:
        """Return what the detector has learnt of the training images."""
        kept = self.cache.arrays(self._key("view", "train"), lambda: self._derived("train"))
        return modalities.Learnt.read(kept)

    def _truth(self, view: str, record: Record) -> int:
        """Return 1 where the image is noisy in this view, 0 where it is clean, -1 if unknown."""
        if not self.settings.simulates_noise:
            return -1 if record.noisy is None else int(record.noisy)
        if view.startswith("test"):
            return int(view == "test-noisy")
        # The image's own hash decides, so that it is noisy in every arm, run and engine alike.
        drawn = randomness.share(self.settings.seed, "noisy", record.uid)
        return int(drawn < self.settings.noise_fraction)

    def _corrupted(
        self, source: Pixels, records: Sequence[Record], noisy: npt.NDArray[np.int8]
    ) -> npt.NDArray[np.uint16]:
        noise = mixture.from_spec(self.settings.noise)
        array = source.array[source.rows]
        for place in np.flatnonzero(noisy == 1).tolist():
            generator = randomness.generator(self.settings.seed, "noise", records[place].uid)
            array[place] = quantised(noise(source.take([place])[0], generator).image)
        return array

    @property
    def detectors(self) -> list[Detector]:
        """The run's detector, set to this site's images, and to those of each modality."""
        if not self._detectors:
            made: Detector = plugins.DETECTORS.build(self.settings.detector)
            self._detectors = self._learnt().detectors(made)
        return self._detectors

    @property
    def kinds(self) -> Mapping[str, bool]:
        """The kinds of noise that the detector tells apart; True: a structural one."""
        return self.detectors[0].kinds

    def examine(self, images: Tensor, group: int) -> Examined:
        """Ask a detector about (n, C, H, W) float32 in [0, 1]."""
        return examined(self.detectors[group], images)

    def mended(self, name: str, by: str) -> Mended:
        """Return what became of a view's flagged rows, in the view's order.

        Raises:
            MissingImputerError: this imputer has mended nothing here yet.
        """
        key = self._mended_key(name, by)
        if by == self.settings.filter:
            kept = self.cache.arrays(key, lambda: self._filtered(name))
        else:
            found = self.cache.find(key)
            if found is None:
                raise MissingImputerError(by)
            kept = found
        return Mended(Pixels(kept["image"]), kept["dropped"], kept["confidence"])

    def keep_mended(self, name: str, by: str, made: Mended) -> None:
        """Keep what became of a view's flagged rows."""
        self.cache.keep(
            self._mended_key(name, by),
            {"image": made.images.array, "dropped": made.dropped, "confidence": made.confidence},
        )

    def _mended_key(self, name: str, by: str) -> str:
        settings = self.settings
        routed = (settings.imputation.filters, settings.imputer_noise)
        return self._key("mended", name, by, str(settings.noise_known), *routed)

    def _filtered(self, name: str) -> Mapping[str, npt.NDArray[Any]]:
        view = self.view(name)
        flagged = np.flatnonzero(view.flagged)
        mend = filtering(self.settings.filter)
        parts = in_parts(view.images.select(flagged), _FILTERED_AT_ONCE)
        return {
            "image": np.concatenate([quantised(mend(part)) for part in parts]),
            "dropped": np.zeros(len(flagged), dtype=np.bool_),
            "confidence": np.ones(len(flagged), dtype=np.float32),
        }

"""The pictures in the files: phantoms, cropped and corrupted as ordered."""

from __future__ import annotations

import numpy as np
import torch

from client_app.readers.phantom import phantom
from client_app.synth.grey import Picture
from client_app.synth.order import Order
from fedmend import randomness
from fedmend.records import Reader, Record
from imputation.noise import mixture

_RECTANGULAR = 4
_CUT = 16


class Pictures:
    """The phantoms of one site.

    Args:
        order: of the whole tree.
        site: from 0.
        count: of phantoms to choose from.
        classes: of phantoms.
        patients: see :func:`client_app.readers.phantom.phantom`.
    """

    def __init__(
        self, order: Order, site: int, *, count: int, classes: int, patients: int = 0
    ) -> None:
        self.order = order
        self.site = site
        seed = randomness.number(order.seed, "synth", site)
        self._reader: Reader = phantom(
            count=count, size=order.size, classes=classes, patients=patients, seed=seed
        )
        self.records = list(self._reader.index().records)
        self._noise = mixture.from_spec(order.noise)
        drawn = randomness.numpy_generator(order.seed, "noisy", site).permutation(order.images)
        self._chosen = frozenset(drawn[: round(order.noise_share * order.images)].tolist())

    def draw(self, record: Record, number: int) -> tuple[Picture, bool]:
        """Return one picture, and whether a noise changed it.

        Args:
            record: which phantom.
            number: of the image at its site; one in four is an eighth less high than wide.
        """
        clean = self._reader.load(record)
        image = clean
        if number in self._chosen:
            generator = randomness.generator(self.order.seed, "noise", self.site, number)
            image = self._noise(clean, generator).image
        whole: Picture = np.ascontiguousarray(image[0].numpy())
        cut = whole.shape[0] // _CUT if number % _RECTANGULAR == _RECTANGULAR - 1 else 0
        return whole[cut : whole.shape[0] - cut], not torch.equal(image, clean)

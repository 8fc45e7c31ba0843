from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from client_app.site import LocalSite
from fedmend.records import Pixels


@pytest.mark.parametrize("simulated", [True, False])
def test_a_detector_is_calibrated_on_what_a_site_vouches_for_wherever_it_lies(
    simulated: bool,
) -> None:
    grey = np.arange(300, dtype=np.uint16).reshape(300, 1, 1, 1).repeat(2, 2).repeat(2, 3)
    noisy = np.full(300, -1, np.int8)
    noisy[275:] = 0
    site = SimpleNamespace(settings=SimpleNamespace(simulates_noise=simulated))
    images, word = LocalSite._known(site, Pixels(grey), noisy)  # type: ignore[arg-type]
    first = (images[:, 0, 0, 0] * 65535).round().int().tolist()
    assert len(first) == len(word) == 256
    if simulated:  # which keeps to itself what it knows
        assert first == list(range(256))
        assert (word == -1).all()
    else:
        assert first == [*range(275, 300), *range(231)]
        assert word.tolist() == [0] * 25 + [-1] * 231

from __future__ import annotations

from pathlib import Path

import pytest

from client_app import modalities
from client_app.cache import Cache
from client_app.site import LocalSite, Share
from fedmend import plugins
from fedmend.settings import Settings


@pytest.mark.parametrize("simulated", [True, False])
def test_a_simulation_keeps_to_itself_which_images_it_has_corrupted(
    simulated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = "gaussian(std=0.2)" if simulated else "none()"
    settings = Settings.read({"image-size": 32, "noise": noise, "noise-fraction": 0.5})
    reader = plugins.READERS.build("phantom(count=30, size=32)")
    cache = Cache(tmp_path, 2**30)
    site = LocalSite("one", reader, Share(), settings, cache, (), reader.fingerprint())
    told: list[set[int]] = []
    learn = modalities.learn

    def listening(detector, images, words, kinds):  # type: ignore[no-untyped-def]
        told.append(set(words.tolist()))
        return learn(detector, images, words, kinds)

    monkeypatch.setattr(modalities, "learn", listening)
    view = site.view("train")
    assert told == [{-1} if simulated else {0}]  # phantoms are vouched for
    assert set(view.noisy.tolist()) == ({0, 1} if simulated else {0})
    assert (view.group == 0).all()

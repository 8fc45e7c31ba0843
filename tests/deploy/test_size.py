"""A model of 400 MB, and what is left of it on the coordinator's disk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.containers import await_
from tests.deploy.hospitals import HUB, PATIENCE, Hospitals, opened

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3000)]

SITES = ("site-0", "site-1")
BYTES = 400_000_000
LEFT = 16 * 1024**2
"""What may be left in the SuperLink's database: the app's bundle, logs and names."""


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospitals]:
    with opened(tmp_path_factory.mktemp("federation"), SITES, images=12) as made:
        made.start()
        yield made


def _on_disk(hospitals: Hospitals) -> int:
    """Return the bytes of the SuperLink's database, with its journal."""
    return sum(path.stat().st_size for path in hospitals.state(HUB).glob("superlink.db*"))


def _run(hospitals: Hospitals, name: str) -> None:
    outcome = hospitals.run(
        1400, run_name=name, arms="raw", image_size=16, deadline=900.0,
        classification__model="small_cnn(width=664)",
    )  # fmt: skip
    assert outcome.outcome == "completed", f"{outcome.details}\n{outcome.log}"
    model = hospitals.folder(name) / "classifier-raw.safetensors"
    assert model.stat().st_size > BYTES


def test_a_large_model_passes_and_the_database_does_not_grow(hospitals: Hospitals) -> None:
    sizes = []
    for name in ("once", "again"):
        _run(hospitals, name)
        assert (hospitals.state(HUB) / "superlink.db").stat().st_size < LEFT
        sizes.append(_on_disk(hospitals))
    # SQLite keeps its journal at its largest, and writes it anew from the beginning.
    assert sizes[1] < sizes[0] + LEFT
    link = hospitals.containers[f"{HUB}-superlink"]
    link.stop()
    link.start()  # which empties the journal
    await_(lambda: _on_disk(hospitals) < LEFT, "the journal is emptied", PATIENCE)

"""A model of 400 MB, and what is left of it on the coordinator's disk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.hospitals import HUB, Hospitals
from tests.deploy.networks import network

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3000)]

SITES = ("site-0", "site-1")
BYTES = 400_000_000
LEFT = 16 * 1024**2
"""What may be left in the SuperLink's database: the app's bundle, logs and names."""


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospitals]:
    machines = network((HUB, *SITES))
    try:
        made = Hospitals(tmp_path_factory.mktemp("federation"), machines, SITES, images=12)
        try:
            made.start()
            yield made
        finally:
            made.close()
    finally:
        machines.close()


@pytest.mark.parametrize("name", ["once", "again"])
def test_a_large_model_passes_and_leaves_nothing_in_the_database(
    hospitals: Hospitals, name: str
) -> None:
    outcome = hospitals.run(
        1400, run_name=name, arms="raw", image_size=16, deadline=900.0,
        classification__model="small_cnn(width=664)",
    )  # fmt: skip
    assert outcome.outcome == "completed", f"{outcome.details}\n{outcome.log}"
    [model] = hospitals.folder(name).rglob("classifier*.safetensors")
    assert model.stat().st_size > BYTES
    database = hospitals.state(HUB) / "superlink.db"
    assert database.stat().st_size < LEFT

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.simulation import Simulation, cores, merged, sized
from fedmend.errors import SettingsError
from fedmend.settings import Settings


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings.parse({})


def _sized(settings: Settings, wanted: dict[str, Any], cpu: int, gpu: int = 0) -> Simulation:
    return sized(settings, wanted, core_count=cpu, gpu_count=gpu)


def test_defaults_fill_the_machine_but_not_beyond_the_sites(settings: Settings) -> None:
    assert _sized(settings, {}, cpu=2) == Simulation(4, 2, 1, 0.0)
    assert _sized(settings, {}, cpu=64) == Simulation(4, 4, 1, 0.0)
    assert _sized(settings, {"sites": 10}, cpu=8) == Simulation(10, 8, 1, 0.0)


def test_threads_share_the_cores() -> None:
    settings = Settings.parse({"threads": 2})
    assert _sized(settings, {}, cpu=5).workers == 2
    assert _sized(settings, {}, cpu=1).workers == 1  # slower, and the same bits


def test_gpus_are_shared_among_workers(settings: Settings) -> None:
    assert _sized(settings, {"sites": 8}, cpu=16, gpu=1) == Simulation(8, 4, 1, 0.25)
    assert _sized(settings, {"sites": 3}, cpu=16, gpu=4) == Simulation(3, 3, 1, 1.0)
    assert _sized(Settings.parse({"device": "cpu"}), {}, cpu=16, gpu=1).gpus_per_worker == 0.0
    wanted = {"workers": 2, "gpus-per-worker": 0.5}
    assert _sized(settings, wanted, cpu=16, gpu=1) == Simulation(4, 2, 1, 0.5)


@given(cpu=st.integers(1, 64), gpu=st.integers(0, 8), sites=st.integers(2, 100))
def test_what_is_chosen_always_fits(settings: Settings, cpu: int, gpu: int, sites: int) -> None:
    size = _sized(settings, {"sites": sites}, cpu, gpu)
    assert 1 <= size.workers <= min(sites, cpu)
    assert size.workers * size.gpus_per_worker <= gpu + 1e-9
    assert (size.gpus_per_worker > 0) == (gpu > 0)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"sites": 1}, "the number of sites, 1, is below min-sites = 2"),
        ({"workers": 3}, "3 workers of 1 threads need 3 cores; there are 2"),
        ({"gpus-per-worker": 0.5}, "2 workers with 0.5 GPU each need 1 GPUs; there are 0"),
    ],
)
def test_what_does_not_fit_is_refused(
    settings: Settings, wanted: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        _sized(settings, wanted, cpu=2)
    assert str(caught.value) == sentence


def test_options_win_over_the_experiments_table() -> None:
    options = {"sites": 3, "workers": None, "gpus-per-worker": None}
    assert merged({"sites": 10, "workers": 2}, options) == {"sites": 3, "workers": 2}


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (
            {"site": 3},
            "unknown key 'site' in [simulation]; there is sites, workers, gpus-per-worker",
        ),
        ({"sites": 2.5}, "simulation.sites must be a whole number; got 2.5"),
        ({"sites": True}, "simulation.sites must be a whole number; got True"),
        ({"sites": 0}, "simulation.sites is too small: 0"),
        ({"gpus-per-worker": "half"}, "simulation.gpus-per-worker must be a number; got 'half'"),
        ({"gpus-per-worker": -0.5}, "simulation.gpus-per-worker is too small: -0.5"),
    ],
)
def test_a_wrong_table_is_refused(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        merged(table, {})
    assert str(caught.value) == sentence


def test_there_is_a_core() -> None:
    assert cores() >= 1

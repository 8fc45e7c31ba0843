from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedmend.errors import SettingsError, SpecError, UserError
from fedmend.settings import Settings, defaults

CONTRACT = [
    "data",
    "classes",
    "channels",
    "image-size",
    "split",
    "site-column",
    "partition",
    "seed",
    "noise",
    "noise-fraction",
    "noise-known",
    "detector",
    "filter",
    "arms",
    "strategy",
    "codec",
    "privacy",
    "min-sites",
    "deadline",
    "threads",
    "device",
    "run-dir",
    "run-name",
    "resume",
    "imputation.model",
    "imputation.noise",
    "imputation.rounds",
    "imputation.epochs",
    "imputation.batch-size",
    "imputation.learning-rate",
    "imputation.loss",
    "classification.model",
    "classification.rounds",
    "classification.epochs",
    "classification.batch-size",
    "classification.learning-rate",
]


def test_the_contracts_keys_exist() -> None:
    assert set(CONTRACT) <= defaults().keys()


def test_defaults_are_valid_and_survive_a_round_trip() -> None:
    settings = Settings.parse({})
    assert settings.flat() == defaults()
    assert Settings.parse(settings.flat()) == settings


def test_nested_tables_and_dotted_keys_mean_the_same() -> None:
    nested = Settings.parse({"imputation": {"rounds": 3}})
    assert nested == Settings.parse({"imputation.rounds": 3})
    assert nested.imputation.rounds == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sed": 1}, "unknown setting sed; the settings are"),
        ({"imputation.round": 1}, "unknown setting imputation.round"),
        ({"seed": "1"}, "seed must be a whole number; got '1', which is text"),
        ({"seed": True}, "seed must be a whole number; got True, which is true or false"),
        ({"deadline": "x"}, "deadline must be a number"),
        ({"noise-known": 1}, "noise-known must be true or false"),
        ({"data": 3}, "data must be text"),
        ({"noise-fraction": 1.5}, "noise-fraction must be from 0 to 1"),
        ({"channels": 2}, "channels must be 1"),
        ({"image-size": 8}, "image-size must be from 16"),
        ({"device": "gpu"}, "device must be auto"),
        ({"split": "70/20/20"}, "split must be three shares"),
        ({"split": "0/50/50"}, "split must be three shares"),
        ({"split": "half"}, "split must be three shares"),
        ({"arms": ""}, "arms must name at least one of raw"),
        ({"arms": "raw,row"}, "arm 'row' does not exist; there is raw"),
        ({"arms": "raw,raw"}, "names one twice"),
        ({"arms": "clean", "noise": "none()"}, "needs simulated noise"),
        (
            {"classification.class-weights": "balanced"},
            "classification.class-weights must be one of inverse, none; got 'balanced'",
        ),
        (
            {"classification": {"augment": "flip"}},
            "classification.augment must be one of shift, none; got 'flip'",
        ),
        ({"run-name": "a/b"}, "run-name must be a plain folder name"),
        ({"run-dir": "runs"}, "run-dir must be an absolute path"),
    ],
)
def test_wrong_settings_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.parse(given)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data", "scanner()", "data: reader 'scanner' does not exist"),
        ("data", "folder(path=scans)", "must be an absolute path"),
        ("noise", "gausian(std=0.1)", "noise: noise 'gausian' does not exist; there is"),
        ("noise", "gaussian(std=0.1", "noise: a spec is ill-formed"),
        ("imputation.noise", "gaussian(std=a)", "imputation.noise: noise 'gaussian': std must be"),
        ("imputation.model", "unet(width=-1)", "imputation.model: denoiser 'unet'"),
        ("classification.model", "vgg()", "classification.model: backbone 'vgg' does not exist"),
        ("strategy", "fedprox(mu=-1)", "mu must not be negative; got -1"),
        ("partition", "dirichlet(alpha=0)", "partition: partition 'dirichlet'"),
        ("detector", "x", "detector 'x' does not exist"),
        ("filter", "median+mean", "filter: one term is expected"),
        ("codec", "zip()", "codec 'zip' does not exist"),
        ("privacy", "dp()", "privacy 'dp' does not exist"),
        ("imputation.loss", "l3()", "loss 'l3' does not exist"),
    ],
)
def test_wrong_specs_are_refused_by_key_before_anything_runs(
    key: str, value: str, message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        Settings.parse({key: value})
    assert message in str(caught.value)


def test_a_relative_path_quotes_the_working_directory() -> None:
    with pytest.raises(UserError) as caught:
        Settings.parse({"data": "folder(path=scans)"})
    assert str(Path.cwd()) in caught.value.full()


def test_what_a_run_folder_keeps_has_no_path() -> None:
    given = {"data": "folder(path=/srv/patients, labels=labels.csv)", "run-dir": "/srv/runs"}
    public = Settings.parse(given).public()
    assert "/srv" not in repr(public)
    assert public["data"] == "folder(path=…, labels=labels.csv)"


def test_site_column_is_short_for_a_partition() -> None:
    settings = Settings.parse({"site-column": "site id"})
    assert settings.partition_spec == "column(name='site id')"


def test_whole_numbers_will_do_for_numbers() -> None:
    assert Settings.parse({"deadline": 5}).deadline == 5.0

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from commands import arguments
from fedmend import spec
from fedmend.errors import SettingsError, SpecError
from fedmend.settings import Settings, defaults

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.toml"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _experiment(folder: Path, text: str) -> str:
    file = folder / "experiment.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_words_win_over_the_file_and_nested_keys_are_flattened(here: Path) -> None:
    file = _experiment(here, "seed = 1\n[imputation]\nrounds = 7\nepochs = 3\n")
    request = arguments.read([file, "imputation.rounds=9"])
    assert request.settings == {"seed": 1, "imputation.rounds": 9, "imputation.epochs": 3}


def test_the_file_may_stand_anywhere(here: Path) -> None:
    file = _experiment(here, "seed = 1\n")
    assert arguments.read(["channels=3", file]).settings == {"seed": 1, "channels": 3}


def test_a_simulation_table_is_kept_apart(here: Path) -> None:
    file = _experiment(here, "seed = 1\n[simulation]\nsites = 10\n")
    assert arguments.read([file]) == ({"seed": 1}, {"sites": 10})


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("noise-known=true", True),
        ("noise-known=False", False),
        ("seed=7", 7),
        ("imputation.learning-rate=1e-4", 1e-4),
        ("deadline=60", 60.0),
        ("data=phantom(count=100)", "phantom(count=100)"),
        ('noise="gaussian(std=0.1)"', "gaussian(std=0.1)"),
        ("arms=raw, removed", "raw, removed"),
        ("classes=", ""),
    ],
)
def test_a_word_has_its_defaults_type(word: str, value: object) -> None:
    (read,) = arguments.read([word]).settings.values()
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["seed=one"], "seed must be a whole number; got 'one'"),
        (["seed=1.5"], "seed must be a whole number; got '1.5'"),
        (["deadline=soon"], "deadline must be a number; got 'soon'"),
        (["noise-known=yes"], "noise-known must be true or false; got 'yes'"),
        (
            ["imputation.round=3"],
            "unknown setting imputation.round; did you mean imputation.rounds?",
        ),
        (["zzzz=3"], "unknown setting zzzz; the settings are data,"),
        (["seed=1", "seed=2"], "seed is given twice"),
        (["one.toml", "two.toml"], "one experiment file is expected"),
        (["absent.toml"], "the experiment file cannot be read"),
    ],
)
def test_mistakes_are_named(here: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        arguments.read(words)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("text", ["seed = ", "\xff", "seed"])
def test_a_file_that_is_not_toml_is_refused_without_its_name(here: Path, text: str) -> None:
    file = here / "broken.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError, match="not TOML") as caught:
        arguments.read([str(file)])
    assert "broken" not in str(caught.value)
    assert "broken" in caught.value.full()


def test_an_unknown_key_in_a_file_is_refused(here: Path) -> None:
    with pytest.raises(SettingsError, match=r"did you mean noise-fraction"):
        arguments.read([_experiment(here, "noise-fractoin = 0.5")])


def test_relative_paths_are_taken_from_the_working_directory(here: Path) -> None:
    words = ["data=folder(path=a b/{site}, labels=labels.csv, image=i, label=l)", "run-dir=runs"]
    settings = arguments.read(words).settings
    values = spec.parse_term(str(settings["data"])).values
    assert values["path"] == f"{here}/a b/{{site}}"
    assert values["image"] == "i"  # a column, not a path
    assert settings["run-dir"] == str(here / "runs")


def test_a_files_relative_path_is_taken_from_the_working_directory_too(here: Path) -> None:
    (here / "deep").mkdir()
    file = _experiment(here / "deep", 'data = "folder(path=x y)"')
    assert arguments.read([file]).settings["data"] == f"folder(path={here}/x y)"


def test_the_paths_of_every_spec_are_made_absolute(here: Path) -> None:
    words = ["classification.model=resnet18(weights=w/r.safetensors)"]
    words += ["imputation.loss=lpips(weights=l.safetensors)+l1(weight=0.5)"]
    settings = arguments.read(words).settings
    assert settings == {
        "classification.model": f"resnet18(weights={here}/w/r.safetensors)",
        "imputation.loss": f"lpips(weights={here}/l.safetensors)+l1(weight=0.5)",
    }
    with pytest.raises(SpecError, match="filter: filter 'sharp' does not exist"):
        arguments.read(["filter=sharp"])


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    settings = arguments.read(["data=folder(path=~/x)", "cache-dir=~/c"]).settings
    assert settings == {"data": "folder(path=/somewhere/x)", "cache-dir": "/somewhere/c"}


@pytest.mark.parametrize("path", ["/srv/x", "./x", "x", "sub/x", "/srv/with (brackets), and comma"])
def test_a_plain_path_fills_the_experiments_reader(here: Path, path: str) -> None:
    (here / "x").mkdir()
    file = _experiment(here, 'data = "folder(labels=l.csv, image=i, label=k)"')
    term = spec.parse_term(str(arguments.read([file, f"data={path}"]).settings["data"]))
    assert term.values.pop("path") == str((here / path).absolute())
    assert term == spec.Term("folder", {"labels": "l.csv", "image": "i", "label": "k"})


def test_a_plain_path_replaces_the_experiments_path(here: Path) -> None:
    file = _experiment(here, 'data = "folder(path=/old)"')
    assert arguments.read([file, "data=/new"]).settings["data"] == "folder(path=/new)"


def test_a_readers_name_is_a_spec_even_if_a_file_has_it(here: Path) -> None:
    (here / "phantom").touch()
    assert arguments.read(["data=phantom"]).settings["data"] == "phantom()"


def test_a_plain_path_needs_a_reader_with_a_path() -> None:
    with pytest.raises(SettingsError, match=r"'phantom' has none; give a whole spec"):
        arguments.read(["data=/srv/x"])


def test_a_path_may_hold_an_apostrophe(here: Path) -> None:
    file = _experiment(here, 'data = "folder(path=/old)"')
    data = arguments.read([file, "data=/srv/it's"]).settings["data"]
    assert data == "folder(path='/srv/it''s')"
    assert arguments.read([f"data={data}"]).settings["data"] == data


def _begun(here: Path, **settings: object) -> None:
    folder = here / "runs" / "first"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "sites.json").write_text('{"asked": 10, "images": {"site-0": 3}}')
    own = {"seed": 7, "run-name": "first", "data": "folder(path=…, labels=l.csv)"} | settings
    (folder / "settings.json").write_text(json.dumps(own))


def test_a_resumed_run_has_the_settings_it_began_with(here: Path) -> None:
    _begun(here)
    words = ["resume=first", "run-dir=runs", "data=/srv/x", "deadline=9"]
    request = arguments.read(words)
    assert request.simulation == {"sites": 10}
    assert request.settings == {
        "seed": 7,
        "data": "folder(path=/srv/x, labels=l.csv)",
        "deadline": 9.0,
        "resume": "first",
        "run-dir": str(here / "runs"),
    }


def test_a_path_that_a_run_folder_did_not_keep_is_asked_for(here: Path) -> None:
    _begun(here)
    with pytest.raises(SettingsError, match="data: a run folder keeps no paths; say it again"):
        arguments.read(["resume=first", "run-dir=runs"])
    with pytest.raises(SettingsError, match="there is no run 'second' to resume"):
        arguments.read(["resume=second", "run-dir=runs"])


@given(st.text())
def test_whatever_is_not_a_number_is_refused_in_plain_words(text: str) -> None:
    assume(not text.strip().strip("'\"+-_ ").isdecimal())
    with pytest.raises(SettingsError, match="seed must be a whole number"):
        arguments.read([f"seed={text}"])


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_shipped_experiment_is_valid(experiment: Path, tmp_path: Path) -> None:
    words = [str(experiment)]
    if "folder(" in experiment.read_text(encoding="utf-8"):
        words.append(f"data={tmp_path}")
    settings = Settings.parse(arguments.read(words).settings)
    assert settings.flat().keys() == defaults().keys()
    assert str(Path.home()) not in experiment.read_text(encoding="utf-8")


def test_the_experiments_are_found() -> None:
    assert "chest-xray" in {each.stem for each in EXPERIMENTS}

"""Both phases over sites in this process: what a run leaves behind, and what it survives."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord
from PIL import Image

from client_app.app import app as client_app
from fedmend import __version__, parcel, wire
from fedmend.errors import RunError
from server_app.federation import federate
from tests.federation import failing, grid, run, same, silent, tiny, weights
from tests.grid import Fault, LocalGrid


def test_a_whole_run_leaves_what_the_contract_says(tmp_path: Path) -> None:
    settings = tiny(tmp_path, arms="raw,removed,imputed,filtered,clean,local")
    folder, summary = run(settings)
    names = {path.name for path in folder.iterdir()}
    assert {
        "settings.json",
        "metrics.jsonl",
        "imputer.safetensors",
        "classifier-raw.safetensors",
        "classifier-imputed.safetensors",
        "checkpoints",
        "report.html",
        "summary.json",
    } <= names
    assert summary["schema"] == 1
    assert summary["status"] == "complete"
    assert summary["sites"] == {"asked": 3, "used": 3, "refused": {}}
    assert summary["images"]["train"] + summary["images"]["test"] < 96
    assert 0 < summary["images"]["flagged"] == summary["images"]["mended"]
    assert list(summary["arms"]) == ["raw", "removed", "imputed", "filtered", "clean", "local"]
    for arm in summary["arms"].values():
        for test in ("clean", "noisy"):
            assert arm[test]["n"] == summary["images"]["test"]
            assert 0 <= arm[test]["auroc"] <= 1
    table = summary["imputation"]["test"]
    assert set(table) == {"noisy", "imputed", "filter:median"}
    assert table["noisy"]["n"] == summary["images"]["test"]
    assert summary["bytes"]["up"] > 0
    with safetensors.safe_open(folder / "imputer.safetensors", framework="pt") as file:
        about = json.loads(file.metadata()["fedmend"])
    assert (about["kind"], about["model"]) == ("imputer", "unet(width=8)")


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    one, first = run(tiny(tmp_path / "one"))
    random.seed(99)  # Flower's strategies sample by the global generator
    other, second = run(tiny(tmp_path / "two"))
    for name in ("imputer", "classifier-raw", "classifier-removed", "classifier-imputed"):
        assert same(weights(one, name), weights(other, name)), name
    assert first["arms"] == second["arms"]
    changed, _ = run(tiny(tmp_path / "three", seed=1))
    assert not same(weights(one, "imputer"), weights(changed, "imputer"))


def test_nothing_global_is_seeded(tmp_path: Path) -> None:
    before = torch.random.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002
    run(tiny(tmp_path, arms="raw"))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == repr(np.random.get_state())  # noqa: NPY002


def test_fedprox_without_its_term_is_fedavg_to_the_bit(tmp_path: Path) -> None:
    epochs = {"imputation__epochs": 2}  # the term's gradient is zero at a round's first step
    avg, _ = run(tiny(tmp_path, run_name="avg", **epochs))
    prox, _ = run(tiny(tmp_path, run_name="prox", strategy="fedprox(mu=0)", **epochs))
    held, _ = run(tiny(tmp_path, run_name="held", strategy="fedprox(mu=1)", **epochs))
    for name in ("imputer", "classifier-imputed"):
        assert same(weights(avg, name), weights(prox, name))
    assert not same(weights(avg, "imputer"), weights(held, "imputer"))


def test_one_message_per_site_and_round(tmp_path: Path) -> None:
    settings = tiny(tmp_path, arms="raw")
    net = grid(settings)

    federate(net, settings, "1")
    kinds = [message.metadata.message_type for message in net.sent]
    assert kinds.count("query") == 3
    assert kinds.count("train") == 3 * 2
    # The last round's model is validated, then the best one is tested.
    assert kinds.count("evaluate") == 3 * 2


def test_a_failing_site_is_left_out_and_named(tmp_path: Path) -> None:
    settings = tiny(tmp_path, failures_allowed=0)
    folder, summary = run(settings, faults={1: failing("train", "evaluate")})
    assert summary["sites"]["asked"] == 3
    assert summary["sites"]["used"] == 2
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(line["left_out"] == {"site-1": "the disk is full"} for line in lines)


def test_a_silent_site_is_left_out_after_the_deadline(tmp_path: Path) -> None:
    folder, summary = run(tiny(tmp_path, arms="raw"), faults={2: silent("train")})
    assert summary["sites"]["used"] == 2
    line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    assert line["left_out"] == {"site-2": "no answer within 0.2 s"}


def spoilt(kind: str) -> Fault:
    def fault(message: Message, reply: Message) -> Message:
        if message.metadata.message_type != "train":
            return reply
        arrays = parcel.opened(reply.content.array_records[wire.ARRAYS])
        values = {name: array.numpy().copy() for name, array in arrays.items()}
        first = next(iter(values))
        if kind == "nan":
            values[first][...] = np.nan
        elif kind == "shape":
            values[first] = values[first][..., None]
        elif kind == "missing":
            del values[first]
        content = reply.content
        content[wire.ARRAYS] = ArrayRecord({k: Array(v) for k, v in values.items()})
        if kind == "metrics":
            content[wire.METRICS] = MetricRecord({wire.EXAMPLES: 5})
        elif kind == "weight":
            record = dict(content.metric_records[wire.METRICS])
            content[wire.METRICS] = MetricRecord(record | {wire.EXAMPLES: -5})
        elif kind == "empty":
            for name in list(content):
                del content[name]
        reply.content = content
        return reply

    return fault


@pytest.mark.parametrize("kind", ["nan", "shape", "missing", "metrics", "weight", "empty"])
def test_an_odd_reply_never_ends_a_run(tmp_path: Path, kind: str) -> None:
    folder, summary = run(tiny(tmp_path, arms="raw"), faults={0: spoilt(kind)})
    assert summary["sites"]["used"] == 2
    line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    assert list(line["left_out"]) == ["site-0"]
    assert all(torch.isfinite(value).all() for value in weights(folder, "classifier-raw").values())


DEAD = "<class 'ray.exceptions.ActorDiedError'>:<'The actor died unexpectedly before …'>"


def dead(message: Message, reply: Message) -> Message:
    if message.metadata.message_type != "train":
        return reply
    return Message(Error(0, DEAD), reply_to=message)


def test_a_dead_worker_of_a_simulation_is_no_sites_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server_app.post.simulated", lambda: True)
    with pytest.raises(RunError, match=r"a worker process .* died; .* resume=tiny"):
        run(tiny(tmp_path, arms="raw"), faults={0: dead})


def test_a_site_cannot_end_a_run_by_claiming_a_dead_worker(tmp_path: Path) -> None:
    _, summary = run(tiny(tmp_path, arms="raw"), faults={0: dead})
    assert summary["sites"]["used"] == 2


def test_too_few_sites_end_the_run_with_the_reason(tmp_path: Path) -> None:
    settings = tiny(tmp_path, min_sites=3)
    with pytest.raises(RunError, match=r"2 sites answered, fewer than min-sites=3.*disk is full"):
        run(settings, faults={1: failing("train")})
    with pytest.raises(RunError, match="2 sites take part, fewer than min-sites=3"):
        run(tiny(tmp_path, run_name="second", min_sites=3), faults={1: silent("query")})


def test_a_run_is_not_resumed_with_other_settings(tmp_path: Path) -> None:
    run(tiny(tmp_path, arms="raw"))
    with pytest.raises(RunError, match="seed was 0, is 1"):
        run(tiny(tmp_path, arms="raw", run_name="", resume="tiny", seed=1))
    with pytest.raises(RunError, match="no run other"):
        run(tiny(tmp_path, arms="raw", run_name="", resume="other"))


def test_a_finished_runs_folder_is_not_written_over(tmp_path: Path) -> None:
    run(tiny(tmp_path, arms="raw"))
    with pytest.raises(RunError, match="in use"):
        run(tiny(tmp_path, arms="raw"))


def test_a_site_that_missed_the_imputer_is_sent_it_again(tmp_path: Path) -> None:
    """Its mended images are deleted between the phases, as if it had been away."""
    settings = tiny(tmp_path, arms="raw,imputed")
    lost: list[str] = []

    def fault(message: Message, reply: Message) -> Message:
        config = message.content.config_records.get(wire.CONFIG)
        if config and config.get("phase") == "classification" and not lost:
            from client_app.cache import Cache

            lost.append("cache")
            Cache(tmp_path / "cache" / "images", 2**40).purge()
        return reply

    whole, _ = run(tiny(tmp_path, arms="raw,imputed", run_name="whole"))
    folder, summary = run(settings, faults={0: fault})
    assert lost
    assert summary["sites"]["used"] == 3
    assert same(weights(folder, "classifier-imputed"), weights(whole, "classifier-imputed"))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert not any(line["left_out"] for line in lines)


def test_without_simulated_noise_nothing_is_claimed_about_clean_images(tmp_path: Path) -> None:
    _, summary = run(tiny(tmp_path, noise="none()", imputation__noise="gaussian(std=0.2)"))
    assert summary["imputation"]["test"] == {
        "noisy": None,
        "imputed": None,
        "filter:median": None,
    }
    # The phantom vouches that its images are clean: alarms are false, and none is true.
    assert summary["imputation"]["detection"]["auroc"] is None
    assert 0 <= summary["imputation"]["detection"]["false_alarm"] <= 1
    for arm in summary["arms"].values():
        assert arm["clean"] is None
        assert arm["noisy"]["n"] == summary["images"]["test"]


def test_blind_sites_mend_what_the_detector_flags(tmp_path: Path) -> None:
    settings = tiny(tmp_path, noise_known=False, noise="gaussian(std=0.3)")
    _, summary = run(settings)
    assert summary["images"]["flagged"] == summary["images"]["mended"] > 0
    assert summary["imputation"]["detection"]["auroc"] > 0.5


def test_a_detector_is_calibrated_on_what_a_site_trains_on(tmp_path: Path) -> None:
    changes = {
        "data": "phantom(count=160, size=32)", "noise": "saltpepper(share=0.1)",
        "noise_known": False, "arms": "imputed", "detector": "evidence()",
    }  # fmt: skip
    first, summary = run(tiny(tmp_path, **changes), sites=2)
    detection = summary["imputation"]["detection"]
    assert detection["auroc"] > 0.95
    assert detection["false_alarm"] < 0.1
    again, _ = run(tiny(tmp_path / "again", **changes), sites=2)
    assert same(weights(first, "imputer"), weights(again, "imputer"))


def test_where_a_detector_cannot_tell_nothing_is_changed_but_what_the_site_vouches_for(
    tmp_path: Path,
) -> None:
    changes = {
        "data": "phantom(count=160, size=32)", "noise": "gaussian(std=0.3)",
        "noise_fraction": 1.0, "detector": "evidence()", "arms": "raw,imputed",
    }  # fmt: skip
    _, blind = run(tiny(tmp_path, noise_known=False, **changes), sites=2)
    assert blind["imputation"]["detection"]["unknown_sites"] == 2
    assert blind["images"]["flagged"] == blind["images"]["mended"] == 0
    assert blind["images"]["train"] > 40
    # The simulation says of its test images which are noisy: those it could not have told.
    assert blind["imputation"]["detection"]["false_alarm"] == 0
    _, told = run(tiny(tmp_path, noise_known=True, run_name="told", **changes), sites=2)
    assert told["images"]["flagged"] == told["images"]["train"]
    assert told["images"]["mended"] > 0
    assert told["imputation"]["detection"]["unknown_sites"] == 0


def test_no_path_of_this_machine_in_any_file_or_message(tmp_path: Path) -> None:
    settings = tiny(tmp_path)
    net = grid(settings, 2, {1: failing("train")})

    with pytest.raises(RunError) as caught:
        federate(net, settings, "1")
    assert str(tmp_path) not in str(caught.value)
    folder, _ = run(tiny(tmp_path, run_name="whole"))
    marker = str(tmp_path).encode()
    for path in folder.rglob("*"):
        assert not path.is_file() or marker not in path.read_bytes(), path.name
    for message in net.received:
        assert str(tmp_path) not in repr(message.error if message.has_error() else message.content)


def drawings(folder: Path, count: int, seed: int) -> None:
    """Fill a folder with two classes of small PNGs."""
    rng = np.random.default_rng(seed)
    for label, bright in (("dark", 40), ("light", 200)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = rng.normal(bright, 20, (32, 32)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


def test_sites_with_folders_of_their_own(tmp_path: Path) -> None:
    """One site's folder is empty, one's is not there, and another's holds a broken file."""
    for number in (0, 1, 2):
        drawings(tmp_path / f"hospital-{number}", 12, number)
    (tmp_path / "hospital-1" / "dark" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n truncated")
    (tmp_path / "hospital-3").mkdir()
    settings = tiny(
        tmp_path,
        data=f"folder(path={tmp_path}/hospital-{{site}})",
        partition="sites()",
        arms="raw,imputed",
    )
    folder, summary = run(settings, sites=5)
    assert summary["classes"] == ["dark", "light"]
    assert summary["sites"]["asked"] == 5
    assert summary["sites"]["used"] == 3
    reasons = summary["sites"]["refused"]
    assert len(reasons) == 2
    assert any("no usable training image" in reason for reason in reasons.values())
    for path in folder.rglob("*"):
        assert not path.is_file() or b"hospital-" not in path.read_bytes(), path.name


def test_a_real_site_takes_its_data_from_its_own_configuration_only(tmp_path: Path) -> None:
    for number in (0, 1):
        drawings(tmp_path / f"hospital-{number}", 12, number)
    settings = tiny(tmp_path, arms="raw", data=f"folder(path={tmp_path}/hospital-0)")
    nodes = {
        7: {"data": f"folder(path={tmp_path}/hospital-0)", "name": "north"},
        5: {"data": f"folder(path={tmp_path}/hospital-1)", "name": "south"},
        3: {"name": "west"},
    }
    net = LocalGrid(client_app, settings.flat(), nodes)
    folder = federate(net, settings, "1").path
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["sites"]["asked"], summary["sites"]["used"]) == (3, 2)
    (reason,) = summary["sites"]["refused"].values()
    assert "a path from the coordinator is not accepted" in reason
    line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    assert list(line["sites"]) == ["north", "south"]


def altered(**fields: str) -> Fault:
    """Return a fault: the site's introduction says something else."""

    def fault(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "query":
            said = reply.content.config_records["config"]
            for key, value in fields.items():
                said[key] = value
        return reply

    return fault


def nameless(message: Message, reply: Message) -> Message:
    """Leave out of the introduction what earlier versions did not say."""
    if message.metadata.message_type == "query":
        del reply.content.config_records["config"]["models"]
    return reply


def test_sites_with_another_program_are_refused_by_name(tmp_path: Path) -> None:
    faults: dict[int, Fault] = {
        1: altered(version="0.0.1"), 2: altered(models="abc"), 3: nameless,
    }  # fmt: skip
    settings = tiny(tmp_path, arms="raw", min_sites=1)
    _, summary = run(settings, sites=4, faults=faults)
    refused = summary["sites"]["refused"]
    assert list(refused) == ["site-1", "site-2", "site-3"]
    assert refused["site-1"] == (
        f"it has fedmend 0.0.1 installed, and this run is of {__version__}"
    )
    for name in ("site-2", "site-3"):
        assert "builds other networks" in refused[name]
    assert summary["sites"]["used"] == 1

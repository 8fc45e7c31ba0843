from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import typer.main
import yaml
from flwr.common.config import parse_config_args
from flwr.supercore.cli.flower_superexec import _parse_args as superexec_parser
from flwr.superlink.cli.flower_superlink import _parse_args_run_superlink as superlink_parser
from flwr.supernode.cli.flower_supernode import _parse_args_run_supernode as supernode_parser
from typer.core import TyperGroup

from client_app.synth import tree
from client_app.synth.order import Order
from commands.main import app
from commands.provisioning import site_file
from fedmend import __version__, plugins
from fedmend.settings import Settings
from tests.deploy.compose_files import FILES, GIVEN, GPU, ROOT, compose, services, text

SERVICES = [pytest.param(file, each, id=f"{file}:{name}") for file, name, each in services()]
PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "flower-superlink": superlink_parser,
    "flower-supernode": supernode_parser,
    "flower-superexec": superexec_parser,
}
LONG = {"gateway", "superlink", "superexec", "supernode"}


@pytest.mark.parametrize("name", [*FILES, GPU])
def test_a_compose_file_is_one_by_the_standard(name: str) -> None:
    plain = yaml.safe_dump(compose(name))  # the bindings know no merge keys
    parsed = compose_spec.PyCompose.from_yaml(plain)
    parsed.validate()


@pytest.mark.parametrize("name", FILES)
def test_docker_compose_reads_a_compose_file(name: str, tmp_path: Path) -> None:
    """Debian's 1.29 does, but for what compose has learnt since: it fills in variables itself."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed (apt-get install docker-compose)")
    plain = yaml.safe_load((ROOT / name).read_text())
    plain.pop("name")
    for service in plain["services"].values():
        service["deploy"]["resources"]["limits"].pop("pids", None)  # anchors are shared
        for volume in service.get("volumes", ()):
            if isinstance(volume, dict):
                volume.pop("bind", None)
    (tmp_path / "compose.yml").write_text(yaml.safe_dump(plain))
    done = subprocess.run(
        [program, "--file", str(tmp_path / "compose.yml"), "config"],
        env={**os.environ, **GIVEN}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    read = yaml.safe_load(done.stdout)
    assert read["services"].keys() == plain["services"].keys()
    ours = compose(name)["services"]
    for key, service in read["services"].items():
        assert service["image"] == ours[key]["image"]
        said = [
            str(word).replace("$$", "$") for word in service.get("command", ())
        ]  # as it escapes
        assert said == [str(word) for word in ours[key].get("command", ())]


def test_the_standard_is_asked() -> None:
    broken = compose(FILES[2])
    broken["services"]["supernode"]["read_only"] = "perhaps"
    with pytest.raises(ValueError, match="read_only"):
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(broken))


@pytest.mark.parametrize("missing", GIVEN)
def test_a_site_does_not_start_without_its_settings(missing: str) -> None:
    with pytest.raises(KeyError, match=missing):
        compose("deploy/site/compose.yml", {**GIVEN, missing: ""})


@pytest.mark.parametrize(("_file", "service"), SERVICES)
def test_a_service_has_as_few_rights_as_it_needs(_file: str, service: dict[str, Any]) -> None:
    user, _, group = service["user"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "devices", "pid", "ipc"} & service.keys()
    assert service.get("network_mode") in (None, "none")
    assert any(each.startswith("/tmp:size=") for each in service["tmpfs"])
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= limits.keys()
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize(("_file", "service"), SERVICES)
def test_an_image_is_of_one_version(_file: str, service: dict[str, Any]) -> None:
    name, _, tag = service["image"].rpartition(":")
    assert re.match(r"\d+\.\d+\.\d+", tag), service["image"]
    if name.startswith("fedmend"):
        assert tag.split("-")[0] == __version__


@pytest.mark.parametrize(("file", "name", "service"), services())
def test_what_stays_is_watched_and_restarted(file: str, name: str, service: dict[str, Any]) -> None:
    kind = name.rpartition("-")[2]
    if kind in LONG:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"
    else:
        assert service["restart"] == "no"
        assert service["healthcheck"] == {"disable": True}


def test_a_site_listens_to_nobody_and_what_sees_images_reaches_nobody() -> None:
    site = compose("deploy/site/compose.yml")
    assert all("ports" not in each for each in site["services"].values())
    assert site["networks"]["inside"] == {"internal": True}
    assert site["services"]["superexec"]["networks"] == ["inside"]
    assert "/data" not in str(site["services"]["supernode"])
    trial = compose("docker-compose.yml")
    assert all("ports" not in each for each in trial["services"].values())
    assert all(each == {"internal": True} for each in trial["networks"].values())


def test_only_the_gateway_is_open_and_the_control_api_is_not() -> None:
    coordinator = compose("deploy/coordinator/compose.yml")["services"]
    ports = {name: each.get("ports", []) for name, each in coordinator.items()}
    assert ports["gateway"] == ["8443:8443"]
    assert ports["superlink"] == ["127.0.0.1:8000:8000"]
    assert ports["superexec"] == []
    gateway = (ROOT / "deploy/coordinator/gateway.conf").read_text()
    assert re.findall(r"location (.*) \{", gateway) == ["/v1/fleet/", "= /health", "/", "/"]


@pytest.mark.parametrize(("file", "name", "service"), services())
def test_data_and_keys_are_mounted_read_only(file: str, name: str, service: dict[str, Any]) -> None:
    writes = {"data", "keys"} if file == "docker-compose.yml" else set()
    for volume in service.get("volumes", []):
        if volume["target"] == "/data" and name not in writes:
            assert volume["read_only"] is True
        if volume["target"] == "/etc/fedmend" and not name.startswith("hand-over"):
            assert volume["read_only"] is True


@pytest.mark.parametrize("file", FILES[1:])
def test_private_files_come_as_secrets_and_never_as_words(file: str) -> None:
    loaded = compose(file)
    private = {Path(each["file"]).name for each in loaded["secrets"].values()}
    assert private >= {"superexec.secret"}
    assert all(Path(name).suffix in {".key", ".secret"} for name in private)
    assert not any(
        each["file"].endswith((".key", ".secret")) for each in loaded["configs"].values()
    )
    for service in loaded["services"].values():
        mounted = {
            each["target"] for each in [*service.get("secrets", []), *service.get("configs", [])]
        }
        words = " ".join(service["command"])
        named = set(re.findall(r"/etc/fedmend/[a-z.]+", words))
        assert named <= mounted, "a command names a file it is not given"
        assert set(service.get("environment", {})) <= {"FEDMEND_LOG", "FEDMEND_METRICS"}
        assert "env_file" not in service


@pytest.mark.parametrize(("_file", "service"), SERVICES)
def test_a_command_is_one_that_the_program_takes(_file: str, service: dict[str, Any]) -> None:
    program, *words = [str(each) for each in service["command"]]
    if words[0] == "/opt/fedmend/supernode.py":
        program, *words = "flower-supernode", *words[1:]
    elif program == "python":  # which becomes what follows
        assert words[0] == "/opt/fedmend/compact.py"
        assert f"--database={words[1]}" in words
        program, *words = words[2:]
    if program in PARSERS and words != ["--version"]:
        PARSERS[program]().parse_args(words)  # exits with 2 for a word it does not know
    elif program == "fedmend":
        _fedmend(words)
    elif program == "sh":
        for call in re.findall(r"fedmend (?:provision|synth) [^&|]*", words[1]):
            _fedmend(call.split()[1:])
    else:
        assert program in {"nginx", "cp", "flower-supernode"}


def _fedmend(words: list[str]) -> None:
    if words == ["--version"]:
        return
    command = typer.main.get_command(app)
    assert isinstance(command, TyperGroup)
    command.commands[words[0]].make_context(
        words[0], list(words[1:])
    )  # raises for a word it does not know


def test_an_unknown_word_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        supernode_parser().parse_args(["--clientappio", "x"])
    assert "clientappio" in capsys.readouterr().err


def test_the_trial_uses_the_commands_of_real_ones() -> None:
    trial = compose("docker-compose.yml")["services"]
    site = compose("deploy/site/compose.yml", {**GIVEN, "FEDMEND_COORDINATOR": "gateway:8443"})
    coordinator = compose("deploy/coordinator/compose.yml")["services"]
    for name in ("gateway", "superlink", "superexec"):
        assert trial[name]["command"] == coordinator[name]["command"]
    real = site["services"]
    for hospital in ("north", "south", "west"):
        assert trial[f"{hospital}-supernode"]["command"] == real["supernode"]["command"]
        wanted = [
            each.replace("supernode:", f"{hospital}-supernode:")
            for each in real["superexec"]["command"]
        ]
        assert trial[f"{hospital}-superexec"]["command"] == wanted


def test_a_gpu_is_reserved_for_what_computes() -> None:
    services_ = compose(GPU)["services"]
    assert services_.keys() == {"superexec", "doctor"}
    for service in services_.values():
        assert service["image"].endswith("-cuda")
        [device] = service["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}


@pytest.mark.parametrize("hospital", ["north", "south", "west"])
def test_the_trial_writes_site_files_that_hold(hospital: str, tmp_path: Path) -> None:
    """Run the hand-over's own shell words, its folders moved to a scratch place."""
    service = compose("docker-compose.yml")["services"][f"hand-over-{hospital}"]
    own = tmp_path / "federation" / "sites" / hospital
    own.mkdir(parents=True)
    (own / "site.key").write_text("secret")
    given = tmp_path / "etc"
    given.mkdir()
    data = tmp_path / "data"
    data.mkdir()
    tree.write(
        Order(sites=3, images=2, size=36, seed=0, noise="none()", noise_share=0.5, broken=0),
        data / "sites",
        lambda: None,
    )
    script = service["command"][2]
    for there, here in (
        ("/var/lib/fedmend/federation", tmp_path / "federation"),
        ("/etc/fedmend", given),
    ):
        script = script.replace(there, str(here))
    subprocess.run(["sh", "-c", script], check=True, env={**os.environ, **service["environment"]})
    written = given / "site.toml"
    written.write_text(written.read_text().replace("path=/data", f"path={data}"))
    site = site_file.read(written)
    assert site.name == hospital
    assert str(site.coordinator) == "gateway:8443"
    assert (given / "site.key").read_text() == "secret"
    assert len(plugins.READERS.build(site.data).index().records) == 2


def test_the_trials_run_asks_for_settings_that_reach_it() -> None:
    script = compose("docker-compose.yml")["services"]["run"]["command"][2]
    words = script.partition(" -c '")[2].rstrip().removesuffix("'")
    config = parse_config_args([words])
    assert len(config) == words.replace("std=", "").count("="), "Flower drops what it cannot read"
    Settings.parse(config)
    assert config["min-sites"] == 3


def test_the_version_in_the_trial_is_the_programs() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert f"fedmend-app:{table['project']['version']}-cpu" in text("docker-compose.yml")

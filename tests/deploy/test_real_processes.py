"""A federation of real processes: what it comes to, and whom it lets in while it works."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from commands.provisioning import keys as key_pairs
from commands.provisioning.federation import Federation
from fedmend import __version__
from tests.deploy.containers import Container, await_
from tests.deploy.hospitals import HUB, PATIENCE, Hospitals, fedmend, opened
from tests.deploy.simulation import by_flower, comparable, simulated, unlike

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1500)]

SITES = ("site-0", "site-1", "site-2")
STRANGERS = ("no-key", "revoked", "wrong-ca", "unknown")
ARMS = "raw,removed,imputed"
SITE_FILE = "deploy/site/compose.yml"
WORKER = "client_app.warm.worker"


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospitals]:
    with opened(tmp_path_factory.mktemp("federation"), SITES, strangers=STRANGERS) as made:
        made.start()
        yield made


def _strangers(hospitals: Hospitals, tmp_path: Path) -> dict[str, Container]:
    """Start SuperNodes that must not get in."""
    federation = hospitals.federation
    for name in STRANGERS[:3]:
        hospitals.provision(name)
    known = federation.roll().find("revoked")
    assert known is not None
    hospitals.register()
    fedmend("revoke", "revoked", "--out", str(federation.root))
    assert hospitals.register()["revoked"] == "unregistered"
    hospitals.provision("unknown")
    other = Federation(tmp_path / "other")
    fedmend("provision", "--out", str(other.root), "--coordinator", "localhost", "--site", "x")
    shutil.copy(other.ca / "ca.crt", hospitals.folder_of("wrong-ca") / "ca.crt")
    folders = {name: hospitals.folder_of(name) for name in STRANGERS}
    folders["revoked"] = federation.root / "revoked" / f"revoked-{key_pairs.fingerprint(known.key)}"
    return {
        name: hospitals.start_service(
            SITE_FILE, "supernode", name, folder,
            "--auth-supernode-private-key" if name == "no-key" else "",
        )
        for name, folder in folders.items()
    }  # fmt: skip


SAID = {
    "no-key": "SuperNode authentication is enabled",
    "revoked": "Failed to activate SuperNode",
    "wrong-ca": "CERTIFICATE_VERIFY_FAILED",
    "unknown": "Failed to activate SuperNode",
}
"""What a stranger's own log says."""


def _refused(hospitals: Hospitals, strangers: dict[str, Container]) -> None:
    """Check that each was told so, and that the coordinator's log says who it was."""
    link = hospitals.containers[f"{HUB}-superlink"]
    for name, container in strangers.items():
        await_(partial(container.said, SAID[name]), f"{name} is told", PATIENCE)
        container.stop()
        assert not container.said("SuperNode ID: "), name
    assert link.said("[/v1/fleet/register-node][ApiError:2001]")  # has no key to be named by
    for name, heard in (("revoked", True), ("unknown", True), ("wrong-ca", False)):
        key = next(site.key for site in hospitals.federation.roll().sites if site.name == name)
        middle = key_pairs.wire_form(key).splitlines()[1].decode()
        # Who does not trust the coordinator hangs up before saying who it is.
        assert link.said(middle) == heard, name
    if hospitals.gateway:
        gate = hospitals.containers[f"{HUB}-gateway"]
        assert gate.said("alert unknown ca")
        assert gate.said(f"client: {hospitals.network.address('wrong-ca')}")


def test_it_comes_to_what_a_simulation_comes_to_whoever_knocks(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    run = hospitals.submit({"arms": ARMS, "run-name": "three"})
    _refused(hospitals, _strangers(hospitals, tmp_path))
    outcome = hospitals.wait(run, 900)
    assert outcome.outcome == "completed", outcome
    for site in SITES:
        container = hospitals.containers[f"{site}-superexec"]
        workers = [each for each in container.members() if WORKER in each.cmdline()]
        assert len(workers) == 1, "every message was the same worker's"
        assert not container.said("no warm worker")
    real = hospitals.folder("three")
    models = ("imputer", *(f"classifier-{arm}" for arm in ARMS.split(",")))
    for simulate in (simulated, by_flower):
        folder = tmp_path / simulate.__name__
        same = simulate(hospitals.data, folder, len(SITES), {"arms": ARMS, "run-name": "three"})
        assert comparable(real) == comparable(same)
        assert unlike(real, same, models) == []
    assert sorted(hospitals.register()) == sorted([*SITES, "no-key", "wrong-ca", "unknown"])


def test_a_site_with_another_version_installed_is_refused_by_name(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    """It runs the coordinator's program, as every site does: what it has installed counts."""
    metadata = tmp_path / "fedmend-0.0.9.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: fedmend\nVersion: 0.0.9\n")
    late = SITES[-1]
    hospitals.containers[f"{late}-superexec"].stop()
    hospitals.start_service(
        SITE_FILE, "superexec", late, hospitals.folder_of(late),
        environment={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    try:
        outcome = hospitals.run(arms="raw", run_name="old-version", imputation__rounds=0)
    finally:
        hospitals.containers[f"{late}-superexec"].stop()
        hospitals.start_service(SITE_FILE, "superexec", late, hospitals.folder_of(late))
    assert outcome.outcome == "completed", outcome
    summary = json.loads((hospitals.folder("old-version") / "summary.json").read_text())
    ours = f"it has fedmend 0.0.9 installed, and this run is of {__version__}"
    assert summary["sites"]["refused"] == {late: ours}
    assert summary["sites"]["used"] == len(SITES) - 1

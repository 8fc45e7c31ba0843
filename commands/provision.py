"""``fedmend provision``, ``revoke`` and ``register``: who belongs to a federation of real sites."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from commands.console import out
from commands.provisioning import keys, names, registry, roll
from commands.provisioning.certificates import CA_DAYS, SERVER_DAYS
from commands.provisioning.federation import CONTROL_PORT, PORT, Federation
from commands.provisioning.names import ProvisionError


class Wanted(NamedTuple):
    """What a command line asks for."""

    hosts: Sequence[str]
    port: int | None
    sites: Sequence[str]
    renew: bool


def provision(target: Path, wanted: Wanted) -> None:
    """Make a federation's keys, or add sites to it.

    Raises:
        ProvisionError: names, hosts or the folder are not fit for it; nothing was written, except
            the sites that were named before the one at fault.
        OSError: the system refuses.
    """
    federation = Federation(target.expanduser().absolute())
    _check(federation, wanted)
    with federation.alone():
        if not federation.exists:
            made = federation.create(wanted.hosts, wanted.port or PORT)
            _say(f"new federation of coordinator {made.address} in {federation.root}")
            _say(f"  its certificate ends in {SERVER_DAYS} days, that of its CA in {CA_DAYS}")
        elif wanted.renew:
            made = federation.renew(wanted.hosts)
            _say(f"new certificate for {', '.join(made.hosts)}: copy server.crt and server.key to")
            _say("  the coordinator's machine, then restart gateway and superlink there")
        for name in wanted.sites:
            folder = federation.add(name)
            site = federation.roll().find(name)
            assert site is not None
            _say(f"site {name}, key {keys.fingerprint(site.key)}: hand over {folder}")
    if wanted.sites:
        _say(f"then, at the coordinator: fedmend register {federation.coordinator}")


def _check(federation: Federation, wanted: Wanted) -> None:
    """Refuse what cannot be done, before anything is written."""
    if len({name.lower() for name in wanted.sites}) < len(wanted.sites):
        raise ProvisionError("a site is named twice")
    for name in wanted.sites:
        federation.check_new(name)
    hosts = [names.host(each) for each in wanted.hosts]
    if wanted.port is not None:
        names.port(wanted.port)
    if not federation.exists:
        if not hosts:
            raise ProvisionError("a new federation needs --coordinator HOST")
        if wanted.renew:
            raise ProvisionError("there is no certificate to renew: no federation is here")
        return
    known = federation.roll()
    if wanted.port not in (None, known.port):
        raise ProvisionError(f"the sites' files say port {known.port}; it cannot be changed here")
    if hosts and not wanted.renew and set(hosts) != set(known.hosts):
        raise ProvisionError(
            f"this federation's coordinator is {', '.join(known.hosts)}; "
            "for a certificate with other names add --renew"
        )
    if not wanted.sites and not wanted.renew:
        raise ProvisionError("name the sites to add with --site NAME, or say --renew")


def revoke(name: str, target: Path) -> None:
    """Take a site's key out of the federation.

    Raises:
        ProvisionError: there is no such site.
        OSError: the system refuses.
    """
    federation = Federation(target.expanduser().absolute())
    if not federation.exists:
        raise ProvisionError("no federation is provisioned there", local=str(federation.root))
    with federation.alone():
        site = federation.revoke(name)
    _say(f"site {site.name}, key {keys.fingerprint(site.key)}: revoked")
    _say("  it can connect until the coordinator has heard of it: copy federation.json there, and")
    _say(f"  fedmend register {federation.coordinator}")


def register(folder: Path, address: str) -> None:
    """Bring the SuperLink's list of sites in line with the coordinator's folder.

    Raises:
        ProvisionError: it is no such folder.
        RunError: the SuperLink does not answer.
    """
    folder = folder.expanduser().absolute()
    wanted = roll.read(folder)
    control = address or f"127.0.0.1:{CONTROL_PORT}"
    changes = registry.align(control, folder / "ca.crt", wanted)
    for change in changes:
        _say(f"site {change.name}: {change.what}")
    if not changes:
        _say("no site is provisioned yet")


def _say(line: str) -> None:
    out().print(Text(line), soft_wrap=True)

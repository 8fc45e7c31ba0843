"""The roll: the coordinator's record of its own names and of every site's public key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from commands.provisioning import names
from commands.provisioning.names import Address, ProvisionError
from fedmend.files import write_atomically

FILE = "federation.json"
_SCHEMA = 1


@dataclass(frozen=True)
class Site:
    """One key of one site."""

    name: str
    key: str
    """The public key, one OpenSSH line."""
    since: str
    """Day of its making."""
    revoked: str = ""
    """Day of its revocation; empty: it is valid."""


@dataclass(frozen=True)
class Roll:
    """Everything the coordinator knows of its federation; nothing in it is secret."""

    hosts: tuple[str, ...]
    """What sites call the coordinator; the first is written into their files."""
    port: int
    sites: tuple[Site, ...] = ()

    @property
    def address(self) -> Address:
        """Where sites reach the coordinator."""
        return Address(self.hosts[0], self.port)

    def valid(self) -> Iterator[Site]:
        """Iterate over the sites whose key is not revoked."""
        return (site for site in self.sites if not site.revoked)

    def find(self, name: str) -> Site | None:
        """Return the valid entry of a site."""
        return next((site for site in self.valid() if site.name.lower() == name.lower()), None)

    def with_site(self, site: Site) -> Roll:
        """Return the roll with one entry more."""
        return replace(self, sites=(*self.sites, site))

    def without(self, gone: Site, day: str) -> Roll:
        """Return the roll with an entry revoked; it stays on record."""
        return replace(
            self,
            sites=tuple(
                replace(site, revoked=day) if site == gone else site for site in self.sites
            ),
        )

    def write(self, folder: Path) -> None:
        """Write it into the coordinator's folder."""
        text = json.dumps({"schema": _SCHEMA, **asdict(self)}, indent=2)
        write_atomically(folder / FILE, text + "\n")


def read(folder: Path) -> Roll:
    """Return the roll of a coordinator's folder.

    Raises:
        ProvisionError: there is none, or it is damaged.
    """
    path = folder / FILE
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["schema"] != _SCHEMA:
            raise ProvisionError("the roll was written by another version of fedmend")
        sites = tuple(Site(**each) for each in table["sites"])
        for site in sites:
            names.site(site.name)
        hosts = tuple(names.host(each) for each in table["hosts"])
        return Roll(hosts, names.port(table["port"]), sites)
    except FileNotFoundError as error:
        raise ProvisionError(
            "this is no coordinator's folder made by fedmend provision", local=str(folder)
        ) from error
    except (KeyError, TypeError, IndexError, json.JSONDecodeError) as error:
        raise ProvisionError(
            "the record of the federation is damaged; restore it from a backup", local=str(path)
        ) from error

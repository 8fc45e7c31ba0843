"""The folder that ``fedmend provision`` keeps, one part of it for each machine.

::

    DIR/ca/            ca.key, ca.crt               stays with whoever provisions, best off line
    DIR/coordinator/   certificate, roll, compose   goes to the coordinator's machine
    DIR/sites/NAME/    key, CA, site.toml, compose  goes to that hospital, and to nobody else
    DIR/revoked/       what revoked sites had
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from client_app.locks import held
from commands.provisioning import certificates, keys, names, roll, templates
from commands.provisioning.certificates import Pair
from commands.provisioning.names import ProvisionError
from commands.provisioning.roll import Roll, Site
from fedmend import __version__
from fedmend.files import write_atomically

PORT = 8443
CONTROL_PORT = 8000
CONNECTION = "fedmend"
"""What the coordinator's Flower configuration calls this SuperLink."""
PRIVATE, PUBLIC, CLOSED = 0o600, 0o644, 0o700


class Federation:
    """A federation's folder.

    Args:
        root: of the folder; it exists once :meth:`create` was called.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ca = root / "ca"
        self.coordinator = root / "coordinator"

    @property
    def exists(self) -> bool:
        """Whether the folder has been provisioned."""
        return (self.coordinator / roll.FILE).is_file()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other commands out of the folder; made where it does not exist.

        Raises:
            ProvisionError: the folder holds something else, or others may write into it.
        """
        if self.root.is_dir() and any(self.root.iterdir()) and not self.ca.is_dir():
            raise ProvisionError(
                "the folder holds something else; name a new one", local=str(self.root)
            )
        self.root.mkdir(mode=CLOSED, parents=True, exist_ok=True)
        self.root.chmod(CLOSED)
        with held(self.root / ".lock"):
            yield

    def create(self, hosts: Sequence[str], port: int) -> Roll:
        """Make the CA and the coordinator's folder.

        Args:
            hosts: host names and IP addresses of the coordinator; sites use the first.
            port: that sites connect to.

        Raises:
            ProvisionError: a host or port that cannot be, or a CA is there already.
        """
        wanted = Roll(tuple(names.host(each) for each in hosts), names.port(port))
        if self.ca.exists():
            raise ProvisionError("there is a CA already, but no coordinator: restore its folder")
        issuer = certificates.authority(certificates.now())
        ca = certificates.certificate_text(issuer.certificate)
        with _made(self.ca) as folder:
            _write(folder, {"ca.key": certificates.key_text(issuer.key)}, PRIVATE)
            _write(folder, {"ca.crt": ca}, PUBLIC)
        with _made(self.coordinator) as folder:
            self._fill_coordinator(folder, issuer, wanted)
        return wanted

    def _fill_coordinator(self, folder: Path, issuer: Pair, wanted: Roll) -> None:
        own = certificates.server(issuer, wanted.hosts, certificates.now())
        private = {
            "server.key": certificates.key_text(own.key),
            "superexec.secret": secrets.token_hex(32),
        }
        public = {
            "ca.crt": certificates.certificate_text(issuer.certificate),
            "server.crt": certificates.certificate_text(own.certificate),
            "compose.yml": templates.text("coordinator", "compose.yml"),
            "gateway.conf": templates.text("coordinator", "gateway.conf"),
            "README.md": templates.filled(
                {"address": str(wanted.address), "version": __version__},
                "coordinator", "README.md",
            ),
            ".env": _environment({
                "FEDMEND_PORT": str(wanted.port),
                "FEDMEND_CONTROL_PORT": str(CONTROL_PORT),
                "FEDMEND_VERSION": __version__,
            }),
        }  # fmt: skip
        _write(folder, private, PRIVATE)
        _write(folder, public, PUBLIC)
        (folder / "keys").mkdir(mode=CLOSED)
        wanted.write(folder)

    def roll(self) -> Roll:
        """Return the coordinator's roll.

        Raises:
            ProvisionError: there is none, or it is damaged.
        """
        return roll.read(self.coordinator)

    def add(self, name: str) -> Path:
        """Make a site's key pair and the folder to hand over; return that folder.

        Raises:
            ProvisionError: the name cannot be, or is taken.
        """
        known = self.roll()
        self.check_new(name)
        folder = self.root / "sites" / names.site(name)
        made = keys.pair(name)
        site = Site(name, made.public, certificates.now().date().isoformat())
        private = {"site.key": made.private, "superexec.secret": secrets.token_hex(32)}
        words = {
            "name": name,
            "coordinator": str(known.address),
            "host": known.address.host,
            "port": str(known.port),
            "fingerprint": keys.fingerprint(made.public),
            "version": __version__,
        }
        public = {
            "ca.crt": (self.ca / "ca.crt").read_text(encoding="utf-8"),
            "compose.yml": templates.text("site", "compose.yml"),
            "compose.gpu.yml": templates.text("site", "compose.gpu.yml"),
            "site.toml": templates.filled(words, "site", "site.toml"),
            "README.md": templates.filled(words, "site", "README.md"),
            ".env": _environment({
                "FEDMEND_COORDINATOR": str(known.address),
                "FEDMEND_VERSION": __version__,
                "FEDMEND_DATA": "",
            }),
        }  # fmt: skip
        with _made(folder) as partial:
            _write(partial, private, PRIVATE)
            _write(partial, public, PUBLIC)
        _write(self.coordinator / "keys", {f"{name}.pub": made.public + "\n"}, PUBLIC)
        known.with_site(site).write(self.coordinator)
        return folder

    def check_new(self, name: str) -> None:
        """Refuse a name that cannot be given.

        Raises:
            ProvisionError: it is ill-formed, taken, or its folder is there.
        """
        folder = self.root / "sites" / names.site(name)
        if self.exists and self.roll().find(name):
            raise ProvisionError(f"site {name} is provisioned already; nothing was overwritten")
        if folder.exists():
            raise ProvisionError(
                f"site {name} has a folder already; nothing was overwritten", local=str(folder)
            )

    def revoke(self, name: str) -> Site:
        """Mark a site's key as no longer valid, and put its files aside.

        Raises:
            ProvisionError: there is no such site.
        """
        known = self.roll()
        site = known.find(names.site(name))
        if site is None:
            there = ", ".join(each.name for each in known.valid()) or "none"
            raise ProvisionError(f"no site {name} has a valid key; those that have: {there}")
        known.without(site, certificates.now().date().isoformat()).write(self.coordinator)
        (self.coordinator / "keys" / f"{site.name}.pub").unlink(missing_ok=True)
        folder = self.root / "sites" / site.name
        if folder.is_dir():
            aside = self.root / "revoked"
            aside.mkdir(mode=CLOSED, exist_ok=True)
            folder.rename(aside / f"{site.name}-{keys.fingerprint(site.key)}")
        return site

    def renew(self, hosts: Sequence[str]) -> Roll:
        """Give the coordinator a new certificate and key from the same CA.

        Args:
            hosts: that it is to be valid for; empty: those of the one it has.

        Raises:
            ProvisionError: the CA's key is not there, or sites know the coordinator by a name
                that is not among the hosts.
        """
        known = self.roll()
        wanted = replace(known, hosts=tuple(names.host(each) for each in hosts) or known.hosts)
        if known.hosts[0] not in wanted.hosts:
            raise ProvisionError(
                f"the sites' files call the coordinator {known.hosts[0]}: name it among the hosts"
            )
        # What the sites' files say stays first.
        rest = (each for each in wanted.hosts if each != known.hosts[0])
        wanted = replace(wanted, hosts=(known.hosts[0], *rest))
        issuer = Pair(
            certificates.read(self.ca / "ca.crt"), certificates.read_key(self.ca / "ca.key")
        )
        own = certificates.server(issuer, wanted.hosts, certificates.now())
        _write(self.coordinator, {"server.key": certificates.key_text(own.key)}, PRIVATE)
        _write(
            self.coordinator,
            {"server.crt": certificates.certificate_text(own.certificate)},
            PUBLIC,
        )
        wanted.write(self.coordinator)
        return wanted


def _environment(values: Mapping[str, str]) -> str:
    """Return a file that compose reads settings from."""
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _write(folder: Path, files: Mapping[str, str], mode: int) -> None:
    for name, text in files.items():
        write_atomically(folder / name, text, mode)


@contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill, which takes its name once it is full: nobody finds half of one."""
    folder.parent.mkdir(mode=CLOSED, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    partial.mkdir(mode=CLOSED)
    try:
        yield partial
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)

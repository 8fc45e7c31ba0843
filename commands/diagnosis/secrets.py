"""Keys and certificates: there, readable, unread by others, and valid for some time yet."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509

from commands.diagnosis.finding import Finding, ok, problem, warning
from commands.provisioning import certificates, keys
from commands.provisioning.roll import Roll

SOON = 30
"""Days before its end from which on a certificate is spoken of."""


def private_mode(subject: str, path: Path) -> Iterator[Finding]:
    """Look whether a private file can be read, and by whom.

    Raises:
        OSError: it cannot be read.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    with path.open("rb"):
        pass
    if mode & 0o077:
        yield problem(subject, f"others may read or write it (mode {mode:04o}): chmod 600 {path}")
    else:
        yield ok(subject, f"readable, mode {mode:04o}")


def site_key(path: Path) -> Iterator[Finding]:
    """Look at a site's private key.

    Raises:
        ProvisionError: it is none.
        OSError: it cannot be read.
    """
    yield from private_mode("key", path)
    number = keys.fingerprint(keys.public_of(path))
    yield ok("key", f"number {number}: the coordinator must see the same")


def validity(subject: str, certificate: x509.Certificate, now: datetime) -> Finding:
    """Look at how long a certificate is valid."""
    left = certificates.days_left(certificate, now)
    end = certificate.not_valid_after_utc.date()
    if now < certificate.not_valid_before_utc:
        begin = certificate.not_valid_before_utc
        return problem(
            subject, f"not valid before {begin:%Y-%m-%d %H:%M} UTC: is this machine's clock right?"
        )
    if left < 0:
        return problem(
            subject,
            f"it ended on {end}: at the coordinator, fedmend provision --renew (of a CA: anew)",
        )
    if left < SOON:
        return warning(subject, f"it ends in {left} days, on {end}: fedmend provision --renew")
    return ok(subject, f"valid for {left} days")


def authority(path: Path, now: datetime) -> Iterator[Finding]:
    """Look at the CA's certificate.

    Raises:
        ProvisionError: the file holds none.
        OSError: it cannot be read.
    """
    ca = certificates.read(path)
    if not _may_sign(ca):
        yield problem("CA", f"{path} is a certificate, but of no authority")
    else:
        yield validity("CA", ca, now)


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def server(folder: Path, roll: Roll, now: datetime) -> Iterator[Finding]:
    """Look at the coordinator's certificate and key.

    Raises:
        ProvisionError: a file holds no certificate or key.
        OSError: one cannot be read.
    """
    certificate = certificates.read(folder / "server.crt")
    yield from private_mode("server key", folder / "server.key")
    key = certificates.read_key(folder / "server.key")
    if certificate.public_key() != key.public_key():
        yield problem("certificate", "server.key belongs to another certificate: copy both again")
    if not certificates.issued_by(certificate, certificates.read(folder / "ca.crt")):
        yield problem("certificate", "the sites' CA did not sign it: fedmend provision --renew")
    missing = [host for host in roll.hosts if host not in hosts_of(certificate)]
    if missing:
        yield problem("certificate", f"it does not name {', '.join(missing)}: copy it again")
    yield validity("certificate", certificate, now)


def hosts_of(certificate: x509.Certificate) -> set[str]:
    """Return the DNS names and IP addresses that a certificate is for."""
    try:
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = map(str, named.get_values_for_type(x509.IPAddress))
    return {*named.get_values_for_type(x509.DNSName), *addresses}

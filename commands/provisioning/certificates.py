"""The federation's own certificate authority, and the coordinator's certificate (RFC 5280)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from commands.provisioning import names
from commands.provisioning.names import ProvisionError

CA_DAYS = 3650
SERVER_DAYS = 365
INNER_HOSTS = ("superlink", "localhost", "127.0.0.1")
"""What the SuperLink is called by the containers beside it and on its own machine."""
_SKEW = timedelta(hours=1)
"""A certificate is valid this long before it was made: not all clocks agree."""


class Pair(NamedTuple):
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def authority(now: datetime) -> Pair:
    """Return a new certificate authority, which may sign end certificates only."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _name("fedmend federation CA")
    usage = _usage(key_cert_sign=True, crl_sign=True, digital_signature=False)
    builder = (
        _dated(subject, subject, key, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return Pair(builder.sign(key, hashes.SHA384()), key)


def server(issuer: Pair, hosts: Sequence[str], now: datetime, days: int = SERVER_DAYS) -> Pair:
    """Return a certificate for the coordinator.

    Args:
        issuer: the authority.
        hosts: DNS names and IP addresses that sites use; :data:`INNER_HOSTS` are added.
        now: when it begins, but for an hour.
        days: after which it ends; never after its issuer's end.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    issued = issuer.certificate
    names_ = [_general(each) for each in dict.fromkeys([*hosts, *INNER_HOSTS])]
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    usage = _usage(key_cert_sign=False, crl_sign=False, digital_signature=True)
    left = (issued.not_valid_after_utc - now).days
    builder = (
        _dated(_name(hosts[0]), issued.subject, key, now, min(days, left))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names_), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(usage, critical=True)
    )
    return Pair(builder.sign(issuer.key, hashes.SHA384()), key)


def _dated(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    if days < 1:
        raise ProvisionError("the federation's CA has ended; provision a new federation")
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(own, critical=False)
    )


def _name(text: str) -> x509.Name:
    # X.520 bounds a common name at 64 characters; clients look at the SANs alone.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _general(host: str) -> x509.GeneralName:
    address = names.ip(host)
    return x509.IPAddress(ipaddress.ip_address(host)) if address else x509.DNSName(host)


def _usage(*, key_cert_sign: bool, crl_sign: bool, digital_signature: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def certificate_text(certificate: x509.Certificate) -> str:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_text(key: ec.EllipticCurvePrivateKey) -> str:
    """Return a private key as unencrypted PKCS #8 PEM, which a server can start with unattended."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def read(path: Path) -> x509.Certificate:
    """Return the certificate of a PEM file.

    Raises:
        ProvisionError: it holds none.
        OSError: it cannot be read.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise ProvisionError("the file holds no certificate", local=str(path)) from error


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the private key of a PEM file.

    Raises:
        ProvisionError: it holds none, or none of an elliptic curve.
        OSError: it cannot be read.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise ProvisionError("the file holds no private key", local=str(path)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ProvisionError("the private key is not of an elliptic curve", local=str(path))
    return key


def days_left(certificate: x509.Certificate, now: datetime) -> int:
    """Return the whole days until a certificate ends; negative where it has ended."""
    return (certificate.not_valid_after_utc - now).days


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Say whether an authority signed a certificate."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)

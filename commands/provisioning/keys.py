"""A site's key pair, in the form that Flower's SuperNode and SuperLink read: OpenSSH, P-384."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from commands.provisioning.names import ProvisionError


class KeyPair(NamedTuple):
    """A key pair as text."""

    private: str
    """OpenSSH private key, unencrypted: the SuperNode starts unattended."""
    public: str
    """One line, ``ecdsa-sha2-nistp384 … NAME``."""


def pair(name: str) -> KeyPair:
    """Return a new key pair; ``name`` is the public key's comment."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    ).decode()
    return KeyPair(private, f"{_line(key.public_key())} {name}")


def public_of(private: Path) -> str:
    """Return the public key of a private key's file, without a comment.

    Raises:
        ProvisionError: it holds no such key as SuperNodes use.
        OSError: it cannot be read.
    """
    try:
        key = serialization.load_ssh_private_key(private.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ProvisionError("the file holds no OpenSSH private key", local=str(private)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ProvisionError("the private key is not of an elliptic curve", local=str(private))
    return _line(key.public_key())


def wire_form(public: str) -> bytes:
    """Return a public key as the SuperLink keeps it: PEM, SubjectPublicKeyInfo.

    Raises:
        ProvisionError: the line is no public key.
    """
    try:
        key = serialization.load_ssh_public_key(public.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ProvisionError("a site's public key cannot be read", local=public) from error
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def fingerprint(public: str) -> str:
    """Return the first 16 hexadecimal digits of a public key's SHA-256, to compare by phone."""
    return hashlib.sha256(wire_form(public)).hexdigest()[:16]


def _line(key: ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    ).decode()

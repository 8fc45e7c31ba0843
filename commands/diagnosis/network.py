"""Whether the coordinator can be reached, and is the one that the CA vouches for."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

from cryptography import x509

from commands.diagnosis.finding import Finding, ok, problem, warning
from commands.diagnosis.secrets import validity
from commands.provisioning.names import Address

_PATIENCE = 10.0
_CLOCK = 5.0
"""Seconds that clocks may differ by: Flower refuses what is signed some ten seconds away."""

_TRUST = {
    9: "its certificate is not valid yet: is this machine's clock right?",
    10: "its certificate has ended: the coordinator must renew it (fedmend provision --renew)",
    62: "its certificate is for other names than this: the coordinator must renew it with this one",
    64: "its certificate is for other addresses than this: the coordinator must renew it with it",
}
"""OpenSSL's X509_V_ERR_* of which the user can do something."""
_STRANGER = (
    "its certificate is not from this CA: ca.crt is of another federation, or something between "
    "here and the coordinator opens the connection"
)


def coordinator(address: Address, ca: Path) -> Iterator[Finding]:
    """Connect as a SuperNode does, and ask how the coordinator is.

    Args:
        address: of the coordinator.
        ca: certificate of the federation's authority.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError):
        yield problem("coordinator", f"not looked for: {ca} cannot be used as a CA")
        return
    connection = HTTPSConnection(address.host, address.port, timeout=_PATIENCE, context=context)
    try:
        connection.connect()
        yield ok("coordinator", f"{address} answers, and the CA vouches for it")
        yield _certificate(connection)
        yield from _health(connection)
    except (OSError, HTTPException) as error:
        yield problem("coordinator", f"{address}: {_meaning(error)}")
    finally:
        connection.close()


def _certificate(connection: HTTPSConnection) -> Finding:
    link = connection.sock
    assert isinstance(link, ssl.SSLSocket)
    shown = link.getpeercert(binary_form=True)
    assert shown is not None  # the context asks for one
    certificate = x509.load_der_x509_certificate(shown)
    return validity("its certificate", certificate, datetime.now(UTC))


def _health(connection: HTTPSConnection) -> Iterator[Finding]:
    connection.request("GET", "/health")
    reply = connection.getresponse()
    reply.read()
    if reply.status != 200:
        yield problem(
            "coordinator",
            f"its gateway is there, but Flower's SuperLink behind it is not (HTTP {reply.status})",
        )
    elif date := reply.headers["Date"]:
        yield clock(parsedate_to_datetime(date).timestamp(), time.time())


def clock(theirs: float, ours: float) -> Finding:
    """Compare the clocks, in seconds of POSIX time; theirs is a whole second."""
    apart = max(abs(ours - theirs - 0.5) - 0.5, 0.0)
    if apart > _CLOCK:
        return problem(
            "clock",
            f"{apart:.0f} s apart from the coordinator's, which refuses what is signed at another "
            "time: let NTP set both",
        )
    return ok("clock", "agrees with the coordinator's")


def _meaning(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _TRUST.get(error.verify_code, _STRANGER)
    if isinstance(error, ssl.SSLError):
        return f"what listens there speaks no TLS as Flower does ({error.reason})"
    if isinstance(error, socket.gaierror):
        return "this name is not known here: a mistyped coordinator, or DNS"
    if isinstance(error, ConnectionRefusedError):
        return "the machine is there, but nothing listens: the coordinator is down, or another port"
    if isinstance(error, TimeoutError):
        return f"no answer in {_PATIENCE:.0f} s: a firewall, most often, or the machine is off"
    if isinstance(error, HTTPException):
        return f"what answers there is no SuperLink ({type(error).__name__})"
    return f"cannot be reached ({error.__class__.__name__}: {error})"


def names_agree(address: Address, environment: Path) -> Iterator[Finding]:
    """Compare ``site.toml`` with the ``.env`` beside it, which compose reads.

    Raises:
        OSError: that file cannot be read.
    """
    if not environment.is_file():
        return
    lines = environment.read_text(encoding="utf-8").splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    other = values.get("FEDMEND_COORDINATOR", "")
    if other != str(address):
        yield warning(
            "coordinator", f".env says {other or 'nothing'}, site.toml {address}: compose uses .env"
        )

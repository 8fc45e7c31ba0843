"""What sites and coordinators may be called: every name ends up in files, commands and logs."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from fedmend.errors import UserError

_SITE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_LONGEST_HOST = 253
_PORTS = range(1, 65536)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class ProvisionError(UserError):
    """Sites, hosts or folders that cannot be provisioned as asked."""


class Address(NamedTuple):
    """Where the sites reach the coordinator."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``host:port``; an IPv6 address stands in brackets.

        Raises:
            ProvisionError: it is none.

        >>> Address.parse("[::1]:8443")
        Address(host='::1', port=8443)
        """
        name, colon, number = text.rpartition(":")
        bare = name.removeprefix("[").removesuffix("]") if name.startswith("[") else name
        if not colon or not number.isascii() or not number.isdigit():
            raise ProvisionError(f"the coordinator's address must be host:port; got {text!r}")
        if ":" in bare and bare == name:
            raise ProvisionError(f"an IPv6 address must stand in brackets; got {text!r}")
        return cls(host(bare), port(int(number)))


def site(text: str) -> str:
    """Return a site's name.

    Raises:
        ProvisionError: it has anything but letters, digits and inner dashes, or over 32 of them.
    """
    if not _SITE.fullmatch(text):
        raise ProvisionError(
            "a site's name must be 1 to 32 letters (a to z), digits and dashes, "
            f"no dash first or last; got {text!r}"
        )
    return text


def ip(text: str) -> IPAddress | None:
    """Return the IP address that a text is, if any."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def host(text: str) -> str:
    """Return a host's name or IP address.

    Raises:
        ProvisionError: it is neither.
    """
    address = ip(text)
    if address is not None:
        if address.is_unspecified or address.is_multicast:
            raise ProvisionError(f"no site can reach {text}; give the address that sites use")
        return str(address)
    labels = text.split(".")
    numeric = labels[-1].isdigit()  # 10.0.0.256 is a mistyped address, and no host's name
    if numeric or len(text) > _LONGEST_HOST or not all(_LABEL.fullmatch(each) for each in labels):
        raise ProvisionError(
            f"a coordinator is a host name or an IP address, without scheme or port; got {text!r}"
        )
    return text.lower()


def port(number: int) -> int:
    """Return a TCP port.

    Raises:
        ProvisionError: it is out of range.
    """
    if number not in _PORTS:
        raise ProvisionError(f"a port must be from 1 to 65535; got {number}")
    return number

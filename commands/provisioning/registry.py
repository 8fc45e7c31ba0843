"""The SuperLink's list of SuperNodes, brought in line with the roll.

Its Control API asks for no identity: whoever reaches it may do this, and may start runs. That is
why the gateway lets nothing but ``/v1/fleet/`` and ``/health`` pass from outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from commands.provisioning import keys
from commands.provisioning.roll import Roll, Site
from fedmend.errors import RunError

if TYPE_CHECKING:
    from flwr.proto.node_pb2 import NodeInfo
    from flwr.supercore.control import ControlHttpClient

_GONE = "unregistered"


class Change(NamedTuple):
    """What became of one site."""

    name: str
    what: str
    """registered, unregistered, or as it was: online, offline, …"""


def align(address: str, ca: Path, wanted: Roll) -> list[Change]:
    """Register the keys that are valid, and unregister those that are revoked.

    Args:
        address: of the SuperLink's Control API, ``host:port``.
        ca: the CA's certificate.
        wanted: the roll.

    Returns:
        A change per site, in the roll's order; revoked ones only where there was something to do.

    Raises:
        RunError: the SuperLink does not answer, or refuses.
    """
    with _client(address, ca) as client:
        from flwr.proto.control_pb2 import ListNodesRequest

        # Those that were unregistered stay on its list, and their keys are never taken again.
        nodes = list(client.ListNodes(ListNodesRequest()).nodes_info)
        known = {bytes(node.public_key).strip(): node for node in nodes}
        changes = []
        for site in wanted.sites:
            node = known.get(keys.wire_form(site.key).strip())
            change = _dismiss(client, node) if site.revoked else _admit(client, site, node)
            if change:
                changes.append(Change(site.name, change))
        return changes


def _admit(client: ControlHttpClient, site: Site, node: NodeInfo | None) -> str:
    from flwr.proto.control_pb2 import RegisterNodeRequest

    if node is None:
        key = keys.wire_form(site.key)
        client.RegisterNode(RegisterNodeRequest(public_key=key, name=site.name))
        return "registered"
    if node.status == _GONE:
        raise RunError(
            f"the key of site {site.name} was unregistered before, and Flower takes no key twice: "
            f"fedmend revoke {site.name}, then provision it again"
        )
    return str(node.status)


def _dismiss(client: ControlHttpClient, node: NodeInfo | None) -> str:
    from flwr.proto.control_pb2 import UnregisterNodeRequest

    if node is None or node.status == _GONE:
        return ""
    client.UnregisterNode(UnregisterNodeRequest(node_id=node.node_id))
    return _GONE


@contextmanager
def _client(address: str, ca: Path) -> Iterator[ControlHttpClient]:
    import httpx
    from flwr.supercore.control import ControlHttpClient

    client = ControlHttpClient.from_server_address(
        address, insecure=False, root_certificates=ca.read_bytes(), interceptors=[]
    )
    try:
        yield client
    except httpx.HTTPError as error:
        raise RunError(
            "the SuperLink does not answer, or refuses; is it running, and is this the "
            "coordinator's machine?",
            local=f"{address}: {error}",
        ) from error
    finally:
        client.close()

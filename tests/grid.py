"""A Flower Grid within this process: it calls the ClientApp directly, without Ray or network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run

Fault = Callable[[Message, Message], Message | None]
"""Makes of a message and the site's reply what arrives: the reply, another one, or nothing."""


class LocalGrid(Grid):
    """Nodes of one ClientApp in this process.

    Args:
        app: what every node runs.
        config: the run config.
        nodes: node configs by node id; their order is the order of replies.
        faults: what befalls a node's replies.
    """

    def __init__(
        self,
        app: ClientApp,
        config: Mapping[str, Any],
        nodes: Mapping[int, Mapping[str, Any]],
        faults: Mapping[int, Fault] | None = None,
    ) -> None:
        self.app = app
        self.config = dict(config)
        self.nodes = {node: dict(own) for node, own in nodes.items()}
        self.faults = dict(faults or {})
        self.sent: list[Message] = []
        self.received: list[Message] = []
        self._replies: dict[str, Message] = {}

    @classmethod
    def simulated(
        cls,
        app: ClientApp,
        config: Mapping[str, Any],
        sites: int,
        faults: Mapping[int, Fault] | None = None,
    ) -> LocalGrid:
        """Return a grid whose nodes are configured as Flower's simulation does it.

        Node ids descend, so that the order of names is not the order of nodes.
        """
        nodes = {
            900 - number: {"partition-id": number, "num-partitions": sites}
            for number in range(sites)
        }
        return cls(app, config, nodes, {900 - key: value for key, value in (faults or {}).items()})

    def set_run(self, run: Run) -> None:
        raise AssertionError("nobody sets the run of a test's grid")

    @property
    def run(self) -> Run:
        raise AssertionError("nobody asks for the run of a test's grid")

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        assert isinstance(messages, list), "in deployment a generator is answered by HTTP 500"
        return [self._answered(message) for message in messages]

    def _answered(self, message: Message) -> str:
        node = message.metadata.dst_node_id
        key = f"message-{len(self.sent)}"
        message.metadata.__dict__["_message_id"] = key
        message.metadata.__dict__["_src_node_id"] = 1
        self.sent.append(message)
        context = Context(1, node, self.nodes[node], RecordDict(), self.config)
        fault = self.faults.get(node)
        try:
            reply: Message | None = self.app(message, context)
        except Exception as error:  # noqa: BLE001 - as Flower does
            reply = Message(Error(2, repr(error)), reply_to=message)
        assert reply is not None
        reply.metadata.__dict__["_reply_to_message_id"] = key
        reply = fault(message, reply) if fault else reply
        if reply is not None:
            self._replies[key] = reply
            self.received.append(reply)
        return key

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(key) for key in list(message_ids) if key in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        del timeout
        return self.pull_messages(self.push_messages(messages))

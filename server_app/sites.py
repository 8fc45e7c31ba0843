"""The sites, by name: a façade over Flower's Grid.

Node ids are random and replies come in any order; here sites have names, and replies are sorted
by them, so that sums are added in the same order in every run. Whatever a site does wrong is
held against that site alone: it is left out and named, and the round goes on without it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from fedmend import __version__, plugins, randomness, sums, training, wire
from fedmend.codecs.base import Codec
from fedmend.errors import RunError
from fedmend.settings import Settings
from fedmend.wire import Introduction, Task, Trouble
from server_app.attendance import Attendance
from server_app.post import Post

log = logging.getLogger("fedmend.coordinator")


class Traffic(NamedTuple):
    """Bytes of arrays and metrics that crossed the wire."""

    up: int = 0
    down: int = 0

    def __add__(self, other: object) -> Traffic:
        assert isinstance(other, Traffic)
        return Traffic(self.up + other.up, self.down + other.down)


class Reply(NamedTuple):
    """What one site answered, checked."""

    name: str
    message: Message
    """Decoded, with one ArrayRecord and the weight alone in its MetricRecord."""
    examples: int
    sums: sums.Sums


@dataclass
class Answers:
    """What came of one exchange."""

    replies: list[Reply]
    """Sorted by site name."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Site -> why it does not count."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Site -> seconds until its answer was here."""
    traffic: Traffic = field(default_factory=Traffic)

    def merged(self) -> sums.Sums:
        """Return the sums over all sites."""
        return sums.merge(reply.sums for reply in self.replies)


class Sites:
    """All sites of a run.

    Args:
        grid: Flower's, or one for tests.
        settings: of the run.
        codec: of the arrays on the wire.
        run: the run's name.
        stopped: says whether somebody has asked for the run's end.
    """

    def __init__(
        self,
        grid: Grid,
        settings: Settings,
        codec: Codec,
        run: str,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.run = run
        self.post = Post(grid, run, stopped)
        self.settings = settings
        self.codec = codec
        self.introductions: dict[str, Introduction] = {}
        """The sites that take part, by name, sorted."""
        self.refused: dict[str, str] = {}
        """Those that do not, and why."""
        self.attendance = Attendance(settings.failures_allowed)
        self._models = training.fingerprint(settings)
        self._nodes: dict[str, int] = {}
        self._chosen: list[int] = []
        self._broadcasts: dict[str, Message] = {}

    def join(self) -> None:
        """Ask every node who it is, once enough of them are there.

        Raises:
            RunError: fewer than ``min-sites`` can take part.
        """
        nodes = self.post.nodes(self.settings.min_sites, self.settings.join_deadline)
        content = RecordDict({wire.CONFIG: ConfigRecord({"run": self.run})})
        asked = [Message(content, node, MessageType.QUERY) for node in nodes]
        names = {node: f"node {place + 1}" for place, node in enumerate(sorted(nodes))}
        replies, missing = self.post.collect(asked, self.settings.join_deadline, names)
        self.refused |= {names[node]: reason for node, reason in missing.items()}
        for node, reply in replies.items():
            try:
                if reply.has_error():
                    raise ValueError(reply.error.reason or "an error without a reason")
                self._admit(node, Introduction.read(reply.content))
            except (KeyError, TypeError, ValueError, AssertionError) as error:
                self.refused[names[node]] = str(error) or "its answer is malformed"
        self.introductions = dict(sorted(self.introductions.items()))
        for name, reason in self.refused.items():
            log.warning("%s takes no part: %s", name, reason, extra={"site": name})
        self._require(len(self.introductions), self.refused, "take part")

    def _admit(self, node: int, said: Introduction) -> None:
        if said.name in self.introductions:
            raise ValueError(f"another site is called {said.name} too; give each its own name")
        if reason := self._unfit(said):
            self.refused[said.name] = reason
            return
        self.introductions[said.name] = said
        self._nodes[said.name] = node

    def _unfit(self, said: Introduction) -> str:
        """Return why a site cannot take part; empty: it can."""
        if said.version != __version__:
            return f"it has fedmend {said.version} installed, and this run is of {__version__}"
        if said.models != self._models:
            return (
                "it builds other networks of the run's settings than the coordinator: one of the "
                "two has other libraries"
            )
        return "" if float(said.sums["train"][0]) else "it has no usable training image"

    def _require(self, have: int, reasons: Mapping[str, str], what: str) -> None:
        if have < self.settings.min_sites:
            listed = "; ".join(f"{name}: {reason}" for name, reason in sorted(reasons.items()))
            raise RunError(
                f"{have} sites {what}, fewer than min-sites={self.settings.min_sites}. {listed}"
            )

    def sample(self, task: Task) -> None:
        """Choose the sites of the next round, with a generator of our own.

        Flower's strategies sample by Python's global, unseeded ``random``; what they are offered
        through :meth:`get_node_ids` is therefore already the choice.
        """
        names = [name for name in self.introductions if name not in self.attendance.dropped]
        wanted = max(round(self.settings.site_fraction * len(names)), self.settings.min_sites)
        if task.final or task.round > task.rounds or wanted >= len(names):
            chosen = names
        else:
            rng = randomness.numpy_generator(task.seed, "sites", task.phase, task.round)
            chosen = sorted(rng.choice(names, size=wanted, replace=False).tolist())
        self._chosen = [self._nodes[name] for name in chosen]

    def get_node_ids(self) -> list[int]:
        """Return the nodes of the sites chosen: all that a Flower strategy asks of a Grid."""
        return self._chosen

    def remember(self, key: str, arrays: ArrayRecord, task: Task) -> None:
        """Keep a broadcast, to send it again to a site that comes to need it."""
        content = RecordDict({wire.ARRAYS: arrays, wire.CONFIG: task.record()})
        self._broadcasts[key] = Message(content, 0, MessageType.EVALUATE)

    def exchange(
        self, messages: Sequence[Message], task: Task, expected: Mapping[str, torch.Size]
    ) -> Answers:
        """Send a round's messages and return the replies that can be used.

        Args:
            messages: as configured by a strategy.
            task: what they ask for.
            expected: names and shapes of the arrays that each reply must bring.

        Raises:
            RunError: fewer than ``min-sites`` answered usefully.
        """
        names = {node: name for name, node in self._nodes.items()}
        down = sum(_size(message.content) for message in messages)
        raw, missing = self.post.collect(messages, self.settings.deadline, names)
        late = {
            node for node, reply in raw.items()
            if reply.has_error() and reply.error.code == Trouble.NEEDS_IMPUTER
        }  # fmt: skip
        if late and task.imputer in self._broadcasts:
            raw |= self._brought_up_to_date(
                [m for m in messages if m.metadata.dst_node_id in late], task
            )
        answers = Answers([], {names[node]: reason for node, reason in missing.items()})
        for node, reply in raw.items():
            try:
                answers.replies.append(self._read(names[node], reply, expected))
            except (KeyError, TypeError, ValueError, AssertionError) as error:
                answers.left_out[names[node]] = str(error) or "its answer is malformed"
        up = sum(_size(reply.content) for reply in raw.values() if reply.has_content())
        answers.traffic = Traffic(up, down)
        answers.replies.sort(key=lambda reply: reply.name)
        _drop_odd_ones(answers)
        answers.seconds = {names[node]: self.post.took[node] for node in raw}
        self._take_down(answers, task)
        self._require(len(answers.replies), answers.left_out, "answered")
        return answers

    def _take_down(self, answers: Answers, task: Task) -> None:
        """Say who is left out of a round, and who is for good."""
        for name, reason in answers.left_out.items():
            log.warning(
                "%s is left out of round %d of %s: %s", name, task.round, task.phase, reason,
                extra={"site": name},
            )  # fmt: skip
        before = dict(self.attendance.dropped)
        fresh = self.attendance.note([reply.name for reply in answers.replies], answers.left_out)
        for name in fresh:
            log.warning("%s %s", name, self.attendance.dropped[name], extra={"site": name})
        answers.left_out |= before

    def _brought_up_to_date(self, messages: Sequence[Message], task: Task) -> dict[int, Message]:
        """Send the imputer again to sites without it, then their messages; return the replies."""
        broadcast = self._broadcasts[task.imputer].content
        nodes = [message.metadata.dst_node_id for message in messages]
        log.info("sending the imputer again to %d sites", len(nodes))
        again = [Message(broadcast, node, MessageType.EVALUATE) for node in nodes]
        names = {node: name for name, node in self._nodes.items()}
        self.post.collect(again, self.settings.deadline, names)
        fresh = [
            Message(each.content, each.metadata.dst_node_id, each.metadata.message_type)
            for each in messages
        ]
        return self.post.collect(fresh, self.settings.deadline, names)[0]

    def _read(self, name: str, reply: Message, expected: Mapping[str, torch.Size]) -> Reply:
        if reply.has_error():
            raise ValueError(reply.error.reason or "an error without a reason")
        content = reply.content
        arrays = wire.unpack(content.array_records[wire.ARRAYS], self.codec)
        wire.check_arrays(arrays, expected)
        metrics = content.metric_records[wire.METRICS]
        examples = metrics[wire.EXAMPLES]
        if not isinstance(examples, int) or examples < 0:
            raise ValueError(f"its weight must be a count of images; got {examples!r}")
        said = wire.read_sums(metrics)
        reply.content = _for_strategy(arrays, examples)
        return Reply(name, reply, examples, said)


def _for_strategy(arrays: Mapping[str, Tensor], examples: int) -> RecordDict:
    """Return a reply as Flower's strategies want it: plain arrays, and the weights alone."""
    return RecordDict(
        {
            wire.ARRAYS: wire.pack(arrays, plugins.CODECS.build("none()")),
            wire.METRICS: MetricRecord({wire.EXAMPLES: examples, wire.ONE: 1}),
        }
    )


def _size(content: RecordDict) -> int:
    arrays = sum(record.count_bytes() for record in content.array_records.values())
    return arrays + sum(record.count_bytes() for record in content.metric_records.values())


def _drop_odd_ones(answers: Answers) -> None:
    """Leave out replies whose sums differ in name or length from what most sites sent."""
    if not answers.replies:
        return

    def form(reply: Reply) -> tuple[tuple[str, int], ...]:
        return tuple((name, len(value)) for name, value in sorted(reply.sums.items()))

    usual = Counter(form(reply) for reply in answers.replies).most_common(1)[0][0]
    for reply in list(answers.replies):
        if form(reply) != usual:
            answers.left_out[reply.name] = "its metrics are not those of the other sites"
            answers.replies.remove(reply)

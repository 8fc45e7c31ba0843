"""Machines of a federation, all on this one: a network namespace each, or ports of the loopback."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from commands.ports import free_port

_CLONE_NEWNET = 0x40000000
_NAMESPACES = Path("/run/netns")
PORT = 8000
HEALTH = 8001
GATE, GATE_HEALTH = 8443, 8080


class Network(Protocol):
    """Where the machines of a federation are."""

    kind: str
    """For reports."""
    cuttable: bool
    """Whether one machine's link can be cut."""

    def address(self, machine: str) -> str:
        """Return what others call a machine."""

    def port(self, machine: str, wanted: int) -> int:
        """Return the port on a machine that stands for one of a container's own."""

    def prefix(self, machine: str) -> list[str]:
        """Return the words that go before a command to run it on a machine."""

    def enter(self, machine: str) -> None:
        """Move the calling thread onto a machine."""

    def link(self, machine: str, state: str) -> None:
        """Set a machine's link "up" or "down"."""

    def slow(self, machine: str, rate: str) -> None:
        """Limit a machine's bandwidth either way, such as "1mbit"; empty: no limit."""

    def close(self) -> None:
        """Take everything down."""


class Loopback:
    """All machines are one."""

    kind = "loopback"
    cuttable = False

    def __init__(self) -> None:
        self._ports: dict[tuple[str, int], int] = {}

    def address(self, machine: str) -> str:
        return "127.0.0.1"

    def port(self, machine: str, wanted: int) -> int:
        if (machine, wanted) not in self._ports:
            self._ports[machine, wanted] = free_port()
        return self._ports[machine, wanted]

    def prefix(self, machine: str) -> list[str]:
        return []

    def enter(self, machine: str) -> None:
        pass

    def link(self, machine: str, state: str) -> None:
        raise NotImplementedError("a machine's own loopback cannot be cut")

    def slow(self, machine: str, rate: str) -> None:
        raise NotImplementedError("a machine's own loopback cannot be slowed down")

    def close(self) -> None:
        pass


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Namespaces:
    """A network namespace for each machine, and a switch between them in one of its own."""

    kind = "network namespaces"
    cuttable = True

    def __init__(self, machines: Sequence[str]) -> None:
        tag = f"fm{uuid.uuid4().hex[:6]}"
        self._switch = f"{tag}-switch"
        self._machines = {name: f"{tag}-{name}"[:48] for name in machines}
        self._numbers = {name: number for number, name in enumerate(machines, 1)}
        try:
            _ip("netns", "add", self._switch)
            _ip("-n", self._switch, "link", "add", "br0", "type", "bridge")
            _ip("-n", self._switch, "link", "set", "br0", "up")
            for name in machines:
                self._plug_in(name)
        except BaseException:
            self.close()
            raise

    def _plug_in(self, name: str) -> None:
        own, number = self._machines[name], self._numbers[name]
        _ip("netns", "add", own)
        _ip("-n", own, "link", "set", "lo", "up")
        peer = ("type", "veth", "peer", "name", f"port{number}", "netns", self._switch)
        _ip("-n", own, "link", "add", "eth0", *peer)
        _ip("-n", self._switch, "link", "set", f"port{number}", "master", "br0", "up")
        _ip("-n", own, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
        _ip("-n", own, "link", "set", "eth0", "up")

    def address(self, machine: str) -> str:
        return f"10.77.0.{self._numbers[machine]}"

    def port(self, machine: str, wanted: int) -> int:
        return wanted

    def prefix(self, machine: str) -> list[str]:
        return ["ip", "netns", "exec", self._machines[machine]]

    def enter(self, machine: str) -> None:
        with (_NAMESPACES / self._machines[machine]).open() as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot enter the namespace")

    def link(self, machine: str, state: str) -> None:
        _ip("-n", self._switch, "link", "set", f"port{self._numbers[machine]}", state)

    def slow(self, machine: str, rate: str) -> None:
        ends = (
            (self._switch, f"port{self._numbers[machine]}"),
            (self._machines[machine], "eth0"),
        )
        limit = ("tbf", "rate", rate, "burst", "16kb", "latency", "400ms")
        for space, device in ends:
            where = ["tc", "-n", space, "qdisc"]
            words = [*where, "replace", "dev", device, "root", *limit] if rate else [
                *where, "delete", "dev", device, "root",
            ]  # fmt: skip
            subprocess.run(words, check=True, capture_output=True)

    def close(self) -> None:
        for own in (*self._machines.values(), self._switch):
            if (_NAMESPACES / own).exists():
                _ip("netns", "delete", own)


def network(machines: Sequence[str]) -> Network:
    """Return namespaces where this user may make them, and the loopback elsewhere."""
    if os.geteuid() == 0 and shutil.which("ip"):
        try:
            return Namespaces(machines)
        except subprocess.CalledProcessError:
            return Loopback()
    return Loopback()

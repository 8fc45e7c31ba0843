"""What a monitoring system can ask a coordinator while a run goes on.

``FEDMEND_METRICS=HOST:PORT`` in the coordinator's environment opens ``GET /metrics``, in the text
format of Prometheus, and ``GET /health``. It takes the package ``prometheus-client``, which the
extra ``metrics`` installs. Nothing of it is about images: names of sites, counts, bytes, seconds.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from fedmend.errors import SettingsError
from server_app.run_folder import RunFolder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

log = logging.getLogger("fedmend.coordinator")

VARIABLE = "FEDMEND_METRICS"
_WHERE = ("phase", "arm")


class Metrics:
    """One run's metrics, kept up to date by the lines of its metrics.jsonl.

    Args:
        run: the run's name.
    """

    def __init__(self, run: str) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge

        self.registry: CollectorRegistry = CollectorRegistry()
        self._run = run

        def gauge(name: str, about: str, *labels: str) -> Gauge:
            return Gauge(f"fedmend_{name}", about, ("run", *labels), registry=self.registry)

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"fedmend_{name}", about, ("run", *labels), registry=self.registry)

        self._round = gauge("round", "Round that was finished last", *_WHERE)
        self._rounds = counter("rounds", "Exchanges with the sites", *_WHERE)
        self._score = gauge("score", "Validation score of the model", *_WHERE)
        self._seconds = counter("seconds", "Seconds that exchanges took", *_WHERE)
        self._bytes = counter("bytes", "Bytes of arrays and metrics", "direction")
        self._sites = gauge("sites", "Sites of the last exchange", "state")
        self._failures = counter("site_failures", "Exchanges a site was left out of", "site")

    def line(self, line: Mapping[str, Any]) -> None:
        """Take over a line of metrics.jsonl."""
        where = (self._run, line["phase"], line["arm"])
        self._round.labels(*where).set(line["round"])
        self._rounds.labels(*where).inc()
        self._seconds.labels(*where).inc(line["seconds"])
        if line["score"] is not None:
            self._score.labels(*where).set(line["score"])
        for direction in ("up", "down"):
            self._bytes.labels(self._run, direction).inc(line["bytes"][direction])
        for state, sites in (("in", line["sites"]), ("left_out", line["left_out"])):
            self._sites.labels(self._run, state).set(len(sites))
        for site in line["left_out"]:
            self._failures.labels(self._run, site).inc()


def address_of(text: str) -> tuple[str, int]:
    """Return host and port.

    >>> address_of("127.0.0.1:9464")
    ('127.0.0.1', 9464)

    Raises:
        SettingsError: it is not of the form HOST:PORT.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) < 2**16:
        raise SettingsError(f"{VARIABLE} must be HOST:PORT, such as 127.0.0.1:9464; got {text!r}")
    return host.strip("[]"), int(port)


@contextmanager
def monitored(run: RunFolder) -> Iterator[None]:
    """Answer a monitoring system's questions about a run, where the environment asks for it.

    A port that is taken is no reason for a run not to begin: it is said, and there are no metrics.

    Raises:
        SettingsError: the address is none, or the package is missing.
    """
    given = os.environ.get(VARIABLE, "")
    if not given:
        yield
        return
    address = address_of(given)
    try:
        metrics = Metrics(run.name)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{VARIABLE} takes prometheus-client: pip install 'fedmend[metrics]'"
        ) from error
    try:
        server = ThreadingHTTPServer(address, _handler(metrics))
    except OSError as error:
        log.warning("no metrics: port %d cannot be listened on (%s)", address[1], error.strerror)
        yield
        return
    server.daemon_threads = True
    run.listeners.append(metrics.line)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    log.info("metrics are at port %d", server.server_port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    class Handler(BaseHTTPRequestHandler):
        """Answers GET /metrics and GET /health."""

        def do_GET(self) -> None:
            """Answer."""
            if self.path == "/metrics":
                self._answer(200, generate_latest(metrics.registry), CONTENT_TYPE_LATEST)
            elif self.path == "/health":
                self._answer(200, b"ok\n", "text/plain")
            else:
                self._answer(404, b"there is /metrics and /health\n", "text/plain")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Say nothing: a monitoring system asks every few seconds."""

    return Handler

"""Ask a service of this container how it is: exit status 0 says well.

healthy.py http://127.0.0.1:8000/health | https://localhost:8000/health CA | grpc://127.0.0.1:8001
"""

from __future__ import annotations

import ssl
import sys
import urllib.request

_PATIENCE = 5.0


def main(url: str, ca: str = "") -> int:
    """Return the exit status."""
    try:
        return 0 if (_grpc if url.startswith("grpc://") else _http)(url, ca) else 1
    except Exception as error:  # noqa: BLE001 - whatever it is, the service is not well
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1


def _http(url: str, ca: str) -> bool:
    context = ssl.create_default_context(cafile=ca) if ca else None
    with urllib.request.urlopen(url, timeout=_PATIENCE, context=context) as reply:  # noqa: S310 - the URL is the compose file's
        return bool(reply.status == 200)


def _grpc(url: str, _ca: str) -> bool:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(url.removeprefix("grpc://")) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=_PATIENCE)
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

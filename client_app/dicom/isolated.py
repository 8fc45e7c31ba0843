"""Compressed frames decoded in processes of their own, under limits of time and memory.

One process serves one call at a time and is kept for the next; threads that decode at once have
one each. A process that dies or takes too long is the frame's fault, and is replaced.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from client_app.dicom.codec import LENGTHS
from client_app.dicom.untrusted import UNDECODABLE, Untrusted

MAX_SECONDS = 20.0
"""For one frame; the largest allowed takes about half of it on a slow core."""
_SCRIPT = Path(__file__).with_name("codec.py")
_TYPES = frozenset({"|u1", "|i1", "<u2", "<i2", "<u4", "<i4"})

_lock = threading.Lock()
_idle: list[_Codec] = []


class _Codec:
    """One decoding process."""

    def __init__(self) -> None:
        one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.owner = os.getpid()
        self.process = subprocess.Popen(  # noqa: S603 (this interpreter, this package's file)
            [sys.executable, "-P", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | one,
        )

    def ask(self, header: Mapping[str, Any], frame: bytes) -> tuple[dict[str, Any], bytes]:
        """Send a frame and return the answer's header and pixels.

        Raises:
            OSError: the process died.
        """
        requests, answers = self.process.stdin, self.process.stdout
        if requests is None or answers is None:
            raise OSError("no pipe")
        text = json.dumps(header).encode()
        requests.write(LENGTHS.pack(len(text), len(frame)) + text)
        requests.write(frame)
        requests.flush()
        lengths = answers.read(LENGTHS.size)
        if len(lengths) < LENGTHS.size:
            raise OSError("it ended")
        head, size = LENGTHS.unpack(lengths)
        return json.loads(answers.read(head)), answers.read(size)

    def end(self) -> None:
        """End the process and wait for it."""
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.process.wait()


def decode(
    header: Mapping[str, Any], frame: bytes, seconds: float = MAX_SECONDS
) -> npt.NDArray[Any]:
    """Decode one compressed frame.

    Args:
        header: see :func:`client_app.dicom.codec.decode`.
        frame: the codestream.
        seconds: after which it is given up.

    Returns:
        (H, W) or (H, W, 3), little endian integers.

    Raises:
        Untrusted: the codec refused the frame, died over it, or took too long.
    """
    codec = _taken()
    late = threading.Timer(seconds, codec.process.kill)
    late.daemon = True
    late.start()
    try:
        said, pixels = codec.ask(header, frame)
    except (OSError, ValueError) as error:
        codec.end()
        how = "took too long" if late.finished.is_set() else "died"
        raise Untrusted(UNDECODABLE, local=f"the codec {how}: {error}") from None
    except BaseException:
        codec.end()  # an answer half read would be taken for the next frame's
        raise
    finally:
        late.cancel()
    with _lock:
        _idle.append(codec)
    return _array(said, pixels)


def _array(said: Mapping[str, Any], pixels: bytes) -> npt.NDArray[Any]:
    if "error" in said:
        raise Untrusted(UNDECODABLE, local=str(said["error"]))
    shape, kind = tuple(said["shape"]), str(said["dtype"])
    if kind not in _TYPES or math.prod(shape) * np.dtype(kind).itemsize != len(pixels):
        raise Untrusted(UNDECODABLE, local=f"the codec answered {kind} {shape}")
    return np.frombuffer(bytearray(pixels), kind).reshape(shape)


def _taken() -> _Codec:
    """Take an idle process, or start one; a fork leaves its parent's processes alone."""
    with _lock:
        while _idle:
            codec = _idle.pop()
            if codec.owner == os.getpid() and codec.process.poll() is None:
                return codec
    return _Codec()


@atexit.register
def close() -> None:
    """End all idle decoding processes; the next frame starts one anew."""
    with _lock:
        codecs, _idle[:] = [codec for codec in _idle if codec.owner == os.getpid()], []
    for codec in codecs:
        codec.end()

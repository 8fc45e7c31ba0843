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
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from client_app.dicom.codec import LENGTHS, READY
from client_app.dicom.complaints import check_words
from client_app.dicom.untrusted import UNDECODABLE, Untrusted
from fedmend.errors import RunError

SECONDS_TO_START = 60.0
SECONDS = 3.0
"""For any frame, and on top:"""
SECONDS_PER_SAMPLE = 1e-6
"""JPEG 2000, the slowest, takes a quarter of it on a core shared with another program."""
SECONDS_PER_BYTE = 1e-5
"""Of a frame of JPEG Extended, which is decoded in Python."""
_EXTENDED = "1.2.840.10008.1.2.4.51"
_LONGEST_HEADER = 16384
_SCRIPT = Path(__file__).with_name("codec.py")
_TYPES = frozenset({"|u1", "|i1", "<u2", "<i2", "<u4", "<i4"})

_lock = threading.Lock()
_idle: list[_Codec] = []


class _Codec:
    """One decoding process."""

    def __init__(self) -> None:
        one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.owner = os.getpid()
        self.fresh = True
        self.process = subprocess.Popen(  # noqa: S603 (this interpreter, this package's file)
            [sys.executable, "-P", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | one,
        )
        late = threading.Timer(SECONDS_TO_START, self.process.kill)
        late.start()
        ready = cast("BufferedReader", self.process.stdout).read(len(READY))
        late.cancel()
        late.join()
        if ready != READY:
            self.end()
            raise RunError("the process that decodes compressed images cannot be started")

    def ask(
        self, header: Mapping[str, Any], frame: bytes, most: int
    ) -> tuple[dict[str, Any], bytearray]:
        """Send a frame and return the answer's header and pixels, of at most so many bytes.

        Raises:
            OSError: the process died.
            ValueError: it answered something else.
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
        if head > _LONGEST_HEADER or size > most:
            raise ValueError(f"it answered {head} and {size} bytes")
        said, pixels = json.loads(answers.read(head)), bytearray(size)
        if cast("BufferedReader", answers).readinto(pixels) < size:
            raise OSError("it ended")
        return said, pixels

    def end(self) -> None:
        """Close the pipes, end the process if it is ours, and wait for it."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()


def decode(
    header: Mapping[str, Any], frame: bytes, seconds: float | None = None
) -> npt.NDArray[Any]:
    """Decode one compressed frame.

    Args:
        header: see :func:`client_app.dicom.codec.decode`.
        frame: the codestream.
        seconds: after which it is given up; by default, by its size.

    Returns:
        (H, W) or (H, W, 3), little endian integers.

    Raises:
        Untrusted: the codec refused the frame, missed some of it, died over it, or took too long.
        RunError: the process cannot be started.
    """
    if seconds is None:
        seconds = SECONDS + SECONDS_PER_SAMPLE * _most_bytes(header) / 4
        if header["TransferSyntaxUID"] == _EXTENDED:
            seconds += SECONDS_PER_BYTE * len(frame)
    while True:
        codec = _taken()
        try:
            said, pixels = _asked(codec, header, frame, seconds)
        except (OSError, ValueError) as error:
            if codec.fresh or isinstance(error, TimeoutError):
                raise Untrusted(UNDECODABLE, local=f"the codec died: {error}") from None
            continue  # what an earlier frame, or the system, did to it is not this one's fault
        return _array(said, pixels)


def _asked(
    codec: _Codec, header: Mapping[str, Any], frame: bytes, seconds: float
) -> tuple[dict[str, Any], bytearray]:
    """Ask within a time limit, and keep the process for the next frame if all went well.

    Raises:
        OSError: the process died; as TimeoutError, because it was stopped.
        ValueError: it answered something else.
    """
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        codec.process.kill()

    late = threading.Timer(seconds, stop)
    late.start()
    done = False
    try:
        answer = codec.ask(header, frame, _most_bytes(header))
        done = True
    except OSError as error:
        if stopped.is_set():
            raise TimeoutError(f"stopped after {seconds:g} s") from error
        raise
    finally:
        late.cancel()
        late.join()
        if done and not stopped.is_set():
            codec.fresh = False
            with _lock:
                _idle.append(codec)
        else:
            codec.end()  # an answer half read would be taken for the next frame's
    return answer


def _most_bytes(header: Mapping[str, Any]) -> int:
    return int(header["Rows"]) * int(header["Columns"]) * int(header["SamplesPerPixel"]) * 4


def _array(said: Mapping[str, Any], pixels: bytearray) -> npt.NDArray[Any]:
    if "error" in said:
        raise Untrusted(UNDECODABLE, local=str(said["error"]))
    check_words(str(said["words"]))
    shape, kind = tuple(said["shape"]), str(said["dtype"])
    if kind not in _TYPES or math.prod(shape) * np.dtype(kind).itemsize != len(pixels):
        raise Untrusted(UNDECODABLE, local=f"the codec answered {kind} {shape}")
    return np.frombuffer(pixels, kind).reshape(shape)


def _taken() -> _Codec:
    """Take an idle process, or start one; a fork leaves its parent's processes alone."""
    with _lock:
        while _idle:
            codec = _idle.pop()
            if codec.owner == os.getpid() and codec.process.poll() is None:
                return codec
            codec.end()
    return _Codec()


@atexit.register
def close() -> None:
    """End all idle decoding processes; the next frame starts one anew."""
    with _lock:
        codecs, _idle[:] = list(_idle), []
    for codec in codecs:
        codec.end()

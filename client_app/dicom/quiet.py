"""Silence: what pydicom and the codecs say about a file quotes its header."""

from __future__ import annotations

import logging
import threading
import warnings

for _name in ("pydicom", "pylibjpeg", "openjpeg", "rle"):
    # A logger without a handler of its own prints to stderr and to whatever the host set up.
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).propagate = False

_lock = threading.Lock()
_inside = 0
_held = warnings.catch_warnings()


class _Quiet:
    """A context manager without state of its own; see :func:`quiet`."""

    __slots__ = ()

    def __enter__(self) -> None:
        global _inside, _held
        with _lock:
            if _inside == 0:
                _held = warnings.catch_warnings()
                _held.__enter__()
                warnings.simplefilter("ignore")
            _inside += 1

    def __exit__(self, *error: object) -> None:
        global _inside
        with _lock:
            _inside -= 1
            if _inside == 0:
                _held.__exit__(None, None, None)


_quiet = _Quiet()


def quiet() -> _Quiet:
    """Ignore warnings while any thread is inside the ``with`` that this is given to.

    ``warnings.catch_warnings`` swaps a list that all threads share, so the first thread in
    swaps it and the last one out puts it back. It is entered for every header value that is
    read, so it is cheap.
    """
    return _quiet

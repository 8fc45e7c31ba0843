"""Which paths a glob pattern means: the shell's rules, with ``**`` for any number of folders."""

from __future__ import annotations

import re

_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
_MEANING = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def compiled(glob: str) -> re.Pattern[str]:
    """Return what matches whole paths relative to a folder, case and all.

    Args:
        glob: ``*`` and ``?`` stay within a name, ``**`` crosses folders; all else is itself.

    >>> [bool(compiled(glob).fullmatch("ct/a/1.dcm")) for glob in ("**", "ct/**/*.dcm", "*.dcm")]
    [True, True, False]
    """
    parts = (_MEANING.get(part, re.escape(part)) for part in _PARTS.findall(glob))
    return re.compile("".join(parts), re.DOTALL)

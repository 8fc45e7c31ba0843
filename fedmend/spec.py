"""Specs: one string that chooses plug-ins and their parameters.

The grammar, whole::

    spec  = chain ('|' chain)*        one chain is drawn per image
    chain = term ('+' term)*          applied left to right
    term  = name ['(' [key=value (',' key=value)*] ')']
    value = 'quoted' | bare           in quotes, '' is a '; bare: trimmed, without , ( ) '

Values stay text here; the annotations of the factory that a term names type them
(:mod:`fedmend.registry`). Nothing is ever evaluated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from fedmend.errors import SpecError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BARE = re.compile(r"[^,()']*")
_QUOTED = re.compile(r"'((?:[^']|'')*+)'")
_SPACE = re.compile(r"\s*")


class Range(NamedTuple):
    """A closed interval, written ``0.1..0.5``; a single number is the interval of that number."""

    low: float
    high: float

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read ``low..high`` or one number.

        Raises:
            ValueError: not numbers, or ``low`` above ``high``.

        >>> Range.parse("0.1..0.5")
        Range(low=0.1, high=0.5)
        >>> Range.parse("0.07")
        Range(low=0.07, high=0.07)
        """
        low, dots, high = text.partition("..")
        interval = cls(float(low), float(high if dots else low))
        if not interval.low <= interval.high:
            raise ValueError(f"the lower end {low} is above the upper end {high}")
        return interval

    def at(self, share: float) -> float:
        """Return the point a ``share`` (in [0, 1]) of the way from low to high."""
        return self.low + (self.high - self.low) * share

    def __str__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Term:
    """One plug-in and its parameters as text, in the order written."""

    name: str
    values: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={_written(value)}" for key, value in self.values.items())
        return f"{self.name}({inside})"


Chain = tuple[Term, ...]
"""Terms that are applied left to right."""

Mixture = tuple[Chain, ...]
"""Chains of which one is drawn per image."""


def _written(value: str) -> str:
    bare = _BARE.fullmatch(value) is not None and value == value.strip()
    doubled = value.replace("'", "''")
    return value if bare else f"'{doubled}'"


def written(mixture: Mixture) -> str:
    """Return the spec's text, which parses to the same mixture.

    >>> written(parse("gaussian( std=0.1 )+strokes"))
    'gaussian(std=0.1)+strokes()'
    """
    return " | ".join("+".join(str(term) for term in chain) for chain in mixture)


class _Reader:
    """A cursor over one spec's text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, wanted: str) -> SpecError:
        rest = self.text[self.at :]
        found = f"found {rest[:20]!r}" if rest else "the text ends"
        return SpecError(
            f"a spec is ill-formed at character {self.at + 1}: {wanted} is expected there",
            local=f"in {self.text!r}, {found}",
        )

    def skip(self, char: str) -> bool:
        """Pass over blanks and ``char``; say whether ``char`` stood there."""
        self.match(_SPACE)
        if self.text.startswith(char, self.at):
            self.at += len(char)
            self.match(_SPACE)
            return True
        return False

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def name(self, what: str) -> str:
        self.match(_SPACE)
        found = self.match(_NAME)
        if not found:
            raise self.fail(what)
        return found[0]

    def value(self) -> str:
        self.match(_SPACE)
        quoted = self.match(_QUOTED)
        if quoted:
            return quoted[1].replace("''", "'")
        bare = self.match(_BARE)
        assert bare is not None  # the pattern matches the empty string
        return bare[0].strip()

    def term(self) -> Term:
        name = self.name("a name")
        values: dict[str, str] = {}
        if self.skip("(") and not self.skip(")"):
            while True:
                key = self.name("a parameter's name")
                if key in values:
                    raise SpecError(f"{name} is given {key} twice", local=f"in {self.text!r}")
                if not self.skip("="):
                    raise self.fail(f"'=' after {key!r}")
                values[key] = self.value()
                if self.skip(")"):
                    break
                if not self.skip(","):
                    raise self.fail("',' or ')'")
        return Term(name, values)

    def chain(self) -> Chain:
        terms = [self.term()]
        while self.skip("+"):
            terms.append(self.term())
        return tuple(terms)

    def mixture(self) -> Mixture:
        chains = [self.chain()]
        while self.skip("|"):
            chains.append(self.chain())
        self.match(_SPACE)
        if self.at < len(self.text):
            raise self.fail("'+', '|' or the end")
        return tuple(chains)


def parse(text: str) -> Mixture:
    """Read a whole spec.

    Raises:
        SpecError: with the place, what was expected there and, locally, the text.

    >>> parse("gaussian(std=0.07)+strokes | none")[1]
    (Term(name='none', values={}),)
    """
    return _Reader(text).mixture()


def parse_chain(text: str) -> Chain:
    """Read a spec that must be a single chain, such as a sum of losses.

    Raises:
        SpecError: where the text is no spec, or several chains to choose from.

    >>> [term.name for term in parse_chain("l1(weight=0.5)+l2()")]
    ['l1', 'l2']
    """
    mixture = parse(text)
    if len(mixture) > 1:
        what = "one chain, a() or a()+b(), is expected, without '|'"
        raise SpecError(what, local=f"got {text!r}")
    return mixture[0]


def parse_term(text: str) -> Term:
    """Read a spec that must be a single term, such as a reader or a model.

    Raises:
        SpecError: where the text is no spec, or more than one term.
    """
    mixture = parse(text)
    if len(mixture) > 1 or len(mixture[0]) > 1:
        raise SpecError("one term is expected, without '+' or '|'", local=f"got {text!r}")
    return mixture[0][0]

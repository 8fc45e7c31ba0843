from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmend.errors import SpecError
from fedmend.spec import Range, Term, parse, parse_term, written

names = st.text(string.ascii_letters + "_", min_size=1, max_size=8)
values = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
terms = st.builds(Term, names, st.dictionaries(names, values, max_size=3))
mixtures = st.lists(st.lists(terms, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3)


@given(mixtures)
def test_what_is_written_parses_to_the_same(mixture: list[tuple[Term, ...]]) -> None:
    assert parse(written(tuple(mixture))) == tuple(mixture)


@given(st.text(max_size=40))
def test_any_text_parses_or_is_refused_with_its_place(text: str) -> None:
    refused = ""
    try:
        parse(text)
    except SpecError as error:
        refused = error.full()
    assert refused == "" or repr(text) in refused


def test_the_two_documented_forms() -> None:
    (folder,) = parse("folder(path=/abs/x y, labels=labels.csv, image=file_64)")[0]
    assert folder.values == {"path": "/abs/x y", "labels": "labels.csv", "image": "file_64"}
    strokes, gaussian = parse("strokes(size=medium)+gaussian(std=0.1..0.5)")[0]
    assert (strokes.name, gaussian.values["std"]) == ("strokes", "0.1..0.5")


def test_quotes_keep_what_bare_words_cannot() -> None:
    assert parse_term("folder(path='a, b (c)')").values["path"] == "a, b (c)"
    assert parse_term("folder(path='it''s', label='')").values == {"path": "it's", "label": ""}


@pytest.mark.parametrize(
    "text", ["", "a(", "a(b)", "a(b=1", "a(b='x)", "a b", "a(b=1,)", "+a", "a|"]
)
def test_ill_formed_texts_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is expected there"):
        parse(text)


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(SpecError, match="given b twice"):
        parse("a(b=1, b=2)")


def test_a_chain_where_one_term_is_wanted_is_refused() -> None:
    with pytest.raises(SpecError, match="one term"):
        parse_term("a+b")


def test_a_message_that_may_leave_the_site_does_not_quote_the_text() -> None:
    with pytest.raises(SpecError) as caught:
        parse("folder(path=/srv/patients")
    assert "/srv" not in str(caught.value)
    assert "/srv" in caught.value.full()


def test_ranges() -> None:
    assert Range.parse("0.1..0.5").at(0.5) == pytest.approx(0.3)
    assert str(Range.parse("2")) == "2"
    with pytest.raises(ValueError, match="above"):
        Range.parse("2..1")

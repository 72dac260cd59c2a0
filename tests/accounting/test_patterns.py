"""The words of a log line, and pieces put together."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.accounting.patterns import WORDS, Piece, joined, literal, octets_of, recipients, unnamed

OCTETS = st.lists(st.sampled_from([b"a", b".", b"@", b'"', b"\\", b"[", b"]", b":", b"1", b",", b"+", b" ", b"\xff"]))


def test_a_piece_of_text_matches_itself_and_nothing_else():
    piece = literal("a.*[%")
    assert re.fullmatch(piece.pattern, b"a.*[%")
    assert not re.fullmatch(piece.pattern, b"abb[%")
    assert piece.starts == frozenset(b"a")
    assert literal("\tx").starts == frozenset(b"\t#")
    assert literal("").may_be_empty


def test_joined_pieces_start_and_go_on_as_their_ends_do():
    digits = Piece(b"[0-9]+", octets_of(b"[0-9]"), octets_of(b"[0-9]"))
    letters = Piece(b"[a-z]*", octets_of(b"[a-z]"), octets_of(b"[a-z]"), may_be_empty=True)
    both = joined([letters, digits])
    assert (both.starts, both.goes_on, both.may_be_empty) == (octets_of(b"[a-z0-9]"), octets_of(b"[0-9]"), False)
    other = joined([digits, letters])
    assert (other.starts, other.goes_on) == (octets_of(b"[0-9]"), octets_of(b"[a-z0-9]"))
    assert joined([]).may_be_empty


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"a@b", [b"a@b"]),
        (b"a@b,c@d", [b"a@b", b"c@d"]),
        (b'"a, b"@c,d@e', [b'"a, b"@c', b"d@e"]),
        (b'"\\",\\\\"@c,Postmaster,+3', [b'"\\",\\\\"@c', b"Postmaster", b"+3"]),
        (b'+3@x,"a"@[IPv6:::1],+3', [b"+3@x", b'"a"@[IPv6:::1]', b"+3"]),
    ],
)
def test_recipients_are_taken_apart_where_their_grammar_says(octets, expected):
    assert recipients(octets) == expected


def test_only_a_bare_number_stands_for_unnamed_recipients():
    assert [unnamed(recipient) for recipient in (b"+97", b"+97@x", b"+", b"97", b"+0")] == [97, 0, 0, 0, 0]


@pytest.mark.parametrize("word", WORDS)
@given(OCTETS.map(b"".join))
def test_a_word_is_told_truly_where_it_starts_and_how_it_may_go_on(word, octets):
    piece = WORDS[word]
    if re.fullmatch(piece.pattern, octets):
        assert octets or piece.may_be_empty
        assert set(octets[:1]) <= piece.starts
    # A longer word than this one is longer by an octet of `goes_on`: the rule by which formats are refused.
    short = re.match(piece.pattern, octets)
    if short and short[0]:
        for end in range(short.end() + 1, len(octets) + 1):
            assert not re.fullmatch(piece.pattern, octets[:end]) or octets[short.end()] in piece.goes_on | {ord(",")}

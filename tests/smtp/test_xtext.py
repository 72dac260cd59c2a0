"""xtext: any octets there and back, and nothing that the grammar does not know (RFC 3461 §4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.smtp import xtext


@given(octets=st.binary())
def test_what_was_written_reads_back_the_same(octets):
    text = xtext.encode(octets)
    assert xtext.is_xtext(text)
    assert xtext.decode(text) == octets
    assert xtext.decode_leniently(text.encode()) == octets


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"", ""),
        (b"plain@one.test", "plain@one.test"),
        (b"a+b=c", "a+2Bb+3Dc"),
        (b"two words", "two+20words"),
        (b"\r\n\x00\xff", "+0D+0A+00+FF"),
        (b"!~*,-<>", "!~*,-<>"),
    ],
)
def test_octets_and_how_they_are_written(octets, text):
    assert xtext.encode(octets) == text
    assert xtext.decode(text) == octets


@pytest.mark.parametrize("text", ["+", "+4", "+4g", "+0d", "a=b", "two words", "\x7f", "é", "+2B+", "a\n"])
def test_what_is_no_xtext(text):
    assert not xtext.is_xtext(text)
    with pytest.raises(ValueError, match="xtext"):
        xtext.decode(text)


def test_postfix_reads_digits_in_either_case_and_leaves_what_is_no_hexchar():
    assert xtext.decode_leniently(b"a+0d+4g+") == b"a\r+4g+"


@given(text=st.text())
def test_no_text_is_too_strange(text):
    try:
        octets = xtext.decode(text)
    except ValueError:
        return
    assert xtext.is_xtext(text)
    assert isinstance(octets, bytes)

"""Peers' text made harmless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.accounting.escape import escaped


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("", ""),
        ("joe@example.org", "joe@example.org"),
        ('"j d"@bücher.example', '"j d"@bücher.example'),
        ("a\r\nb", "a\\x0d\\x0ab"),
        ("\x00\t\x1b[31m\x7f", "\\x00\\x09\\x1b[31m\\x7f"),
        ("\x85\u2028", "\\xc2\\x85\\xe2\\x80\\xa8"),
        ("\u202eevil", "\\xe2\\x80\\xaeevil"),
        ("\udc80", "\\xed\\xb2\\x80"),
    ],
)
def test_what_is_not_printable_is_written_as_its_octets(text, harmless):
    assert escaped(text) == harmless


@given(st.text(alphabet=st.characters()) | st.binary().map(lambda octets: octets.decode("utf-8", "surrogateescape")))
def test_the_result_is_one_printable_line_and_can_be_encoded(text):
    assert escaped(text).isprintable()
    assert len(escaped(text).splitlines()) <= 1
    escaped(text).encode()

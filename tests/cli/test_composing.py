"""Messages for `moxy send`: complete, fit for the wire, as long as asked for."""

import email
from email import policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.cli.composing import Letter, filler, with_crlf
from moxy.smtp.content import LineEndAudit


def letter(**changes):
    details = {"sender": "ann@a.test", "recipients": ["bob@b.test"], "subject": "hi", "body": "Hello!"} | changes
    return Letter(**details, domain="a.test")


def parsed(content):
    return email.message_from_bytes(content, policy=policy.default)


def test_a_letter_has_all_that_a_message_needs():
    message = parsed(letter(recipients=["bob@b.test", '"e. e."@b.test'], subject="grüße", body="schön").content())
    assert message["From"] == "ann@a.test"
    assert message["To"] == 'bob@b.test, "e. e."@b.test'
    assert message["Subject"] == "grüße"
    assert message["Date"]
    assert message.get_content().strip() == "schön"


def test_every_message_has_a_message_id_of_its_own():
    of_one = letter()
    first, second = (parsed(of_one.content())["Message-ID"] for _ in range(2))
    assert first != second
    assert first.endswith("@a.test>")


@pytest.mark.parametrize("path", ["", "postmaster", '"\\"<>"@a.test', "x@[127.0.0.1]", "x@[IPv6:::1]", "a" * 60 + "@b"])
def test_any_path_can_stand_in_the_header(path):
    content = letter(sender=path, recipients=[path or "bob@b.test"]).content()
    assert LineEndAudit().clean(content)
    assert content.isascii()


@pytest.mark.parametrize("octets", [1_000, 1_001, 10_240])
def test_a_letter_is_filled_up_to_the_octet(octets):
    content = letter().content(octets)
    assert len(content) == octets
    assert content.endswith(b"\r\n")


def test_a_letter_that_is_longer_already_is_left_alone():
    assert parsed(letter().content(10)).get_content().strip() == "Hello!"


@given(st.integers(2, 500))
def test_filler_is_so_many_octets_of_complete_lines(octets):
    text = filler(octets)
    assert len(text) == octets
    assert LineEndAudit().clean(text)
    assert text.endswith(b"\r\n")


@pytest.mark.parametrize(
    ("octets", "expected"),
    [(b"", b""), (b"a", b"a\r\n"), (b"a\nb\rc\r\nd", b"a\r\nb\r\nc\r\nd\r\n"), (b"\n\r", b"\r\n\r\n")],
)
def test_line_ends_become_crlf(octets, expected):
    assert with_crlf(octets) == expected


@given(st.binary())
def test_any_file_becomes_fit_for_the_wire(octets):
    content = with_crlf(octets)
    assert LineEndAudit().clean(content)
    assert not content or content.endswith(b"\r\n")

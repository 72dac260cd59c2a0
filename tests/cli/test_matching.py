"""The patterns and times that options name."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.cli.matching import client, destination, folded, moment, recipient, sender


def test_only_the_domain_is_folded():
    assert folded(b'"A@B"@Example.ORG') == b'"A@B"@example.org'
    assert folded(b"Postmaster") == b"postmaster"
    assert folded(b"") == b""
    assert folded("JÖRG@Mail.BÜCHER.example".encode()) == "JÖRG@mail.xn--bcher-kva.example".encode()
    assert folded(b"a@\xff.EXAMPLE") == b"a@\xff.example"


@pytest.mark.parametrize("pattern", ["*@*.bücher.example", "jörg@mail.xn--bcher-kva.example", "*@mail.bü*.example"])
def test_u_labels_and_a_labels_of_a_domain_fit_each_other(pattern):
    test = recipient(pattern)
    for address in ("jörg@mail.bücher.example", "jörg@Mail.XN--bcher-kva.example"):
        assert test(address.encode()) is ("bü*" not in pattern)


@pytest.mark.parametrize(
    ("read", "pattern", "fits", "fits_not"),
    [
        (
            sender,
            "joe@example.org",
            ["joe@example.org", "joe@EXAMPLE.org"],
            ["Joe@example.org", "xjoe@example.org", ""],
        ),
        (sender, "joe@Example.ORG", ["joe@example.org"], ["joe@example.orgx"]),
        (sender, "*@example.org", ["a@example.org", '"b@c"@Example.org'], ["a@x.example.org", "a@example.org.x", ""]),
        (sender, "j*@*.org", ["j@x.org", "joe@a.b.ORG"], ["J@x.org", "joe@org"]),
        (sender, "<>", [""], ["a@b"]),
        (sender, "", [""], ["a@b"]),
        (sender, "*", ["", "a@b"], []),
        (sender, "a[b]?@x.y", ["a[b]?@x.y"], ["ab@x.y", "abc@x.y", "a[b]?@xzy"]),
        (recipient, "Postmaster", ["postmaster", "POSTMASTER"], ["postmaster@x"]),
        (recipient, "jörg@exämple.org", ["jörg@exämple.org"], ["jorg@exämple.org"]),
        (client, "192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.2.11", "2001:db8::1"]),
        (client, "192.0.2.*", ["192.0.2.1"], ["192.0.20.1", "92.0.2.1"]),
        (client, "192.0.2.0/28", ["192.0.2.15"], ["192.0.2.16"]),
        (client, "2001:DB8::1", ["2001:db8::1"], ["2001:db8::2"]),
        (client, "2001:DB8:*", ["2001:db8::1"], ["2001:db9::1"]),
        (destination, "mail.example.org:25", ["mail.example.org:25", "MAIL.example.org:25"], ["mail.example.org:2525"]),
        (destination, "mail.example.org", ["mail.example.org:25", "mail.example.org:2525"], ["mail.example.orgs:25"]),
        (destination, "*.Example.org:25", ["a.example.org:25"], ["example.org:25", "a.example.org:26"]),
        (destination, "*:25", ["a:25", "[::1]:25"], ["a:2525"]),
        (destination, "[2001:db8::1]", ["[2001:db8::1]:25"], ["[2001:db8::11]:25"]),
        (destination, "[2001:db8::1]:26", ["[2001:db8::1]:26"], ["[2001:db8::1]:25"]),
        (destination, "2001:DB8::1", ["[2001:db8::1]:25"], ["[2001:db8::1:25]:25"]),
    ],
)
def test_a_pattern_fits_what_it_means_and_nothing_else(read, pattern, fits, fits_not):
    test = read(pattern)
    assert [text for text in fits if not test(text.encode())] == []
    assert [text for text in fits_not if test(text.encode())] == []


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (sender, "joe", "expected an address"),
        (recipient, "", "expected an address"),
        (client, "host", "expected an address"),
        (client, "192.0.2.0/99", "expected an address"),
        (destination, "", "expected a host"),
        (destination, ":25", "expected a host"),
        (destination, "a:b", "expected a host"),
        (destination, "a:123456", "expected a host"),
    ],
)
def test_what_is_no_pattern_is_refused_with_what_was_expected(read, text, expected):
    with pytest.raises(ValueError, match=expected):
        read(text)


@pytest.mark.parametrize("read", [sender, recipient, client, destination])
@given(st.text())
def test_whatever_the_text_it_is_a_pattern_or_refused(read, text):
    with suppress(ValueError):
        read(text)(b"192.0.2.1")


def test_many_stars_take_no_time_to_fail():
    test = sender("*a" * 12 + "@x")
    started = time.process_time()
    assert not test(b"a" * 500 + b"b@x")
    assert time.process_time() - started < 1


@pytest.fixture(autouse=True)
def an_hour_east(monkeypatch):
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02", 82_800),
        ("1970-01-02T00:00:00Z", 86_400),
        ("1970-01-02 01:00", 86_400),
        ("1970-01-02T01:00:00+01:00", 86_400),
        ("3d", 1_000_000 - 3 * 86_400),
        ("12h", 1_000_000 - 12 * 3600),
        ("1.5 m", 1_000_000 - 90),
    ],
)
def test_a_time_is_a_date_or_so_long_ago(text, seconds):
    assert moment(text, 1_000_000.0) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "1970-13-01", "-3d", "3 weeks", "\x1b"])
def test_what_is_no_time_is_refused_with_what_was_expected(text):
    with pytest.raises(ValueError, match="expected a date or a time"):
        moment(text, 0.0)

"""XCLIENT and XFORWARD: attributes there and back, in lines that are not too long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.smtp import clientname
from moxy.smtp.clientname import LINE_LIMIT, UNAVAILABLE, VALUE_LIMIT, commands, only, parse_xclient

VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=VALUE_LIMIT)
NAMES = st.sampled_from(["NAME", "HELO", "LOGIN"])


@given(attributes=st.dictionaries(NAMES, VALUES, min_size=1))
def test_what_was_written_reads_back_the_same(attributes):
    found: dict[str, str] = {}
    for line in commands("XCLIENT", attributes.items()):
        assert len(line) + 2 <= LINE_LIMIT
        verb, _, argument = line.partition(b" ")
        assert verb == b"XCLIENT"
        found |= parse_xclient(argument)
    unavailable = {name for name, value in attributes.items() if not found[name]}
    assert {**found, **dict.fromkeys(unavailable, "")} == {**attributes, **dict.fromkeys(unavailable, "")}
    assert all(
        not attributes[name] or len(attributes[name]) > 160 or attributes[name].startswith("[") for name in unavailable
    )


@given(argument=st.binary(max_size=120))
def test_no_argument_is_too_strange(argument):
    for start in (b"", b"ADDR=", b"ADDR=IPV6:", b"PORT=", b"NAME=a HELO="):
        try:
            attributes = parse_xclient(start + argument)
        except ValueError:
            continue
        assert attributes
        assert all(value.isascii() and value.isprintable() for value in attributes.values())


def test_what_fits_is_one_command_and_what_does_not_is_several_in_order():
    assert commands("XFORWARD", [("NAME", "a.test"), ("ADDR", "192.0.2.1")]) == (
        b"XFORWARD NAME=a.test ADDR=192.0.2.1",
    )
    long = "n" * VALUE_LIMIT
    lines = commands("XCLIENT", [("HELO", long), ("NAME", long), ("ADDR", "192.0.2.1")])
    assert lines == (b"XCLIENT HELO=" + long.encode(), b"XCLIENT NAME=" + long.encode() + b" ADDR=192.0.2.1")


def test_what_is_not_known_is_not_available():
    assert commands("XCLIENT", [("HELO", ""), ("NAME", "x" * 256)]) == (
        f"XCLIENT HELO={UNAVAILABLE} NAME={UNAVAILABLE}".encode(),
    )


def test_values_are_xtext():
    assert commands("XCLIENT", [("LOGIN", "ann+tag a=b")]) == (b"XCLIENT LOGIN=ann+2Btag+20a+3Db",)
    assert parse_xclient(b"LOGIN=ann+2Btag+20a+3Db") == {"LOGIN": "ann+tag a=b"}


def test_addresses_and_ports():
    assert clientname.address("192.0.2.1") == "192.0.2.1"
    assert clientname.address("2001:db8::1") == "IPV6:2001:db8::1"
    assert (clientname.port(0), clientname.port(25)) == ("", "25")
    parsed = parse_xclient(b"addr=ipv6:2001:DB8::1 Port=25 PROTO=esmtp DESTADDR=192.0.2.9 DESTPORT=[UNAVAILABLE]")
    expected = {"ADDR": "2001:db8::1", "PORT": "25", "PROTO": "ESMTP", "DESTADDR": "192.0.2.9", "DESTPORT": ""}
    assert parsed == expected
    assert parse_xclient(b"NAME=[TEMPUNAVAIL] ADDR=[unavailable]") == {"NAME": "", "ADDR": ""}


@pytest.mark.parametrize(
    "argument",
    [
        b"",
        b"NAME",
        b"NAME=",
        b"=a",
        b"NOSUCH=1",
        b"IDENT=1",
        b"ADDR=192.0.2.1 ADDR=192.0.2.2",
        b"ADDR=192.0.2",
        b"ADDR=192.0.2.01",
        b"ADDR=2001:db8::1",
        b"ADDR=IPV6:192.0.2.1",
        b"ADDR=IPV6:fe80::1%eth0",
        b"ADDR=[192.0.2.1]",
        b"PORT=65536",
        b"PORT=-1",
        b"PORT=http",
        b"PROTO=HTTP",
        b"HELO=a+0D+0Ab",
        b"HELO=a+00b",
        b"HELO=\xff",
        b"N\xc4ME=a",
        b"NAME=" + b"n" * 256,
    ],
)
def test_what_is_malformed(argument):
    with pytest.raises(ValueError):
        parse_xclient(argument)


def test_only_what_the_server_knows_is_told_and_the_order_stays():
    attributes = {"HELO": "a", "PROTO": "ESMTP", "ADDR": "192.0.2.1"}
    assert only(attributes, frozenset({"ADDR", "HELO"})) == [("HELO", "a"), ("ADDR", "192.0.2.1")]

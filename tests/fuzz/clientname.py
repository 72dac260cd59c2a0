"""Fuzz XCLIENT's attributes: an argument is read or refused, and what is told of a client reads back, a line at a time.

What was read is printable ASCII, an address is an address, and no client's name can add an attribute or a command.
"""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

from fuzzing import main, noise

from moxy.smtp.clientname import LINE_LIMIT, VALUE_LIMIT, XCLIENT_ATTRIBUTES, address, commands, only, parse_xclient
from moxy.smtp.command import XCLIENT_VERB as VERB
from moxy.smtp.command import Invalid, XClient, parse

WORDS = [b" NAME=", b" addr=", b" ADDR=192.0.2.1", b" ADDR=IPV6:2001:db8::1", b" PORT=25", b" PROTO=esmtp", b" HELO="]
WORDS += [b" LOGIN=a+20b", b" DESTADDR=IPv6:", b" DESTPORT=65536", b"[UNAVAILABLE]", b"[tempunavail]", b"a.test", b"="]
WORDS += [b"+0D+0A", b"+20", b"+2", b"+zz", b"+FF", b"+5BUNAVAILABLE+5D", b"::1", b"%eth0", b" X=1", b"1", b"n" * 250]
KINDS = ["NAME", "HELO", "LOGIN"]


def check_read(attributes: dict[str, str]) -> None:
    assert attributes
    for name, value in attributes.items():
        assert name in XCLIENT_ATTRIBUTES
        assert value.isascii()
        assert value.isprintable()
        assert len(value) <= VALUE_LIMIT
        if value and name in ("ADDR", "DESTADDR"):
            assert str(ip_address(value)) == value
            assert "%" not in value
        if value and name in ("PORT", "DESTPORT"):
            assert 0 <= int(value) <= 65535
    check_told(attributes)


def check_told(attributes: dict[str, str]) -> None:
    """As commands, and read again: the same, or not available where a value is too long or says that it is not."""
    words = [(name, address(value) if name in ("ADDR", "DESTADDR") else value) for name, value in attributes.items()]
    found: dict[str, str] = {}
    for line in commands("XCLIENT", words):
        assert len(line) + 2 <= LINE_LIMIT
        assert line.isascii()
        assert line.decode().isprintable()
        more = parse_xclient(line.removeprefix(b"XCLIENT "))
        assert not more.keys() & found.keys()
        found |= more
    assert list(found) == list(attributes)
    for name, value in found.items():
        told = attributes[name]
        assert value == told or (value == "" and (len(told) > 150 or told.startswith("[")))
    assert only(found, frozenset({"NAME"})) == [item for item in found.items() if item[0] == "NAME"]


def case(random: Random) -> None:
    argument = noise(random, WORDS, 8)
    command = parse(b"XCLIENT " + argument, VERB)
    try:
        attributes = parse_xclient(argument)
    except ValueError:
        assert isinstance(command, Invalid)
        attributes = {}
    else:
        assert command == XClient(attributes)
        check_read(attributes)
    printable = [noise(random, WORDS, 8).decode("latin-1") for _ in KINDS]
    check_told({kind: "".join(c for c in text if " " <= c <= "~") for kind, text in zip(KINDS, printable, strict=True)})
    for line in commands("XFORWARD", [("NAME", noise(random, WORDS).decode("latin-1")), ("PORT", "25")]):
        assert len(line) + 2 <= LINE_LIMIT
        assert line.decode("ascii").isprintable()


if __name__ == "__main__":
    main(case)

"""XCLIENT and XFORWARD: who the client is, told from one mail server to the next as attributes in a command.

    XCLIENT NAME=spike.example ADDR=192.0.2.1    is believed as if that client had connected itself
    XFORWARD NAME=spike.example ADDR=192.0.2.1   is for the log, and for one transaction

Values are xtext (RFC 3461 §4). The specification is Postfix's XCLIENT_README and XFORWARD_README. Who is believed is
not decided here (T27).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from moxy.smtp import xtext

UNAVAILABLE: Final = "[UNAVAILABLE]"
TEMPORARILY_UNAVAILABLE: Final = "[TEMPUNAVAIL]"

XCLIENT_ATTRIBUTES: Final = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")
XCLIENT_KEYWORD: Final = " ".join(["XCLIENT", *XCLIENT_ATTRIBUTES])
"""How EHLO announces it."""

LINE_LIMIT: Final = 512
"""Octets of a command with its CRLF; what does not fit goes into a further one."""

VALUE_LIMIT: Final = 255
"""Characters of a value: those of a domain name (RFC 5321 §4.5.3.1.2)."""

_PROTOCOLS: Final = frozenset({"SMTP", "ESMTP", "LMTP"})
_IPV6: Final = "IPV6:"


def commands(verb: str, attributes: Iterable[tuple[str, str]]) -> tuple[bytes, ...]:
    """Command lines without CRLF that tell the attributes, in their order: one, or several where they do not fit.

    What is empty, or too long for anybody to take, is told as not available.
    """
    lines: list[str] = []
    for name, value in attributes:
        word = f" {name}={_encoded(value)}"
        if not lines or len(lines[-1]) + len(word) + 2 > LINE_LIMIT:
            lines.append(verb)
        lines[-1] += word
    return tuple(line.encode("ascii") for line in lines)


def _encoded(value: str) -> str:
    text = xtext.encode(value.encode()) if len(value) <= VALUE_LIMIT else ""
    return text if 0 < len(text) <= LINE_LIMIT - len("XFORWARD DESTADDR=\r\n") else UNAVAILABLE


def address(text: str) -> str:
    """An IP address as the value of ADDR; other text, such as none, is not available."""
    return _IPV6 + text if ":" in text else text


def port(number: int) -> str:
    """The value of PORT; 0 is not available."""
    return str(number) if number else ""


def parse_xclient(argument: bytes) -> dict[str, str]:
    """The attributes behind XCLIENT by their names in upper case; what is not available is "".

    ADDR and DESTADDR come out as plain addresses, PROTO in upper case. Raises ValueError for what is malformed.
    """
    attributes: dict[str, str] = {}
    for word in argument.split():
        name, equals, value = word.partition(b"=")
        keyword = name.decode("ascii").upper()
        if keyword not in XCLIENT_ATTRIBUTES or not equals or not value or keyword in attributes:
            raise ValueError("an attribute is unknown, empty or repeated")
        attributes[keyword] = _checked(keyword, _decoded(value))
    if not attributes:
        raise ValueError("no attribute")
    return attributes


def _decoded(value: bytes) -> str:
    text = xtext.decode_leniently(value).decode("ascii")
    if len(text) > VALUE_LIMIT or not text.isprintable():
        raise ValueError("a value is too long, or has control characters")
    return "" if text.upper() in (UNAVAILABLE, TEMPORARILY_UNAVAILABLE) else text


def _checked(keyword: str, value: str) -> str:
    if not value:
        return value
    if keyword in ("ADDR", "DESTADDR"):
        return _read_address(value)
    if keyword in ("PORT", "DESTPORT") and not (value.isdigit() and len(value) <= 5 and int(value) <= 0xFFFF):
        raise ValueError("a port is malformed")
    if keyword == "PROTO":
        value = value.upper()
        if value not in _PROTOCOLS:
            raise ValueError("the protocol is unknown")
    return value


def _read_address(value: str) -> str:
    try:
        if value[: len(_IPV6)].upper() != _IPV6:
            return str(IPv4Address(value))
        if "%" in value:
            raise ValueError("an address has a zone")
        return str(IPv6Address(value[len(_IPV6) :]))
    except AddressValueError as error:
        raise ValueError("an address is malformed") from error


def only(attributes: Mapping[str, str], announced: frozenset[str]) -> list[tuple[str, str]]:
    """Those attributes that the server has announced, in their order."""
    return [(name, value) for name, value in attributes.items() if name in announced]

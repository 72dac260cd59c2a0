"""Hosts as a route table has them: `mail.example.org:2525`, `192.0.2.1`, `[2001:db8::1]:25`, with commas between.

A server on this machine may also be a Unix socket: `unix:/run/dovecot/lmtp`.

Rules: pure. Names become lower case, U-labels A-labels, and IPv6 addresses get their shortest spelling, so that the
same hosts give equal routes however they were written: their recipients then share one connection and one copy. The
path of a socket has only characters that mean nothing in tables, lists, formats of logs and dbm files, so it stands as
it is wherever hosts do.

RFC 952, RFC 1123 §2.1 (host names; with the underscore, which container networks use), RFC 4291 §2.2, RFC 3986 §3.2.2;
RFC 5890 (names with U-labels).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from moxy.mail.route import SMTP_PORT, UNIX, Host
from moxy.routes.wording import nearest, shown
from moxy.smtp.domain import canonical

HOSTS_LIMIT: Final = 100
"""Hosts in one list. Each of them may get every message, over a connection of its own."""

_NAME_LIMIT: Final = 253
"""Characters in a host name: RFC 1035 §2.3.4, less the length octets of the first label and of the root."""

_PATH_LIMIT: Final = 100
"""Octets in the path of a Unix socket. Systems take 107 (unix(7)), or 103."""

_PATH: Final = re.compile(r"(?:/[0-9A-Za-z_.@+-]+)+")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PORT: Final = re.compile(r"[0-9]{1,5}")


def parse_hosts(text: str) -> tuple[Host, ...]:
    """The hosts in a list with commas, blanks around them allowed.

    Raises ValueError, with a text that says what was expected, for an empty list or item, a bad one, or one that comes
    twice: mode `all` would deliver every message to it twice.
    """
    items = text.split(",", HOSTS_LIMIT)
    if len(items) > HOSTS_LIMIT:
        raise ValueError(f"expected at most {HOSTS_LIMIT} hosts")
    hosts: list[Host] = []
    for item in items:
        host = parse_host(item.strip(" \t"))
        if host in hosts:
            raise ValueError(f"`{host}` stands there twice")
        hosts.append(host)
    return tuple(hosts)


def parse_host(text: str) -> Host:
    """One `host`, `host:port` or `[IPv6 address]:port`, without a port 25; or `unix:` and a socket's path.

    Raises ValueError as `parse_hosts` does.
    """
    if not text:
        raise ValueError("expected host:port, or several with commas between")
    if text.startswith(UNIX) and not text.removeprefix(UNIX).isdigit():
        return Host(_path(text.removeprefix(UNIX)), 0)
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"bad host {shown(text)}: expected `[IPv6 address]:port`")
        return Host(_ipv6(name), _port(rest[1:]) if rest else SMTP_PORT)
    if text.count(":") > 1:
        raise ValueError(f"bad host {shown(text)}: an IPv6 address needs brackets, as in `[2001:db8::1]:25`")
    name, colon, port = text.partition(":")
    return Host(_name(name), _port(port) if colon else SMTP_PORT)


def refuse_unknown_name(word: str, destinations: Collection[str]) -> None:
    """Raise ValueError for a `word` that can only be the name of a destination and is none of `destinations`.

    Where the configuration has destinations, a word without dot, colon and comma must be one of them: a slip in a name
    must not become a host of that name. Where it has none, such a word is a host.
    """
    if destinations and word and not set(word) & set(".:,"):
        suggestion = nearest(word, destinations)
        raise ValueError(f"no destination is called {shown(word)}{suggestion} (a host of that name needs a port)")


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"bad port {shown(text)}: expected a number from 1 to 65535")
    return int(text)


def _path(text: str) -> str:
    path = re.sub("/+", "/", text)
    if len(path) > _PATH_LIMIT or not _PATH.fullmatch(path):
        raise ValueError(
            f"bad host {shown(UNIX + text)}: expected `unix:` and the absolute path of a socket, at most {_PATH_LIMIT}"
            " letters, digits and `/ . _ - + @`"
        )
    return path


def _ipv6(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise ValueError(f"bad host {shown(text)}: expected an IPv6 address between the brackets") from None


def _name(text: str) -> str:
    name = text.lower() if text.isascii() else _with_a_labels(text)
    labels = name.removesuffix(".").split(".")
    if len(name) > _NAME_LIMIT or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"bad host {shown(text)}: expected a host name or an IP address")
    # A name whose last label is a number is taken for an address by every resolver.
    return _ipv4(name) if labels[-1].isdigit() else name


def _with_a_labels(text: str) -> str:
    try:
        return canonical(text)
    except ValueError:
        raise ValueError(f"bad host {shown(text)}: expected a host name or an IP address") from None


def _ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise ValueError(f"bad host {shown(text)}: expected an IPv4 address, four numbers from 0 to 255") from None

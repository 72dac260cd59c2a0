"""The PROXY protocol, versions 1 and 2, in both directions: who a connection really comes from.

A proxy says so in a header before anything else on the connection. `read` takes what has come so far and tells what it
says, or that more must come; `write` makes one.

Rules:
- Whatever comes, `read` returns or raises ProxyHeaderError; it never asks for more than LIMIT octets.
- Strict: one spelling for each thing, as the specification has it. Who guesses here believes strangers.
- What a header says is believed by who asks for it, and nobody asks for one but from listed peers (T27).

The specification is HAProxy's `proxy-protocol.txt` (2020/03/05): §2.1 version 1, §2.2 version 2 and its TLVs.

Bugs: a checksum (PP2_TYPE_CRC32C) is not verified. Datagrams are refused: no mail comes in them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, Literal

V1_LIMIT: Final = 107
"""The longest line of version 1 with its CRLF (§2.1)."""

V2_LIMIT: Final = 8192
"""Octets behind the fixed part of version 2 that we take: addresses and TLVs, a client certificate among them."""

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V1: Final = b"PROXY "
_FIXED: Final = 16  # signature, version and command, family, length

LIMIT: Final = _FIXED + V2_LIMIT
"""The longest header that we take."""

_LOCAL: Final = 0x20
_PROXY: Final = 0x21

_UNSPECIFIED: Final = 0x00
_TCP4: Final = 0x11
_TCP6: Final = 0x21
_UNIX: Final = 0x31
_SIZES: Final = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36, _UNIX: 216}
_UNIX_PATH: Final = 108

_AUTHORITY: Final = 0x02
_SSL: Final = 0x20
_SSL_VERSION: Final = 0x21
_SSL_CN: Final = 0x22
_SSL_CIPHER: Final = 0x23
_OVER_TLS: Final = 0x01
_WITH_CERTIFICATE: Final = 0x06  # on this connection, in this TLS session

_TEXT_LIMIT: Final = 255
_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")


class ProxyHeaderError(ValueError):
    """This is no PROXY header, or none that we can believe."""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How the client speaks TLS with the proxy: `version` (`TLSv1.3`), `cipher`, the common name in its certificate.

    `verified`: it has shown a certificate, and the proxy has verified it.
    """

    version: str = ""
    cipher: str = ""
    common_name: str = ""
    verified: bool = False


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """Who has connected to the proxy, and where there: addresses without brackets, as the header spells them.

    A `source` that begins with a slash is the path of a Unix socket. It is empty where nothing is known of the client
    (UNKNOWN), or where the proxy speaks for itself (`local`), for example to see whether we are alive. `authority` is
    the host name that the client has asked for in its TLS handshake.
    """

    source: str = ""
    source_port: int = 0
    destination: str = ""
    destination_port: int = 0
    local: bool = False
    tls: ClientTls | None = None
    authority: str = ""


def read(octets: bytes) -> tuple[ProxyHeader, int] | None:
    """The header at the beginning of `octets` and its length; None while it is not whole.

    Raises ProxyHeaderError for anything else, as soon as it is clear that it is something else.
    """
    if SIGNATURE.startswith(octets[: len(SIGNATURE)]):
        return _read_v2(octets) if len(octets) >= _FIXED else None
    if _V1.startswith(octets[: len(_V1)]):
        return _read_v1(octets)
    raise ProxyHeaderError("no PROXY header")


# -- version 1


def _read_v1(octets: bytes) -> tuple[ProxyHeader, int] | None:
    end = octets.find(b"\r\n", 0, V1_LIMIT)
    if end < 0:
        if len(octets) >= V1_LIMIT:
            raise ProxyHeaderError("the line is too long")
        return None
    _, family, *words = octets[:end].split(b" ")
    if family == b"UNKNOWN":  # what follows must be ignored
        return ProxyHeader(), end + 2
    kind = _KINDS.get(family)
    if kind is None or len(words) != 4:
        raise ProxyHeaderError("the line is malformed")
    source, destination = _address(kind, words[0]), _address(kind, words[1])
    return ProxyHeader(source, _port(words[2]), destination, _port(words[3])), end + 2


_KINDS: Final[dict[bytes, type[IPv4Address] | type[IPv6Address]]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}


def _address(kind: type[IPv4Address] | type[IPv6Address], word: bytes) -> str:
    try:
        text = word.decode("ascii")
        address = kind(text)
    except (AddressValueError, UnicodeDecodeError):
        raise ProxyHeaderError("an address is malformed") from None
    if "%" in text:
        raise ProxyHeaderError("an address is malformed")
    return str(address)


def _port(word: bytes) -> int:
    if not _PORT.fullmatch(word) or int(word) > 0xFFFF:
        raise ProxyHeaderError("a port is malformed")
    return int(word)


# -- version 2


def _read_v2(octets: bytes) -> tuple[ProxyHeader, int] | None:
    command, family, length = struct.unpack_from("!BBH", octets, len(SIGNATURE))
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("the version or the command is unknown")
    if family not in _SIZES and command == _PROXY:
        raise ProxyHeaderError("the family or the transport is unknown")
    if length > V2_LIMIT:
        raise ProxyHeaderError("the header is too long")
    end = _FIXED + length
    if len(octets) < end:
        return None
    if command == _LOCAL:  # what follows must be ignored
        return ProxyHeader(local=True), end
    size = _SIZES[family]
    if length < size:
        raise ProxyHeaderError("the addresses are cut off")
    addresses, rest = octets[_FIXED : _FIXED + size], octets[_FIXED + size : end]
    tls, authority = None, ""
    for kind, value in _tlvs(rest):
        if kind == _SSL:
            tls = _read_tls(value)
        elif kind == _AUTHORITY:
            authority = _text(value)
    return ProxyHeader(*_read_addresses(family, addresses), tls=tls, authority=authority), end


def _read_addresses(family: int, octets: bytes) -> tuple[str, int, str, int]:
    if family == _TCP4:
        source, destination, *ports = struct.unpack("!4s4sHH", octets)
        return str(IPv4Address(source)), ports[0], str(IPv4Address(destination)), ports[1]
    if family == _TCP6:
        source, destination, *ports = struct.unpack("!16s16sHH", octets)
        return str(IPv6Address(source)), ports[0], str(IPv6Address(destination)), ports[1]
    if family == _UNIX:
        return _unix_path(octets[:_UNIX_PATH]), 0, _unix_path(octets[_UNIX_PATH:]), 0
    return "", 0, "", 0


def _unix_path(octets: bytes) -> str:
    """A path; nothing for a socket without one, or with one that is no path."""
    path = octets.partition(b"\0")[0].decode("utf-8", "backslashreplace")
    return path if path.startswith("/") else ""


def _tlvs(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Type, length, value, one after the other."""
    position = 0
    while position < len(octets):
        if position + 3 > len(octets):
            raise ProxyHeaderError("a TLV is cut off")
        kind, length = struct.unpack_from("!BH", octets, position)
        position += 3 + length
        if position > len(octets):
            raise ProxyHeaderError("a TLV is cut off")
        yield kind, octets[position - length : position]


def _read_tls(octets: bytes) -> ClientTls | None:
    """PP2_TYPE_SSL (§2.2.6)."""
    if len(octets) < 5:
        raise ProxyHeaderError("a TLV is cut off")
    client, verify = struct.unpack_from("!BI", octets)
    values = {kind: _text(value) for kind, value in _tlvs(octets[5:])}
    if not client & _OVER_TLS:
        return None
    verified = bool(client & _WITH_CERTIFICATE) and verify == 0
    return ClientTls(values.get(_SSL_VERSION, ""), values.get(_SSL_CIPHER, ""), values.get(_SSL_CN, ""), verified)


def _text(octets: bytes) -> str:
    """A text that a stranger may have chosen, on one line."""
    text = octets[:_TEXT_LIMIT].decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else "?" for character in text)


# -- writing


def write(header: ProxyHeader, version: Literal[1, 2]) -> bytes:
    """The octets of a header. Version 1 has no words for Unix sockets, TLS and authority, and leaves them out.

    Where the destination's address is unknown, or of another family than the source's, an unspecified one stands.
    """
    return _write_v1(header) if version == 1 else _write_v2(header)


def _write_v1(header: ProxyHeader) -> bytes:
    family = _family(header)
    if family not in (_TCP4, _TCP6):
        return b"PROXY UNKNOWN\r\n"
    word = "TCP4" if family == _TCP4 else "TCP6"
    destination = _destination(header)
    return f"PROXY {word} {header.source} {destination} {header.source_port} {header.destination_port}\r\n".encode()


def _write_v2(header: ProxyHeader) -> bytes:
    if header.local:
        return SIGNATURE + struct.pack("!BBH", _LOCAL, _UNSPECIFIED, 0)
    family = _family(header)
    ports = struct.pack("!HH", header.source_port, header.destination_port)
    addresses = b""
    if family == _TCP4:
        addresses = IPv4Address(header.source).packed + IPv4Address(_destination(header)).packed + ports
    elif family == _TCP6:
        addresses = IPv6Address(header.source).packed + IPv6Address(_destination(header)).packed + ports
    elif family == _UNIX:
        addresses = struct.pack("!108s108s", header.source.encode(), header.destination.encode())
    rest = addresses + _write_text(_AUTHORITY, header.authority)
    if header.tls is not None:
        rest += _write_tlv(_SSL, _write_tls(header.tls))
    return SIGNATURE + struct.pack("!BBH", _PROXY, family, len(rest)) + rest


def _write_tls(tls: ClientTls) -> bytes:
    client = _OVER_TLS | (_WITH_CERTIFICATE if tls.verified else 0)
    texts = ((_SSL_VERSION, tls.version), (_SSL_CN, tls.common_name), (_SSL_CIPHER, tls.cipher))
    values = b"".join(_write_text(kind, text) for kind, text in texts)
    return struct.pack("!BI", client, 0 if tls.verified else 1) + values


def _write_text(kind: int, text: str) -> bytes:
    """Nothing for what is empty, or longer than we would read."""
    octets = text.encode()
    return _write_tlv(kind, octets) if 0 < len(octets) <= _TEXT_LIMIT else b""


def _write_tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def _family(header: ProxyHeader) -> int:
    if not header.source or header.local:
        return _UNSPECIFIED
    if header.source.startswith("/"):
        return _UNIX
    return _TCP6 if ":" in header.source else _TCP4


def _destination(header: ProxyHeader) -> str:
    alike = header.destination and (":" in header.destination) is (":" in header.source)
    return header.destination if alike else "::" if ":" in header.source else "0.0.0.0"  # noqa: S104 - not bound

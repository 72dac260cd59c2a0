"""ClientPattern: which client addresses a setting means, as the original's `allowRelayFrom` wrote them and as CIDR.

Four spellings: an address, a network (`192.0.2.0/24`, `2001:db8::/32`), IPv4 octets with `*` (`192.168.*.*`), and the
same cut short (`10.*`). All become one mask and one value, so that matching is a single comparison whatever the
spelling.

Rules: an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) is its IPv4 address, in patterns and in clients alike. A pattern
of nothing but `*` is refused: written by mistake it makes an open relay; `0.0.0.0/0` and `::/0` say the same on
purpose.

Bugs: a `*` stands for a whole octet only; IPv6 has no `*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

EXPECTED = "an address (`192.0.2.1`, `2001:db8::1`), a network (`192.0.2.0/24`) or octets with `*` (`192.168.*.*`)"

_OCTET = re.compile(r"0|[1-9][0-9]{0,2}")
_MAPPED = IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class ClientPattern:
    """A set of clients: addresses of IP `version` that equal `value` in the bits of `mask`. `text` is as written."""

    version: int
    mask: int
    value: int
    text: str = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> ClientPattern:
        """Read one pattern. Raises ValueError, with a text fit for a user, for anything else."""
        if "*" in text:
            mask, value = _octets(text)
            return cls(4, mask, value, text)
        network = _network(text)
        return cls(network.version, int(network.netmask), int(network.network_address), text)

    def matches(self, ip: str) -> bool:
        """Whether the client at `ip` (an address without brackets) is meant. What is no IP address never is."""
        address = _address(ip)
        return address is not None and address.version == self.version and int(address) & self.mask == self.value

    @property
    def everybody(self) -> bool:
        """Are all clients of its IP version meant?"""
        return self.mask == 0

    def __str__(self) -> str:
        return self.text


def any_matches(patterns: Iterable[ClientPattern], ip: str) -> bool:
    """Whether one of the patterns means the client at `ip`."""
    return any(pattern.matches(ip) for pattern in patterns)


def plain(ip: str) -> str:
    """An address, as sockets and `ipaddress` write it, as routes and logs know it: no zone, IPv4 as IPv4 even where it
    is mapped into IPv6; "" for the path of a Unix socket.
    """
    if ":" not in ip:
        return "" if ip.startswith("/") else ip
    address = ip.partition("%")[0]
    if address.startswith("::ffff:"):  # all others stay as they are: to parse one costs more than 3 µs
        return str(_address(address) or "")
    return "" if address.startswith("/") else address


def _address(ip: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(ip)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _octets(text: str) -> tuple[int, int]:
    """Mask and value of an IPv4 pattern with `*`; a last `*` stands for all the octets left out."""
    octets = text.split(".")
    if len(octets) < 4 and octets[-1] == "*":
        octets += ["*"] * (4 - len(octets))
    mask = value = 0
    for octet in octets:
        if octet != "*" and not (_OCTET.fullmatch(octet) and int(octet) < 256):
            raise ValueError(f"expected {EXPECTED}")
        mask = mask << 8 | (0 if octet == "*" else 255)
        value = value << 8 | (0 if octet == "*" else int(octet))
    if len(octets) != 4:
        raise ValueError(f"expected {EXPECTED}")
    if mask == 0:
        raise ValueError("this means every client; if an open relay is wanted, write `0.0.0.0/0` and `::/0`")
    return mask, value


def _network(text: str) -> IPv4Network | IPv6Network:
    """An address or a network, the former as a network of one; IPv4-mapped ones as IPv4."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"expected {EXPECTED}") from None
    if "/" in text and str(network.network_address) != str(ip_address(text.partition("/")[0])):
        raise ValueError(f"the network of that size is written `{network}`")
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network

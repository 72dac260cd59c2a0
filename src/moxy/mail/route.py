"""Where a recipient goes: a Route names the hosts of its destination and how they share the work.

A route is a value made by a route table (`moxy.routes`); what it takes to speak with the hosts is `moxy.outbound`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

SMTP_PORT = 25


def host_port(name: str, port: int) -> str:
    """A host name or address and a port as people write them: an IPv6 address gets brackets (RFC 3986 §3.2.2)."""
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


class Mode(StrEnum):
    """How several hosts of one route share its mail (product decision 5)."""

    ALL = "all"
    """Every host gets every message: the original Moxy's meaning, and the default of its file formats."""
    FAILOVER = "failover"
    """The first host that answers gets the message; the order is that of the route."""
    BALANCE = "balance"
    """One host gets the message, drawn by weight; the others stand in when it does not answer."""


@dataclass(frozen=True, slots=True)
class Host:
    """One mail server: a host name or address literal without brackets, its port, its share (`balance` only)."""

    name: str
    port: int = SMTP_PORT
    weight: int = 1

    def __str__(self) -> str:
        return host_port(self.name, self.port)


class Route:
    """The answer of a route table for one recipient. Immutable.

    `settings` names the `[destination.NAME]` section whose connection settings apply; empty: the defaults.
    Two routes with the same `key` are the same destination: their recipients share a connection and a copy.
    """

    __slots__ = ("hosts", "key", "mode", "settings")

    def __init__(self, hosts: tuple[Host, ...], mode: Mode = Mode.ALL, settings: str = "") -> None:
        if not hosts:
            raise ValueError("a route needs at least one host")
        self.hosts = hosts
        self.mode = mode
        self.settings = settings
        weights = ",".join(f"{host}*{host.weight}" for host in hosts)
        self.key = f"{settings}|{mode}|{weights}"

    def __repr__(self) -> str:
        return f"Route({self.key})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Route) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

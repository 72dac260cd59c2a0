"""Where a recipient goes: a Route names the hosts of its destination and how they share the work.

A route is a value made by a route table (`moxy.routes`); what it takes to speak with the hosts is `moxy.outbound`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

SMTP_PORT = 25

UNIX = "unix:"
"""What stands before the path of a Unix socket where hosts are written."""


def host_port(name: str, port: int) -> str:
    """A host name or address and a port as people write them: an IPv6 address gets brackets (RFC 3986 §3.2.2).

    A name that begins with a slash is the path of a Unix socket, which has no port.
    """
    if name.startswith("/"):
        return UNIX + name
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
    """One mail server: a host name or address literal without brackets, its port, its share (`balance` only).

    A server on this machine may listen on a Unix socket: its path is the name then, and the port 0.
    """

    name: str
    port: int = SMTP_PORT
    weight: int = 1

    @property
    def local(self) -> bool:
        """Is `name` the path of a Unix socket?"""
        return self.name.startswith("/")

    def __str__(self) -> str:
        return host_port(self.name, self.port)


class Route:
    """The answer of a route table for one recipient. Immutable.

    `settings` names the `[destination.NAME]` section whose connection settings apply; empty: the defaults.
    `best_effort` are further hosts, each of which gets a copy of every message if it can; no recipient depends on them.
    Two routes with the same `key` are the same destination: their recipients share a connection and a copy.
    """

    __slots__ = ("best_effort", "hosts", "key", "mode", "settings")

    def __init__(
        self,
        hosts: tuple[Host, ...],
        mode: Mode = Mode.ALL,
        settings: str = "",
        best_effort: tuple[Host, ...] = (),
    ) -> None:
        if not hosts:
            raise ValueError("a route needs at least one host")
        self.hosts = hosts
        self.mode = mode
        self.settings = settings
        self.best_effort = best_effort
        weights = ",".join(f"{host}*{host.weight}" for host in hosts)
        copies = "".join(f"|{host}" for host in best_effort)
        self.key = f"{settings}|{mode}|{weights}{copies}"

    def __repr__(self) -> str:
        return f"Route({self.key})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Route) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

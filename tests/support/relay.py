"""The relay itself in the test's event loop: Service, SmtpDirectory and a listener on a free port, nothing between.

Time passes only when a test says so: nothing starts the sweeper, and `Relay.pass_time` sweeps with a later clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from moxy.accounting.record import Record
from moxy.accounting.recorder import Recorder
from moxy.inbound.connection import ClientConnection
from moxy.inbound.proxied import Proxied
from moxy.inbound.service import Bounds, Patience, Service
from moxy.inbound.tlsconnection import TlsConnection
from moxy.ledger import Ledger, NoLedger
from moxy.ledger.shared import SharedLedger
from moxy.ledger.stamp import Stamp
from moxy.mail import Host, Mode, Route
from moxy.mail.client import ClientPattern
from moxy.net.deadlines import Sweeper
from moxy.net.overhearing import Overhear, unheard
from moxy.net.tlsserver import ServerTls
from moxy.outbound.directory import SmtpDirectory
from moxy.outbound.ground import Ground
from moxy.outbound.pool import Pool
from moxy.outbound.settings import Settings
from moxy.smtp import replies
from moxy.smtp.address import ForwardPath
from support.ports import LOOPBACK
from support.scenario import until

HOST_NAME = "mx.moxy.test"

_CUT = replies.DESTINATION_LOST


def route(*ports: int, mode: Mode = Mode.ALL, weights: tuple[int, ...] = (), copies: tuple[int, ...] = ()) -> Route:
    """The route to servers on these ports of loopback; those at `copies` get a copy if they can."""
    shares = weights or (1,) * len(ports)
    hosts = tuple(Host(LOOPBACK, port, share) for port, share in zip(ports, shares, strict=True))
    return Route(hosts, mode, best_effort=tuple(Host(LOOPBACK, port) for port in copies))


class Domains:
    """A route table in memory: the domain decides. It implements `moxy.routes.RouteTable`."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self.routes = dict(routes)

    async def lookup(self, path: ForwardPath) -> Route | None:
        return self.routes.get(path.domain)

    def refresh(self) -> None: ...

    def close(self) -> None: ...


class Kept(list[Record]):
    """A sink that keeps its records. It implements `moxy.accounting.Sink`."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def record(self, record: Record) -> None:
        self.append(record)

    def reopen(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class Relay:
    """A Moxy at work."""

    service: Service
    directory: SmtpDirectory
    ground: Ground
    records: Kept
    table: Domains
    port: int = 0

    def pass_time(self, seconds: float) -> None:
        """Have the sweeper believe that so many seconds have passed."""
        self.service.sweeper.sweep(asyncio.get_running_loop().time() + seconds)

    @property
    def pools(self) -> list[Pool]:
        return list(self.directory._pools.values())

    @property
    def at_rest(self) -> bool:
        """Is no client here, and every connection to a destination idle in its pool?"""
        idle = all(pool._open == set(pool._idle) and not pool._connecting and not pool._waiting for pool in self.pools)
        return not self.service.connections and idle

    async def rest(self) -> None:
        """Wait until all clients are gone and every connection is accounted for."""
        await until(lambda: self.at_rest, "the relay to come to rest")

    async def close_pools(self) -> None:
        """Say QUIT on idle connections, and wait until nothing is watched any more."""
        self.directory.close()
        await until(lambda: not self.service.sweeper.watched, "every connection to end")


@asynccontextmanager
async def running_relay(
    routes: Route | Mapping[str, Route],
    *,
    settings: Settings | None = None,
    named: Mapping[str, Settings] | None = None,
    ledger: Path | Ledger | None = None,
    spread_first: bool = False,
    bounds: Bounds | None = None,
    patience: Patience | None = None,
    lmtp: bool = False,
    proxy_from: Sequence[str] = (),
    xclient_from: Sequence[str] = (),
    tls: ServerTls | None = None,
    overhear: Overhear = unheard,
    hostname: str = HOST_NAME,
    **ground: object,
) -> AsyncIterator[Relay]:
    """A relay for domains, or (given one route) for `one.test`. With `lmtp` its clients speak LMTP. `ground` are
    fields of Ground, `named` the settings of routes that name some. A ledger that is no path is not closed in the end.
    Proxies at `proxy_from` send a PROXY header, those at `xclient_from` may say XCLIENT. With `tls` clients may or must
    encrypt; `overhear` listens in on them.

    Leaving the block asserts that nothing is left: no client, no connection to a destination but idle ones, and none
    at all once the pools are closed.
    """
    loop = asyncio.get_running_loop()
    sweeper = Sweeper()
    own = replace(Ground(hostname, sweeper, loop), **ground)
    directory = SmtpDirectory(own, settings or Settings(), named)
    records = Kept()
    table = Domains(routes if isinstance(routes, Mapping) else {"one.test": routes})
    service = Service(
        hostname,
        table,
        directory,
        Recorder([records]),
        sweeper,
        bounds=bounds or Bounds(),
        patience=patience or Patience(),
        ledger=SharedLedger(ledger, Stamp(), loop, hours=72, entries=1000)
        if isinstance(ledger, Path)
        else ledger or NoLedger(),
        spread_first=spread_first,
    )
    relay = Relay(service, directory, own, records, table)
    trusted = [ClientPattern.parse(text) for text in xclient_from]
    kind = ClientConnection if tls is None else partial(TlsConnection, tls=tls)
    connection = partial(kind, service, loop, lmtp=lmtp, xclient_from=trusted)
    proxies = [ClientPattern.parse(text) for text in proxy_from]

    def proxied() -> Proxied:
        client = connection()
        return Proxied(service, loop, client, overhear(client), proxies)

    server = await loop.create_server(proxied if proxies else lambda: overhear(connection()), LOOPBACK, 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
        await relay.rest()
        await relay.close_pools()
    finally:
        if isinstance(ledger, Path):
            service.ledger.close()
        server.close()
        for connection in tuple(service.connections):
            connection.cut_off()
        for pool in relay.pools:
            for upstream in tuple(pool._open):
                upstream.lose(_CUT)
        await asyncio.sleep(0)

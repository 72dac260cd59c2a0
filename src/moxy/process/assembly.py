"""The composition root: from a configuration to live objects. The one place that wires concrete classes together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from moxy.accounting.recorder import Recorder
from moxy.config import schema
from moxy.config.limits import Limits
from moxy.inbound.service import Bounds, Patience, Service
from moxy.ledger import Ledger, NoLedger
from moxy.net.deadlines import Sweeper
from moxy.net.overhearing import overheard, unheard
from moxy.outbound.directory import SmtpDirectory
from moxy.outbound.prober import Prober
from moxy.process.descriptors import fitting_sessions
from moxy.process.destinations import share
from moxy.process.logs import open_sinks
from moxy.process.outbound import build_outbound
from moxy.process.tables import build_relay, build_tables


@dataclass(slots=True)
class Parts:
    """Everything that one event loop serves with."""

    service: Service
    directory: SmtpDirectory
    prober: Prober
    recorder: Recorder
    drain: float
    """Seconds that transactions under way may take when we stop."""


def assemble(
    config: schema.Config,
    listening: frozenset[tuple[str, int]],
    loop: asyncio.AbstractEventLoop,
    ledger: Ledger | None = None,
) -> Parts:
    """Build it all, for one of the configuration's workers. `listening` is where we do. Without a `ledger` nothing is
    remembered.

    Raises ConfigError for a route table, a certificate or a secret, MoxyError for a log, that cannot be used.
    """
    times = config.timeouts
    tables = build_tables(config)
    sweeper = Sweeper()
    debug = config.operator_log.level == "debug"
    outbound = build_outbound(config, tables, listening, loop, sweeper)
    recorder = Recorder(open_sinks(config, loop.call_later))
    service = Service(
        hostname=config.hostname,
        routes=tables,
        directory=outbound.directory,
        recorder=recorder,
        sweeper=sweeper,
        banner=config.banner,
        patience=Patience(times.hello, times.command, times.block, times.content, times.minimum_rate),
        bounds=_bounds(config.limits, config.workers),
        relay=build_relay(config).route_for,
        postmaster=config.postmaster,
        spread_first=config.spread == "first",
        final=times.final,
        overhear=overheard("client", "S") if debug else unheard,
        ledger=ledger or NoLedger(),
        extensions=outbound.profile.offered,
    )
    outbound.profile.changed = service.announce
    sweeper.chores += [
        tables.refresh,
        outbound.directory.forget_unused,
        outbound.profile.review,
        outbound.prober.tick,
    ]
    return Parts(service, outbound.directory, outbound.prober, recorder, times.drain)


def _bounds(limits: Limits, workers: int) -> Bounds:
    return Bounds(**limits.model_dump() | {"sessions": fitting_sessions(share(limits.sessions, workers))})

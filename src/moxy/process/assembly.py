"""The composition root: from a configuration to live objects. The one place that wires concrete classes together."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from moxy.accounting import Sink
from moxy.accounting.filelog import FileLog
from moxy.accounting.recorder import Recorder
from moxy.accounting.textformat import LineFormat
from moxy.config import schema
from moxy.errors import MoxyError
from moxy.inbound.service import Bounds, Patience, Service
from moxy.net.deadlines import Sweeper
from moxy.outbound.destination import Settings
from moxy.outbound.directory import SmtpDirectory
from moxy.outbound.upstream import Ground
from moxy.process.privileges import Identity
from moxy.process.tables import build_relay, build_tables


@dataclass(slots=True)
class Parts:
    """Everything that one event loop serves with."""

    service: Service
    directory: SmtpDirectory
    recorder: Recorder
    drain: float
    """Seconds that transactions under way may take when we stop."""


def assemble(
    config: schema.Config,
    listening: frozenset[tuple[str, int]],
    loop: asyncio.AbstractEventLoop,
    user: Identity | None = None,
) -> Parts:
    """Build it all. `listening` is where we do; `user` is who will own the files made here.

    Raises ConfigError for a route table, MoxyError for a log, that cannot be used.
    """
    times = config.timeouts
    tables = build_tables(config)
    sweeper = Sweeper()
    ground = Ground(
        hostname=config.hostname,
        sweeper=sweeper,
        loop=loop,
        hide=config.hide_destinations,
        listening=listening,
        connect=times.connect,
        connect_total=times.connect_total,
        reply=times.reply,
        data=times.data,
        final=times.final,
        idle=times.idle,
        prove=times.prove,
    )
    named = {name: _settings(config.connection_settings(name)) for name in config.destination}
    directory = SmtpDirectory(ground, _settings(config.delivery), named)
    recorder = Recorder(_sinks(config, loop, user))
    service = Service(
        hostname=config.hostname,
        routes=tables,
        directory=directory,
        recorder=recorder,
        sweeper=sweeper,
        banner=config.banner,
        patience=Patience(times.hello, times.command, times.block, times.content, times.minimum_rate),
        bounds=_bounds(config.limits),
        relay=build_relay(config).route_for,
        postmaster=config.postmaster,
    )
    sweeper.chores += [tables.refresh, directory.forget_unused]
    return Parts(service, directory, recorder, times.drain)


def _bounds(limits: schema.Limits) -> Bounds:
    return Bounds(**limits.model_dump())


def _settings(section: schema.Delivery) -> Settings:
    return Settings(**section.model_dump())


def _sinks(config: schema.Config, loop: asyncio.AbstractEventLoop, user: Identity | None) -> list[Sink]:
    return [_file_log(section, loop, user) for section in config.log.values() if isinstance(section, schema.FileLog)]


def _file_log(section: schema.FileLog, loop: asyncio.AbstractEventLoop, user: Identity | None) -> FileLog:
    """Open the log while we may; it then belongs to whom we become, who must be able to open it again."""
    existed = section.path.exists()
    try:
        log = FileLog(section.path, LineFormat(section.format, section.date_format), loop.call_later)
        if user is not None and not existed:
            os.fchown(log.descriptor, user.uid, user.gid)
    except OSError as error:
        raise MoxyError(f"cannot open the log {section.path}: {error.strerror}") from error
    return log

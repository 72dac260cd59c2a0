"""`moxy check`: is the configuration right, and are the tables, certificates and secrets right that it names? All that
is wrong is told at once.

Exit status: 0, Moxy can start with it; 1, it cannot.

Bugs: it does not ask the machine whether ports are to be had, nor whether the user that Moxy becomes may read the
tables; the start tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import click

from moxy.accounting.linereader import LineReader
from moxy.accounting.textformat import WORDS, unknown_words
from moxy.cli.certificates import certificate_lines, certificate_notes, certificate_problems
from moxy.cli.destinations import destination_problems, doubts
from moxy.cli.probing import probed
from moxy.config.kinds import Foreign
from moxy.config.load import find_config, load
from moxy.config.logs import DaemonLog, FileLog, LineLog, Log, NoLog, TotalsLog
from moxy.config.routes import DbmRoutes, NodbRoutes, Routes
from moxy.config.schema import Config
from moxy.errors import ConfigError, MoxyError, Problem
from moxy.gdbm import LibraryMissing
from moxy.gdbm.library import library
from moxy.process.privileges import identity, may_write
from moxy.process.tables import named_tables
from moxy.routes import RouteTable
from moxy.routes.dbm import DbmTable, entry_problems
from moxy.routes.file import FileTable
from moxy.routes.wording import nearest

_ENCRYPTED: Final = {"none": "", "starttls": ", STARTTLS", "implicit": ", TLS"}


@click.command("check")
@click.option("-c", "--config", "file", type=click.Path(path_type=Path), help="Configuration file to check.")
@click.option("--probe", is_flag=True, help="Ask the destinations which extensions they offer, too.")
@click.pass_context
def check(context: click.Context, file: Path | None, *, probe: bool) -> None:
    """Find every mistake in the configuration and its route tables."""
    try:
        path = file or find_config()
        config = load(path)
        tables = named_tables(config)
        problems = [*table_problems(config), *machine_problems(config, path)]
        problems += [*destination_problems(config, path), *certificate_problems(config, path)]
    except ConfigError as error:
        problems = error.problems
    if problems:
        for problem in problems:
            click.echo(str(problem), err=True)
        context.exit(1)
    click.echo(f"{path}: ok")
    for line in summary(config, tables):
        click.echo(f"  {line}")
    if probe:
        for line in probed(config):
            click.echo(f"  {line}")
    for line in notes(config, tables):
        click.echo(f"note: {line}")


def table_problems(config: Config) -> Iterator[Problem]:
    """Mistakes in tables that are not read as a whole when Moxy starts."""
    for section in config.routes.values():
        if isinstance(section, DbmRoutes):
            yield from entry_problems(section.path, section.mode, config.destination_routes())


def machine_problems(config: Config, path: Path) -> Iterator[Problem]:
    """What is right in itself, but not on this machine: a user or a directory that is not there."""
    if config.runas:
        try:
            identity(config.runas)
        except MoxyError as error:
            yield Problem(str(path), 0, "", str(error))
    for name, log in config.log.items():
        if isinstance(log, FileLog | TotalsLog) and not log.path.parent.is_dir():
            yield Problem(str(path), 0, f"log.{name}", f"there is no directory {log.path.parent}")
        if isinstance(log, TotalsLog):
            try:
                library()
            except LibraryMissing as error:
                yield Problem(str(path), 0, f"log.{name}", str(error))


def summary(config: Config, tables: Mapping[str, RouteTable]) -> Iterator[str]:
    """What the configuration amounts to, in a few lines."""
    yield f"host name {config.hostname}"
    for name, listener in config.listener.items():
        spoken = ", LMTP" if listener.protocol == "lmtp" else ""
        yield f"listener {name}: {_listed(listener.listen)}{spoken}{_ENCRYPTED[listener.tls]}"
        if listener.proxy_from:
            yield f"listener {name}: PROXY from {_listed(listener.proxy_from)}"
        if listener.xclient_from:
            yield f"listener {name}: XCLIENT from {_listed(listener.xclient_from)}"
    yield from certificate_lines(config)
    if config.workers > 1:
        yield f"workers: {config.workers}"
    for name, section in config.routes.items():
        yield f"routes {name}: {_source(section, tables[name])}"
    if not config.routes:
        yield "routes: none, mail from clients that may not relay is refused"
    if config.relay.allow_from:
        yield f"relay: from {_listed(config.relay.allow_from)} through {_listed(config.relay.send_to)}"
    else:
        yield "relay: for nobody"
    logs = [f"log {name}: {_place(log, config)}" for name, log in config.log.items() if not isinstance(log, NoLog)]
    yield from logs or ["log: none"]
    yield f"ledger: {_ledger(config)}"


def _source(section: Routes | Foreign, table: RouteTable) -> str:
    if isinstance(section, Foreign):
        return section.kind
    if isinstance(section, NodbRoutes):
        return f"everybody to {_listed(section.hosts)}"
    entries = len(table) if isinstance(table, FileTable | DbmTable) else 0
    return f"{section.kind} {section.path}, {entries:,} {'entry' if entries == 1 else 'entries'}"


def _place(log: Log | Foreign, config: Config) -> str:
    if isinstance(log, Foreign):
        return log.kind
    places = []
    if isinstance(log, DaemonLog):
        places.append(f"syslog at {config.syslog_socket}, facility {log.facility}")
    if isinstance(log, FileLog):
        places.append(f"lines in {log.path}")
    if isinstance(log, TotalsLog):
        places.append(f"totals in {log.path}")
    return "; ".join(places)


def _ledger(config: Config) -> str:
    hours = config.ledger.hours
    place = config.ledger.path or "systemd's StateDirectory, else in a temporary file"
    return f"{hours:,} {'hour' if hours == 1 else 'hours'} in {place}" if hours else "none"


def _listed(items: Iterable[object]) -> str:
    return ", ".join(str(item) for item in items)


def notes(config: Config, tables: Mapping[str, RouteTable]) -> Iterator[str]:
    """What is allowed, and is hardly what was wanted."""
    if "." not in config.hostname:
        yield f"the host name is `{config.hostname}`; senders expect a full one, such as `mx.example.org`"
    yield from _believed(config)
    for name, table in tables.items():
        if isinstance(table, FileTable | DbmTable) and not len(table):
            yield f"the table {name} is empty"
    for name, log in config.log.items():
        if isinstance(log, LineLog):
            yield from (f"log {name}: {text}" for text in _doubts(log))
    yield from doubts(config)
    yield from certificate_notes(config)
    if config.ledger.hours and config.ledger.path is not None:
        yield from _obstacles(config.ledger.path.parent, config.runas)


def _believed(config: Config) -> Iterator[str]:
    """Who may say who a client is (T27)."""
    for name, listener in config.listener.items():
        for key, patterns in (("proxy_from", listener.proxy_from), ("xclient_from", listener.xclient_from)):
            if any(pattern.everybody for pattern in patterns):
                yield f"listener {name}: by `{key}` anybody may say who he is, and relay as one who may"
    proxies = [pattern for listener in config.listener.values() for pattern in listener.proxy_from]
    for pattern in proxies:
        if pattern in config.relay.allow_from:
            yield f"the proxy {pattern} may relay itself; where it names no client, who comes through it may, too"


def _obstacles(directory: Path, runas: str) -> Iterator[str]:
    """Why there will be no ledger: mail goes on without."""
    if not directory.is_dir():
        yield f"ledger: there is no directory {directory}, so nothing is remembered"
    elif not may_write(directory, identity(runas) if runas else None):
        yield f"ledger: {runas or 'the user of Moxy'} may not write in {directory}, so nothing is remembered"


def _doubts(log: LineLog) -> Iterator[str]:
    """About the format of a line."""
    for word in unknown_words(log.format):
        yield f"the format has `%{word}`, which stays as it is{nearest(word, WORDS)}"
    try:
        LineReader(log.format, log.date_format)
    except ValueError as error:
        yield f"moxylogalyze will not be able to read it: {error}"

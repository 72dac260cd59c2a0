"""`moxy check`: is the configuration right, and the tables that it names? Everything wrong is told at once.

Exit status: 0, Moxy can start with it; 1, it cannot.

Bugs: it does not ask the machine whether ports are to be had, nor whether the user that Moxy becomes may read the
tables; the start tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from moxy.config.load import find_config, load
from moxy.config.schema import Config, FileLog, FileRoutes
from moxy.errors import ConfigError, MoxyError, Problem
from moxy.process.privileges import identity
from moxy.process.tables import named_tables


@click.command("check")
@click.option("-c", "--config", "file", type=click.Path(path_type=Path), help="Configuration file to check.")
@click.pass_context
def check(context: click.Context, file: Path | None) -> None:
    """Find every mistake in the configuration and its route tables."""
    try:
        path = file or find_config()
        config = load(path)
        named_tables(config)
        problems = list(machine_problems(config, path))
    except ConfigError as error:
        problems = error.problems
    if problems:
        for problem in problems:
            click.echo(str(problem), err=True)
        context.exit(1)
    click.echo(f"{path}: ok")
    for line in summary(config):
        click.echo(f"  {line}")


def machine_problems(config: Config, path: Path) -> Iterator[Problem]:
    """What is right in itself, but not on this machine: a user or a directory that is not there."""
    if config.runas:
        try:
            identity(config.runas)
        except MoxyError as error:
            yield Problem(str(path), 0, "", str(error))
    for name, log in config.log.items():
        if isinstance(log, FileLog) and not log.path.parent.is_dir():
            yield Problem(str(path), 0, f"log.{name}", f"there is no directory {log.path.parent}")


def summary(config: Config) -> Iterator[str]:
    """What the configuration amounts to, in a few lines."""
    yield f"host name {config.hostname}"
    for name, listener in config.listener.items():
        yield f"listener {name}: {_listed(listener.listen)}"
    for name, table in config.routes.items():
        source = f"file {table.path}" if isinstance(table, FileRoutes) else f"everybody to {_listed(table.hosts)}"
        yield f"routes {name}: {source}"
    if not config.routes:
        yield "routes: none, mail from clients that may not relay is refused"
    if config.relay.allow_from:
        yield f"relay: from {_listed(config.relay.allow_from)} through {_listed(config.relay.send_to)}"
    else:
        yield "relay: for nobody"
    logs = [f"log {name}: {log.path}" for name, log in config.log.items() if isinstance(log, FileLog)]
    yield from logs or ["log: none"]


def _listed(items: Iterable[object]) -> str:
    return ", ".join(str(item) for item in items)

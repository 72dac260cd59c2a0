"""From the configuration to the objects that say where mail goes: the route tables and the relay policy.

One place for it, so that `moxy lookup` asks exactly what the server asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moxy.config.kinds import Foreign
from moxy.config.routes import DbmRoutes, FileRoutes, Routes
from moxy.config.schema import Config
from moxy.errors import ConfigError, MoxyError, Problem
from moxy.mail.route import Route
from moxy.routes import RouteTable
from moxy.routes.chained import ChainedTable
from moxy.routes.dbm import DbmTable
from moxy.routes.file import FileTable
from moxy.routes.relay import RelayPolicy
from moxy.routes.static import StaticTable


def build_tables(config: Config) -> RouteTable:
    """All tables of the configuration as one. Raises ConfigError, with the mistakes of every table."""
    tables = list(named_tables(config).values())
    return tables[0] if len(tables) == 1 else ChainedTable(tables)


def named_tables(config: Config) -> dict[str, RouteTable]:
    """The tables by name, in the order in which they are asked. Raises ConfigError as `build_tables` does."""
    destinations = config.destination_routes()
    tables: dict[str, RouteTable] = {}
    problems: list[Problem] = []
    for name, section in config.routes.items():
        try:
            tables[name] = _table(section, destinations)
        except ConfigError as error:
            problems += error.problems
        except MoxyError as error:
            problems.append(Problem(f"[routes.{name}]", 0, "", str(error)))
    if problems:
        raise ConfigError(problems)
    return tables


def _table(section: Routes | Foreign, destinations: Mapping[str, Route]) -> RouteTable:
    if isinstance(section, Foreign):
        foreign: RouteTable = section.made()
        return foreign
    if isinstance(section, FileRoutes):
        return FileTable(section.path, section.mode, destinations)
    if isinstance(section, DbmRoutes):
        return DbmTable(section.path, section.mode, destinations)
    return StaticTable(section.route(destinations))


def listed_routes(config: Config, table: RouteTable) -> tuple[Route, ...]:
    """The routes that the configuration names, and those of tables that list them without effort."""
    named = list(config.destination_routes().values())
    if config.relay.route is not None:
        named.append(config.relay.route)
    return (*named, *_routes_of(table))


def _routes_of(table: RouteTable) -> Sequence[Route]:
    if isinstance(table, ChainedTable):
        return [route for one in table.tables for route in _routes_of(one)]
    if isinstance(table, FileTable):
        return table.routes
    return [table.route] if isinstance(table, StaticTable) else []


def build_relay(config: Config) -> RelayPolicy:
    """Who may send to domains that no table knows, and through which hosts."""
    return RelayPolicy(config.relay.allow_from, config.relay.route)

"""Several tables asked one after the other, as `routes = ["customers", "own"]` in the configuration says.

Rules: the first table that has a route wins, even with a less specific entry than a later one's: tables are ranked,
entries only within their table. A table that does not know stops the search, since what the others say could be the
wrong destination or a refusal for good (contract T49).
"""

from __future__ import annotations

from collections.abc import Sequence

from moxy.mail.route import Route
from moxy.routes import RouteTable
from moxy.smtp.address import ForwardPath


class ChainedTable:
    """The first of `tables` that knows. It implements `moxy.routes.RouteTable`."""

    __slots__ = ("tables",)

    def __init__(self, tables: Sequence[RouteTable]) -> None:
        self.tables = tuple(tables)

    async def lookup(self, path: ForwardPath) -> Route | None:
        """The first table's route for `path`; None if no table has one. Raises TemporaryFailure as the tables do."""
        for table in self.tables:
            route = await table.lookup(path)
            if route is not None:
                return route
        return None

    def refresh(self) -> None:
        """Refresh every table."""
        for table in self.tables:
            table.refresh()

    def close(self) -> None:
        """Close every table."""
        for table in self.tables:
            table.close()

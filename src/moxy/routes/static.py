"""A table with one answer for everybody: the original's `nodb`, for a Moxy that stands before one mail system."""

from __future__ import annotations

from moxy.mail.route import Route
from moxy.routes.order import ANY
from moxy.smtp.address import ForwardPath


class StaticTable:
    """Always `route`, whatever the forward-path. It implements `moxy.routes.RouteTable`."""

    __slots__ = ("route",)

    def __init__(self, route: Route) -> None:
        self.route = route

    async def lookup(self, path: ForwardPath) -> Route:  # noqa: ARG002 - every path has the same route
        """The route."""
        return self.route

    def match(self, path: ForwardPath) -> tuple[str, Route]:  # noqa: ARG002 - as above
        """The entry for `path`, as `FileTable.match` tells it: there is but one, for everybody."""
        return ANY, self.route

    def refresh(self) -> None:
        """Nothing can change."""

    def close(self) -> None:
        """Nothing is held."""

    def __str__(self) -> str:
        return "nodb"

"""The table with one answer for everybody."""

import asyncio

import pytest

from moxy.mail.route import Host, Route
from moxy.routes.static import StaticTable
from moxy.smtp.address import ForwardPath


@pytest.mark.parametrize("address", ["joe@example.org", "joe@[192.0.2.1]", "postmaster"])
def test_everybody_has_the_same_route(address):
    route = Route((Host("mail", 25),))
    table = StaticTable(route)
    path = ForwardPath.parse(address)
    assert asyncio.run(table.lookup(path)) is route
    assert table.match(path) == ("*", route)
    table.refresh()
    table.close()
    assert str(table) == "nodb"

"""The sending side from a configuration: which hosts are probed, and what is offered because of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from moxy.config.load import loads
from moxy.net.deadlines import Sweeper
from moxy.process.outbound import Outbound, build_outbound
from moxy.process.tables import build_tables
from support.destination import Destination, Phase, running_destination
from support.ports import LOOPBACK
from support.scenario import PATIENCE, scenario, until

WITH_DSN = "250-destination.test\r\n250-8BITMIME\r\n250 DSN"


def built(directory: Path, configuration: str) -> Outbound:
    config = loads(configuration, str(directory / "moxy.toml"), "toml")
    return build_outbound(config, build_tables(config), frozenset(), asyncio.get_running_loop(), Sweeper())


async def probe(outbound: Outbound, *destinations: Destination) -> None:
    """The first round, after which nothing is left open."""
    await outbound.prober.first_round(PATIENCE)
    outbound.prober.stop()
    outbound.directory.close()
    for destination in destinations:
        await until(lambda destination=destination: not destination.open, "the connection to end")


@scenario
async def test_every_host_that_can_be_listed_is_probed(tmp_path: Path) -> None:
    async with (
        running_destination() as named,
        running_destination() as everybody,
        running_destination() as relay,
        running_destination() as line,
    ):
        (tmp_path / "moxy.db").write_text(f"one.test {LOOPBACK}:{line.port}\ntwo.test alpha\n")
        outbound = built(
            tmp_path,
            f"""
            [destination.alpha]
            hosts = ["{named.address}"]
            [routes.lines]
            kind = "file"
            path = "moxy.db"
            [routes.others]
            kind = "nodb"
            hosts = ["{everybody.address}"]
            [relay]
            allow_from = ["10.*"]
            send_to = ["{relay.address}"]
            """,
        )
        await probe(outbound, named, everybody, relay, line)
        assert [len(place.talks) for place in (named, everybody, relay, line)] == [1, 1, 1, 1]


@pytest.mark.parametrize("key", ["probe = false", 'extensions = ["DSN"]'])
@scenario
async def test_nobody_is_probed_where_that_is_not_wanted_or_of_no_use(tmp_path: Path, key: str) -> None:
    async with running_destination() as destination:
        outbound = built(tmp_path, f'{key}\n[destination.alpha]\nhosts = ["{destination.address}"]')
        await probe(outbound)
        assert not destination.talks


@scenario
async def test_listed_extensions_are_offered_whatever_destinations_have(tmp_path: Path) -> None:
    outbound = built(tmp_path, 'extensions = ["dsn"]')
    assert outbound.profile.offered == {"DSN"}


@scenario
async def test_what_destinations_have_is_offered(tmp_path: Path) -> None:
    async with running_destination() as destination:
        destination.answers[Phase.EHLO] = WITH_DSN
        outbound = built(tmp_path, f'[destination.alpha]\nhosts = ["{destination.address}"]')
        await probe(outbound, destination)
        assert outbound.profile.offered == {"8BITMIME", "DSN"}

"""The composition root: what the configuration says reaches the parts it speaks of."""

from __future__ import annotations

import asyncio
import os

import pytest

from moxy.config.load import loads
from moxy.config.schema import Config
from moxy.errors import ConfigError
from moxy.inbound.service import Bounds, Patience
from moxy.mail import Host, Mode, Route, Session
from moxy.outbound.ground import Ground
from moxy.outbound.settings import Settings
from moxy.process.assembly import assemble
from moxy.smtp.address import ForwardPath

CONFIGURATION = """
hostname = "mx.moxy.test"
banner = "ESMTP at your service"
spread = "first"
postmaster = "help@moxy.test"
probe = false

[limits]
message_size = "1MB"
recipients = 200
transactions = 7
domains = 3

[timeouts]
command = "7m"
drain = "3s"

[destination.alpha]
hosts = ["127.0.0.1:2501", "127.0.0.1:2502"]
mode = "failover"
lease = "session"
protocol = "lmtp"
best_effort = ["127.0.0.1:2503"]

[routes.table]
kind = "file"
path = "moxy.db"

[relay]
allow_from = ["10.*"]
send_to = ["127.0.0.1:2599"]

[log.mail]
kind = "filelog"
path = "moxy.log"

[log.none]
kind = "nolog"
"""


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def assembled(directory, loop, configuration=CONFIGURATION, table="one.test alpha\n"):
    (directory / "moxy.db").write_text(table)
    config = loads(configuration, str(directory / "moxy.toml"), "toml")
    return assemble(config, frozenset({("127.0.0.1", 2525)}), loop)


def found(loop, parts, address):
    return loop.run_until_complete(parts.service.routes.lookup(ForwardPath.parse(address)))


def test_the_settings_of_the_listener_are_the_configured_ones(directory, loop):
    parts = assembled(directory, loop)
    service = parts.service
    assert (service.hostname, service.banner, service.postmaster) == (
        "mx.moxy.test",
        "ESMTP at your service",
        "help@moxy.test",
    )
    bounds = service.bounds
    assert (bounds.message_size, bounds.recipients, bounds.transactions, bounds.domains) == (10**6, 200, 7, 3)
    assert service.offer(Session("id", "192.0.2.1"))[1].lines[-1] == "LIMITS RCPTMAX=200 MAILMAX=7 RCPTDOMAINMAX=3"
    assert service.spread_first
    assert service.patience.command == 420
    assert parts.drain == 3
    parts.recorder.close()


def test_routes_and_relay_are_asked_as_configured(directory, loop):
    parts = assembled(directory, loop)
    hosts, copies = (Host("127.0.0.1", 2501), Host("127.0.0.1", 2502)), (Host("127.0.0.1", 2503),)
    alpha = Route(hosts, Mode.FAILOVER, "alpha", copies)
    assert found(loop, parts, "bob@one.test") == alpha
    assert found(loop, parts, "bob@two.test") is None
    assert parts.service.relay("10.1.2.3") == Route((Host("127.0.0.1", 2599),), Mode.FAILOVER)
    assert parts.service.relay("192.0.2.1") is None
    parts.recorder.close()


def test_a_destination_has_the_settings_of_its_section(directory, loop):
    parts = assembled(directory, loop)
    route = found(loop, parts, "bob@one.test")
    (destination,) = parts.directory.destinations(route)
    assert destination.settings.lease == "session"
    assert destination.individual
    (copy,) = parts.directory.copies(route)
    assert copy.settings == destination.settings
    (relay,) = parts.directory.destinations(parts.service.relay("10.1.2.3"))
    assert relay.settings.lease == "transaction"
    assert not relay.individual
    parts.recorder.close()


def test_a_changed_table_is_noticed_by_the_next_sweep(directory, loop):
    parts = assembled(directory, loop)
    table = directory / "moxy.db"
    table.write_text("one.test alpha\ntwo.test alpha\n")
    os.utime(table, (1, 1))  # a file that was changed this very moment is left to rest first
    parts.service.sweeper.sweep(loop.time())
    assert found(loop, parts, "bob@two.test") is not None
    parts.recorder.close()


def test_a_table_that_cannot_be_used_is_told(directory, loop):
    with pytest.raises(ConfigError, match=r"moxy\.db:1: "):
        assembled(directory, loop, table="one.test\n")


def test_each_of_several_workers_has_its_part_of_the_bounds(directory, loop):
    parts = assembled(directory, loop, f"workers = 3\n{CONFIGURATION.replace('recipients = 200', 'sessions = 10')}")
    (destination,) = parts.directory.destinations(found(loop, parts, "bob@one.test"))
    assert parts.service.bounds.sessions == 3
    assert destination.settings.connections == 13
    parts.recorder.close()


def test_what_is_not_configured_is_as_each_part_has_it_of_its_own(loop):
    """Defaults stand in the schema for the operator and at each part for who builds it alone: they must agree."""
    parts = assemble(Config(hostname="mx.moxy.test"), frozenset(), loop)
    service, outbound = parts.service, parts.directory
    assert (service.patience, service.bounds) == (Patience(), Bounds())
    encryption = outbound._defaults.encryption
    assert outbound._defaults == Settings(encryption=encryption)
    assert encryption.optional
    assert outbound._ground == Ground("mx.moxy.test", service.sweeper, loop)

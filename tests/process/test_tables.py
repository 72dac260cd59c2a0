"""From the configuration to route tables and relay policy."""

import asyncio

import pytest

from moxy.config.load import loads
from moxy.errors import ConfigError
from moxy.mail.route import Host, Mode
from moxy.process.tables import build_relay, build_tables, named_tables
from moxy.routes.chained import ChainedTable
from moxy.smtp.address import ForwardPath

ALPHA = '[destination.alpha]\nhosts = ["alpha:2525"]\nmode = "failover"\n'


def configured(tmp_path, toml):
    return loads(toml, str(tmp_path / "moxy.toml"), "toml")


def ask(config, address):
    return asyncio.run(build_tables(config).lookup(ForwardPath.parse(address)))


def test_without_tables_no_domain_is_known(tmp_path):
    assert ask(configured(tmp_path, ""), "joe@example.org") is None


def test_nodb_sends_everybody_to_its_hosts(tmp_path):
    route = ask(configured(tmp_path, '[routes.all]\nkind = "nodb"\nhosts = ["a:1", "b:2"]\n'), "joe@example.org")
    assert (route.hosts, route.mode, route.settings) == ((Host("a", 1), Host("b", 2)), Mode.ALL, "")


def test_a_table_s_line_may_name_a_destination(tmp_path):
    (tmp_path / "moxy.db").write_text("a.org alpha\nb.org m:25\n")
    config = configured(tmp_path, ALPHA + '[routes.db]\nkind = "file"\npath = "moxy.db"\nmode = "balance"\n')
    route = ask(config, "joe@a.org")
    assert (route.hosts, route.mode, route.settings) == ((Host("alpha", 2525),), Mode.FAILOVER, "alpha")
    assert ask(config, "joe@b.org").mode is Mode.BALANCE
    assert ask(config, "joe@c.org") is None


def test_tables_are_asked_in_the_order_of_the_configuration(tmp_path):
    (tmp_path / "moxy.db").write_text("a.org m:25\n")
    config = configured(
        tmp_path,
        ALPHA + '[routes.z]\nkind = "file"\npath = "moxy.db"\n[routes.a]\nkind = "nodb"\nhosts = ["alpha"]\n',
    )
    assert isinstance(build_tables(config), ChainedTable)
    assert list(named_tables(config)) == ["z", "a"]
    assert ask(config, "joe@a.org").hosts == (Host("m"),)
    assert ask(config, "joe@b.org").settings == "alpha"


def test_the_mistakes_of_all_tables_are_told_at_once(tmp_path):
    (tmp_path / "one.db").write_text("a.org\n")
    config = configured(
        tmp_path, '[routes.one]\nkind = "file"\npath = "one.db"\n[routes.two]\nkind = "file"\npath = "two.db"\n'
    )
    with pytest.raises(ConfigError) as caught:
        build_tables(config)
    assert [problem.file for problem in caught.value.problems] == [str(tmp_path / "one.db"), str(tmp_path / "two.db")]


def test_listed_clients_relay_through_the_hosts_in_order(tmp_path):
    relay = build_relay(configured(tmp_path, '[relay]\nallow_from = ["10.*"]\nsend_to = ["out:25", "b:26"]\n'))
    route = relay.route_for("10.1.2.3")
    assert (route.hosts, route.mode) == ((Host("out"), Host("b", 26)), Mode.FAILOVER)
    assert relay.route_for("192.0.2.1") is None


def test_without_the_section_nobody_relays(tmp_path):
    assert build_relay(configured(tmp_path, "")).route_for("127.0.0.1") is None

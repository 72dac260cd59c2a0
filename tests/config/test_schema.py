"""The schema: its defaults, and what its sections say together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from moxy.config.routes import NodbRoutes, Relay
from moxy.config.schema import Config, Delivery, Destination, Listener
from moxy.config.types import Surroundings
from moxy.mail import Host, Mode, Route


def config(**sections: Any) -> Config:
    destinations = frozenset(sections.get("destination", {}))
    return Config.model_validate(sections, context=Surroundings(Path("/etc/moxy"), destinations))


def test_the_defaults_are_those_of_the_contract() -> None:
    defaults = Config()
    assert [str(endpoint) for endpoint in defaults.listener["mx"].listen] == ["0.0.0.0:25", "[::]:25"]
    assert defaults.delivery.model_dump() == {
        "protocol": "smtp",
        "lease": "transaction",
        "connections": 40,
        "transactions": 100,
        "eight_bit": "refuse",
        "chunking": "as-received",
        "identity": "header",
        "tls": "opportunistic",
        "tls_implicit": False,
        "tls_ca": None,
        "tls_name": "",
        "tls_fingerprints": (),
        "tls_certificate": "",
        "auth_user": "",
        "auth_secret": None,
        "auth_mechanisms": ("SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"),
        "auth_in_clear": False,
    }
    assert defaults.listener["mx"].proxy_from == defaults.listener["mx"].xclient_from == ()
    assert (defaults.listener["mx"].protocol, defaults.listener["mx"].socket_mode) == ("smtp", 0o660)
    assert defaults.spread == "fan-out"
    assert defaults.hide_destinations
    assert defaults.banner == "ESMTP Moxy"


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().banner = "mine"  # type: ignore[misc]


def test_a_destination_has_the_settings_of_delivery_but_its_own() -> None:
    loaded = config(
        delivery={"connections": 5, "lease": "session"},
        destination={
            "alpha": {"hosts": ["a.example"], "connections": 7, "eight_bit": "pass"},
            "beta": {"hosts": ["b"]},
        },
    )
    assert loaded.connection_settings("alpha") == Delivery(connections=7, lease="session", eight_bit="pass")
    assert loaded.connection_settings("beta") == loaded.connection_settings("") == loaded.delivery
    with pytest.raises(KeyError):
        loaded.connection_settings("gamma")


def test_a_destination_becomes_a_route_that_names_its_settings() -> None:
    loaded = config(destination={"alpha": {"hosts": ["a.example:25*2", "b.example"], "mode": "balance"}})
    route = Route((Host("a.example", 25, 2), Host("b.example")), Mode.BALANCE, "alpha")
    assert loaded.destination_routes() == {"alpha": route}


def test_a_destination_tells_its_route_who_gets_a_copy_besides() -> None:
    loaded = config(destination={"alpha": {"hosts": ["a.example"], "best_effort": ["b.example", "unix:/run/c"]}})
    copies = (Host("b.example"), Host("/run/c", 0))
    assert loaded.destination_routes() == {"alpha": Route((Host("a.example"),), Mode.ALL, "alpha", copies)}


@pytest.mark.parametrize(
    "sections",
    [
        {"destination": {"alpha": {"hosts": ["a:24", "unix:/run/b"], "protocol": "lmtp"}}},
        {"delivery": {"protocol": "lmtp"}, "destination": {"alpha": {"hosts": ["a"], "protocol": "smtp"}}},
        {"delivery": {"protocol": "lmtp"}, "routes": {"all": {"kind": "nodb", "hosts": ["unix:/run/b"]}}},
        {"destination": {"alpha": {"hosts": ["unix:/run/b"], "protocol": "smtp"}}},
    ],
)
def test_lmtp_is_spoken_anywhere_but_on_port_25(sections: dict[str, Any]) -> None:
    config(**sections)


def test_a_table_for_everybody_names_hosts_or_one_destination() -> None:
    loaded = config(
        destination={"alpha": {"hosts": ["a.example"], "mode": "failover"}},
        routes={
            "named": {"kind": "nodb", "hosts": ["alpha"], "mode": "all"},
            "listed": {"kind": "nodb", "hosts": ["b.example", "c.example"], "mode": "failover"},
        },
    )
    destinations = loaded.destination_routes()
    named, listed = loaded.routes.values()
    assert isinstance(named, NodbRoutes)
    assert isinstance(listed, NodbRoutes)
    assert named.route(destinations) is destinations["alpha"]
    assert listed.route(destinations) == Route((Host("b.example"), Host("c.example")), Mode.FAILOVER)


def test_tables_stay_in_the_order_of_the_file() -> None:
    tables = {name: {"kind": "file", "path": name} for name in ("zeta", "alpha", "mu")}
    assert list(config(routes=tables).routes) == ["zeta", "alpha", "mu"]


def test_relayed_mail_goes_to_the_first_host_that_answers() -> None:
    relay = config(relay={"allow_from": ["10.*"], "send_to": ["a.example", "b.example:2525"]}).relay
    assert relay.route == Route((Host("a.example"), Host("b.example", 2525)), Mode.FAILOVER)
    assert Relay().route is None


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        ({"relay": {"allow_from": ["10.*"]}}, ("send_to",)),
        ({"relay": {"send_to": ["a.example"]}}, ("allow_from",)),
        ({"destination": {"alpha": {"hosts": ["a", "b*2"], "mode": "failover"}}}, ("hosts", 1)),
        ({"routes": {"all": {"kind": "nodb", "hosts": ["a:25*2"]}}}, ("hosts", 0)),
        (
            {
                "destination": {"alpha": {"hosts": ["a"]}},
                "routes": {"all": {"kind": "nodb", "hosts": ["b:25", "alpha"]}},
            },
            ("hosts", 1),
        ),
        ({"destination": {"alpha": {"hosts": ["a", "B:26"], "best_effort": ["c", "b:26"]}}}, ("best_effort", 1)),
        ({"destination": {"alpha": {"hosts": ["unix:/a"], "best_effort": ["unix://a"]}}}, ("best_effort", 0)),
        (
            {"destination": {"alpha": {"hosts": ["a"], "mode": "balance", "best_effort": ["b:25*2"]}}},
            ("best_effort", 0),
        ),
        (
            {"destination": {"alpha": {"hosts": ["a:24", "b"], "protocol": "lmtp"}}},
            ("destination", "alpha", "hosts", 1),
        ),
        (
            {"destination": {"alpha": {"hosts": ["a:24"], "protocol": "lmtp", "best_effort": ["b"]}}},
            ("destination", "alpha", "best_effort", 0),
        ),
        (
            {"delivery": {"protocol": "lmtp"}, "destination": {"alpha": {"hosts": ["a"]}}},
            ("destination", "alpha", "hosts", 0),
        ),
        (
            {"delivery": {"protocol": "lmtp"}, "routes": {"all": {"kind": "nodb", "hosts": ["a:24", "b"]}}},
            ("routes", "all", "hosts", 1),
        ),
        (
            {"delivery": {"protocol": "lmtp"}, "relay": {"allow_from": ["10.*"], "send_to": ["a"]}},
            ("relay", "send_to", 0),
        ),
        ({"listener": {"a": {"listen": ["*:25"]}, "b": {"listen": ["*:26", "*:25"]}}}, ("b", "listen", 1)),
        ({"listener": {"a": {"listen": ["unix:/a"]}, "b": {"listen": ["unix:/a"]}}}, ("b", "listen", 0)),
        ({"listener": {"a": {"listen": ["*:24", "*:25"], "protocol": "lmtp"}}}, ("listen", 1)),
        ({"listener": {"a": {"protocol": "lmtp"}}}, ("listen", 0)),
    ],
)
def test_contradictions_are_blamed_on_a_key(sections: dict[str, Any], path: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        config(**sections)
    (error,) = caught.value.errors()
    assert error["type"] == "contradiction"
    assert error["ctx"]["path"] == path


def test_port_zero_may_come_again() -> None:
    assert len(config(listener={"a": {"listen": ["*:0"]}, "b": {"listen": ["*:0"]}}).listener) == 2


@pytest.mark.parametrize(
    "section",
    [
        {"spread": "all"},
        {"listener": {"a": {"socket_mode": "rw-"}}},
        {"listener": {}},
        {"banner": "ü"},
        {"banner": "x" * 201},
        {"runas": "a:b:c"},
        {"runas": "a b"},
    ],
)
def test_what_cannot_be_used_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**section)


def test_a_banner_is_any_printable_text() -> None:
    assert config(banner="Welcome {you} ~").banner == "Welcome {you} ~"


@pytest.mark.parametrize("runas", ["", "nobody", "65534", "moxy:mail", "1000:1000", "user@domain.example"])
def test_users_and_groups(runas: str) -> None:
    assert config(runas=runas).runas == runas


def test_sections_can_be_built_in_python() -> None:
    assert Destination(hosts=(Host("a"),)).mode is Mode.ALL
    assert Config(listener={"mx": Listener()}) == Config()

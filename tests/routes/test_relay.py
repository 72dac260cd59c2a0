"""Who may send to domains that no table knows."""

import pytest

from moxy.mail.client import ClientPattern
from moxy.mail.route import Host, Mode, Route
from moxy.routes import relay
from moxy.routes.relay import RelayPolicy

OUT = Route((Host("out", 25),), Mode.FAILOVER)


def policy(*patterns, route=OUT):
    return RelayPolicy([ClientPattern.parse(pattern) for pattern in patterns], route)


@pytest.mark.parametrize(
    ("client", "route"),
    [("127.0.0.1", OUT), ("192.168.7.9", OUT), ("2001:db8::9", OUT), ("192.169.7.9", None), ("::1", None), ("", None)],
)
def test_only_listed_clients_may_relay(client, route):
    asked = policy("127.0.0.1", "192.168.*.*", "2001:db8::/32")
    assert [asked.route_for(client) for _ in range(2)] == [route, route]


def test_without_clients_or_without_a_route_nobody_may():
    assert policy().route_for("127.0.0.1") is None
    assert policy("127.0.0.1", route=None).route_for("127.0.0.1") is None


class Counting:
    """A pattern that matches everybody, and counts how often it is asked."""

    asked = 0

    def matches(self, ip):
        self.asked += 1
        return True


def test_a_client_is_looked_up_once_and_few_are_remembered(monkeypatch):
    monkeypatch.setattr(relay, "REMEMBERED_CLIENTS", 2)
    pattern = Counting()
    asked = RelayPolicy([pattern], OUT)
    for client in ("a", "a", "b", "b", "c", "c", "a"):
        assert asked.route_for(client) is OUT
    assert pattern.asked == 4
    assert len(asked._answers) <= 2

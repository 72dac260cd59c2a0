"""Route and Host: where a recipient goes."""

from __future__ import annotations

import pytest

from moxy.mail import Host, Mode, Route

A, B = Host("a.test"), Host("b.test", 2525)


@pytest.mark.parametrize(
    ("host", "text"),
    [
        (Host("mail.test"), "mail.test:25"),
        (Host("mail.test", 2525), "mail.test:2525"),
        (Host("192.0.2.1"), "192.0.2.1:25"),
        (Host("2001:db8::1", 26), "[2001:db8::1]:26"),
    ],
)
def test_a_host_is_shown_as_people_write_it(host: Host, text: str) -> None:
    assert str(host) == text


def test_a_route_without_hosts_is_none() -> None:
    with pytest.raises(ValueError, match="at least one host"):
        Route(())


def test_equal_routes_are_one_destination() -> None:
    assert Route((A, B)) == Route((A, B))
    assert len({Route((A, B)), Route((A, B))}) == 1


@pytest.mark.parametrize(
    "other",
    [
        Route((B, A)),
        Route((A,)),
        Route((A, B), Mode.FAILOVER),
        Route((A, B), settings="named"),
        Route((A, Host("b.test", 2525, weight=2))),
        Route((A, Host("b.test", 2526))),
        Route((A, B), best_effort=(Host("c.test"),)),
        Route((A,), best_effort=(B,)),
    ],
    ids=repr,
)
def test_whatever_differs_makes_another_route(other: Route) -> None:
    assert other != Route((A, B))
    assert other.key != Route((A, B)).key


def test_a_route_is_no_text() -> None:
    assert Route((A,)) != Route((A,)).key

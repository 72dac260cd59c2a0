"""Who a client is, by its connection and by what a proxy says."""

from __future__ import annotations

import pytest

from moxy.inbound.arrival import arrived, heed_header, heed_xclient
from moxy.mail import Session
from moxy.smtp.proxyheader import ClientTls, ProxyHeader


class Ends:
    """A transport that has a name at both ends."""

    def __init__(self, peer: object, own: object) -> None:
        self._names = {"peername": peer, "sockname": own}

    def get_extra_info(self, name: str) -> object:
        return self._names[name]


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        (("192.0.2.1", 1025), ("192.0.2.1", 1025)),
        (("2001:db8::1", 1025, 0, 0), ("2001:db8::1", 1025)),
        (("::ffff:192.0.2.1", 1025, 0, 0), ("192.0.2.1", 1025)),
        (("fe80::1%eth0", 1025, 0, 2), ("fe80::1", 1025)),
        ("", ("", 0)),
        (None, ("", 0)),
    ],
)
def test_a_session_has_both_ends_of_its_connection(peer: object, client: tuple[str, int]) -> None:
    session = arrived("id", Ends(peer, peer), lmtp=True)  # type: ignore[arg-type]
    assert (session.client, session.client_port) == session.server() == client
    assert session.lmtp


def session() -> Session:
    known = Session("id", "192.0.2.99", 99)
    known.server = lambda: ("192.0.2.98", 98)
    known.hello = "proxy.test"
    return known


def test_the_client_of_a_header_is_taken_over() -> None:
    known = session()
    heed_header(known, ProxyHeader("::ffff:c000:201", 1, "2001:db8::2", 25, tls=ClientTls("TLSv1.3")))
    assert (known.client, known.client_port) == ("192.0.2.1", 1)
    assert known.server() == ("2001:db8::2", 25)
    assert known.tls


def test_a_client_on_a_socket_of_the_proxys_machine_has_no_address() -> None:
    known = session()
    heed_header(known, ProxyHeader("/run/client", 0, "/run/proxy", 0))
    assert (known.client, known.client_port) == ("", 0)


@pytest.mark.parametrize("header", [ProxyHeader(), ProxyHeader(local=True)])
def test_where_a_header_names_nobody_the_proxy_is_the_client(header: ProxyHeader) -> None:
    known = session()
    heed_header(known, header)
    assert (known.client, known.client_port, known.server(), known.tls) == ("192.0.2.99", 99, ("192.0.2.98", 98), False)


def test_attributes_are_taken_over_also_if_they_come_one_after_the_other() -> None:
    attributes = {"PORT": "1", "HELO": "client.test", "LOGIN": "ann", "ADDR": "192.0.2.1", "DESTADDR": "192.0.2.2"}
    together, apart = session(), session()
    heed_xclient(together, attributes)
    for name, value in attributes.items():
        heed_xclient(apart, {name: value})
    for known in (together, apart):
        assert (known.client, known.client_port, *known.server()) == ("192.0.2.1", 1, "192.0.2.2", 0)
        assert known.hello == "client.test"
        assert known.told["LOGIN"] == "ann"


def test_what_is_not_available_is_unknown_and_a_name_must_be_one() -> None:
    known = session()
    heed_xclient(known, {"ADDR": "", "HELO": "no name"})
    assert (known.client, known.client_port, known.hello) == ("", 0, "")

"""Which clients a pattern means."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.mail.client import ClientPattern, any_matches, plain


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.2.2", "2001:db8::1", "::c000:201"]),
        ("2001:db8::1", ["2001:db8::1", "2001:0db8:0::1"], ["2001:db8::2", "192.0.2.1"]),
        ("192.168.*.*", ["192.168.0.0", "192.168.255.255", "::ffff:192.168.3.4"], ["192.169.0.0", "10.168.0.0"]),
        ("10.*", ["10.0.0.0", "10.255.255.255"], ["11.0.0.0"]),
        ("10.1.*", ["10.1.0.7", "10.1.255.0"], ["10.2.0.7"]),
        ("10.*.3.*", ["10.0.3.9", "10.200.3.0"], ["10.0.4.9", "11.0.3.9"]),
        ("*.0.0.1", ["10.0.0.1", "127.0.0.1"], ["10.0.0.2"]),
        ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255"], ["192.0.3.0"]),
        ("0.0.0.0/0", ["192.0.2.1", "::ffff:192.0.2.1"], ["2001:db8::1"]),
        ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff::1"], ["2001:db9::", "192.0.2.1"]),
        ("::/0", ["2001:db8::1", "::1"], ["192.0.2.1", "::ffff:192.0.2.1"]),
        ("::ffff:192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.2.2", "::192.0.2.1"]),
        ("::ffff:10.0.0.0/104", ["10.255.0.1"], ["11.0.0.1"]),
    ],
)
def test_a_pattern_matches_its_own_clients_and_no_others(pattern: str, inside: list[str], outside: list[str]) -> None:
    parsed = ClientPattern.parse(pattern)
    assert [client for client in inside if not parsed.matches(client)] == []
    assert [client for client in outside if parsed.matches(client)] == []


@pytest.mark.parametrize("client", ["", "localhost", "192.0.2", "192.0.2.1:25", "[::1]", "/run/socket", "::1%"])
def test_what_is_no_address_is_never_meant(client: str) -> None:
    assert not ClientPattern.parse("0.0.0.0/0").matches(client)
    assert not ClientPattern.parse("::/0").matches(client)


@pytest.mark.parametrize(
    "text",
    [
        *("", "localhost", "192.0.2", "192.0.2.256", "300.*", "1.2.3.4.*", "1.2.3.4.5.*", "10.0*.0.1", "*.", ".*"),
        *("010.*", "١.*", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/x", "2001:*", "1.2.3.4/*", "10.*,11.*", "10.*.3"),
    ],
)
def test_what_is_no_pattern_is_refused_with_the_legal_spellings(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected an address .*, a network .* or octets with `\*`"):
        ClientPattern.parse(text)


@pytest.mark.parametrize("text", ["*", "*.*", "*.*.*.*"])
def test_an_open_relay_is_not_made_by_an_asterisk(text: str) -> None:
    with pytest.raises(ValueError, match="every client"):
        ClientPattern.parse(text)


@pytest.mark.parametrize(("text", "better"), [("10.1.2.3/8", "10.0.0.0/8"), ("2001:db8::1/32", "2001:db8::/32")])
def test_a_network_with_host_bits_is_refused_with_the_network_it_must_mean(text: str, better: str) -> None:
    with pytest.raises(ValueError, match=better):
        ClientPattern.parse(text)


def test_a_pattern_shows_itself_as_written_and_equals_other_spellings() -> None:
    assert str(ClientPattern.parse("10.*")) == "10.*"
    assert ClientPattern.parse("10.*") == ClientPattern.parse("10.0.0.0/8") == ClientPattern.parse("10.*.*.*")
    assert len({ClientPattern.parse("::1"), ClientPattern.parse("0::1/128")}) == 1


def test_one_of_several_patterns_is_enough() -> None:
    patterns = [ClientPattern.parse(text) for text in ("10.*", "2001:db8::/32")]
    assert any_matches(patterns, "10.1.2.3")
    assert any_matches(patterns, "2001:db8::1")
    assert not any_matches(patterns, "192.0.2.1")
    assert not any_matches((), "10.1.2.3")


def test_a_pattern_knows_whether_it_means_everybody() -> None:
    assert [ClientPattern.parse(text).everybody for text in ("0.0.0.0/0", "::/0", "10.*")] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", ""),
        ("/run/socket", ""),
    ],
)
def test_an_address_has_one_spelling(text: str, address: str) -> None:
    assert plain(text) == address


@given(st.text())
def test_any_text_is_a_pattern_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        ClientPattern.parse(text)


@given(st.data(), st.sampled_from([4, 6]))
def test_networks_agree_with_the_standard_library(data: st.DataObject, version: int) -> None:
    address = data.draw(st.ip_addresses(v=version))
    network = ip_network(f"{address}/{data.draw(st.integers(0, address.max_prefixlen))}", strict=False)
    for client in (data.draw(st.ip_addresses()), network.network_address, network.broadcast_address):
        # IPv4-mapped addresses are IPv4 to us and IPv6 to the library: the table above is about them.
        if not is_mapped(client) and not is_mapped(network.network_address):
            assert ClientPattern.parse(str(network)).matches(str(client)) == (client in network)


def is_mapped(address: IPv4Address | IPv6Address) -> bool:
    return isinstance(address, IPv6Address) and address.ipv4_mapped is not None

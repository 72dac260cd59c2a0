"""The PROXY protocol: what was written reads back the same, at every cut, and nothing else is believed (T27)."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moxy.smtp.proxyheader import LIMIT, SIGNATURE, V1_LIMIT, ClientTls, ProxyHeader, ProxyHeaderError, read, write

PORTS = st.integers(0, 0xFFFF)
V4 = st.ip_addresses(v=4).map(str)
V6 = st.ip_addresses(v=6).map(str)
PATHS = st.text("abc/.", min_size=1, max_size=80).map(lambda text: f"/{text}")
TEXTS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=60)

CLIENTS = st.one_of(
    st.builds(ProxyHeader, V4, PORTS, V4, PORTS),
    st.builds(ProxyHeader, V6, PORTS, V6, PORTS),
)
TLS = st.none() | st.builds(ClientTls, TEXTS, TEXTS, TEXTS, st.booleans())
RICH = st.one_of(
    st.builds(ProxyHeader, V4, PORTS, V4, PORTS, st.just(False), TLS, TEXTS),
    st.builds(ProxyHeader, V6, PORTS, V6, PORTS, st.just(False), TLS, TEXTS),
    st.builds(ProxyHeader, PATHS, st.just(0), PATHS, st.just(0), st.just(False), TLS, TEXTS),
    st.builds(ProxyHeader, tls=TLS, authority=TEXTS),
    st.just(ProxyHeader(local=True)),
)


@given(header=CLIENTS | st.just(ProxyHeader()))
def test_version_1_reads_back_the_same_and_is_never_too_long(header):
    octets = write(header, 1)
    assert len(octets) <= V1_LIMIT
    assert read(octets) == (header, len(octets))


@given(header=RICH)
def test_version_2_reads_back_the_same(header):
    octets = write(header, 2)
    assert read(octets) == (header, len(octets))


@settings(deadline=None)
@given(header=RICH, version=st.sampled_from([1, 2]), behind=st.binary(max_size=30))
def test_cutting_the_stream_anywhere_changes_nothing(header, version, behind):
    octets = write(header, version)
    for cut in range(len(octets)):
        assert read(octets[:cut]) is None
    whole = read(octets)
    assert whole is not None
    assert read(octets + behind) == whole


@given(octets=st.binary(max_size=200))
def test_no_octets_are_too_strange(octets):
    for start in (b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11", SIGNATURE + b"\x21\x21\x00\x40"):
        try:
            found = read(start + octets)
        except ProxyHeaderError:
            continue
        assert found is None or 0 < found[1] <= len(start + octets)


@given(header=RICH, data=st.data())
def test_a_damaged_header_is_refused_or_read_but_nothing_else_happens(header, data):
    octets = bytearray(write(header, 2))
    place = data.draw(st.integers(0, len(octets) - 1))
    octets[place] = data.draw(st.integers(0, 255))
    try:
        read(bytes(octets))
    except ProxyHeaderError:
        return


def test_version_1_as_the_specification_shows_it():
    line = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n"
    header = ProxyHeader("192.0.2.1", 56324, "198.51.100.2", 25)
    assert read(line + b"EHLO a\r\n") == (header, len(line))
    assert write(header, 1) == line
    assert read(b"PROXY UNKNOWN ffff::1 ::2 1 2\r\nx") == (ProxyHeader(), 31)


WRONG_LINES = [
    b"EHLO client.test\r\n",
    b"PROXY\r\n",
    b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
    b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
    b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
    b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
    b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
    b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n",
    b"PROXY TCP4 192.0.2.\xe9 192.0.2.2 1 2\r\n",
    b"PROXY TCP4 " + b"1" * V1_LIMIT,
    b"PROXY UNKNOWN " + b"x" * V1_LIMIT + b"\r\n",
]


@pytest.mark.parametrize("line", WRONG_LINES)
def test_a_wrong_line_is_refused(line):
    with pytest.raises(ProxyHeaderError):
        read(line)


def test_what_cannot_become_a_header_is_refused_at_its_first_wrong_octet():
    with pytest.raises(ProxyHeaderError):
        read(b"E")
    with pytest.raises(ProxyHeaderError):
        read(b"\r\n\r\n\x00\r\nQUIT\r")


def v2(command: int, family: int, rest: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest) if length is None else length) + rest


ADDRESSES = IPv4Address("192.0.2.1").packed + IPv4Address("192.0.2.2").packed + struct.pack("!HH", 1, 2)

WRONG_HEADERS = [
    v2(0x11, 0x11, ADDRESSES),
    v2(0x22, 0x11, ADDRESSES),
    v2(0x21, 0x12, ADDRESSES),
    v2(0x21, 0x41, ADDRESSES),
    v2(0x21, 0x11, ADDRESSES[:-1]),
    v2(0x21, 0x21, ADDRESSES),
    v2(0x21, 0x11, b"", LIMIT),
    v2(0x21, 0x11, ADDRESSES + b"\x20"),
    v2(0x21, 0x11, ADDRESSES + b"\x20\x00\x01"),
    v2(0x21, 0x11, ADDRESSES + b"\x20\x00\x01\x01"),
    v2(0x21, 0x11, ADDRESSES + b"\x20\x00\x07\x01\x00\x00\x00\x00\x21\x00"),
]


@pytest.mark.parametrize("octets", WRONG_HEADERS)
def test_a_wrong_header_is_refused(octets):
    with pytest.raises(ProxyHeaderError):
        read(octets)


def test_what_is_unknown_inside_a_header_is_passed_over():
    tlvs = b"\x04\x00\x03\x00\x00\x00" + b"\xee\x00\x01x" + b"\x02\x00\x07mx.test"
    octets = v2(0x21, 0x11, ADDRESSES + tlvs)
    assert read(octets) == (ProxyHeader("192.0.2.1", 1, "192.0.2.2", 2, authority="mx.test"), len(octets))


def test_a_proxy_that_speaks_for_itself_names_nobody():
    octets = v2(0x20, 0x11, ADDRESSES)
    assert read(octets) == (ProxyHeader(local=True), len(octets))


def test_a_socket_without_a_path_is_nobody():
    octets = v2(0x21, 0x31, b"\0abstract".ljust(108, b"\0") + b"/run/x".ljust(108, b"\0"))
    assert read(octets) == (ProxyHeader(destination="/run/x"), len(octets))


def test_a_certificate_counts_only_if_it_was_verified():
    def header(client: int, verify: int) -> ClientTls | None:
        value = struct.pack("!BI", client, verify) + b"\x22\x00\x03ann"
        found = read(v2(0x21, 0x11, ADDRESSES + struct.pack("!BH", 0x20, len(value)) + value))
        assert found is not None
        return found[0].tls

    assert header(0x07, 0) == ClientTls(common_name="ann", verified=True)
    assert header(0x07, 1) == ClientTls(common_name="ann")
    assert header(0x01, 0) == ClientTls(common_name="ann")
    assert header(0x00, 0) is None


def test_a_strangers_text_stays_on_one_line():
    octets = v2(0x21, 0x11, ADDRESSES + b"\x02\x00\x04a\r\n\xff")
    found = read(octets)
    assert found is not None
    assert found[0].authority == "a??\\xff"


@pytest.mark.parametrize(("source", "other"), [("192.0.2.1", "2001:db8::1"), ("2001:db8::1", "192.0.2.1"), ("::1", "")])
def test_a_destination_of_another_family_is_left_open(source, other):
    for version in (1, 2):
        found = read(write(ProxyHeader(source, 1, other, 25), version))
        assert found is not None
        assert found[0] == ProxyHeader(source, 1, "::" if ":" in source else "0.0.0.0", 25)

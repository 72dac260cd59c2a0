"""What is told of a dialogue that somebody listens to, and what is not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from moxy.net.overhearing import LINE_OCTETS, bare, overheard, unheard
from support.cutting import cut, cut_places


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self):
        super().__init__({"peername": ("192.0.2.1", 2525)})
        self.written = []
        self.paused = False

    def write(self, data):
        self.written.append(data)

    def pause_reading(self):
        self.paused = True


class Connection(asyncio.Protocol):
    """Keeps what happens to it."""

    def __init__(self):
        self.happened = []

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.happened.append(data)

    def eof_received(self):
        self.happened.append("eof")
        return True

    def pause_writing(self):
        self.happened.append("full")

    def connection_lost(self, exc):
        self.happened.append(exc)


@pytest.mark.parametrize(
    ("peer", "place"),
    [
        (("192.0.2.1", 25), "192.0.2.1:25"),
        (("2001:db8::1", 25, 0, 0), "[2001:db8::1]:25"),
        ("/run/dovecot/lmtp", "unix:/run/dovecot/lmtp"),
        ("", "unix"),
        (None, "unix"),
        (b"\0abstract", "unix"),
    ],
)
def test_a_peer_has_the_name_that_people_give_it(peer, place):
    transport = Transport()
    transport._extra["peername"] = peer
    with capture_logs() as events:
        overheard("client", "S")(Connection()).connection_made(transport)
    assert events[0]["client"] == place


@pytest.fixture
def connection():
    return Connection()


@pytest.fixture
def told():
    with capture_logs() as events:
        yield events


def words(told):
    """What was told, without what is the same in every event."""
    return [
        {key: value for key, value in event.items() if key not in ("event", "log_level", "client", "destination")}
        for event in told
    ]


def test_where_nobody_listens_the_connection_is_itself(connection):
    assert unheard(connection) is connection


def test_both_sides_are_told_line_by_line_in_their_order(connection, told):
    heard = overheard("client", "S")(connection)
    transport = Transport()
    heard.connection_made(transport)
    connection.transport.write(b"220 ready\r\n")
    heard.data_received(b"EHLO a\r\nMAIL FROM:<a@b>\r\n")
    connection.transport.write(b"250-we\r\n250 SIZE\r\n")
    assert words(told) == [
        {"begins": True},
        {"S": "220 ready"},
        {"C": "EHLO a"},
        {"C": "MAIL FROM:<a@b>"},
        {"S": "250-we"},
        {"S": "250 SIZE"},
    ]
    assert {(event["client"], event["log_level"]) for event in told} == {("192.0.2.1:2525", "debug")}
    assert connection.happened == [b"EHLO a\r\nMAIL FROM:<a@b>\r\n"]
    assert transport.written == [b"220 ready\r\n", b"250-we\r\n250 SIZE\r\n"]


@pytest.mark.parametrize("we", ["C", "S"])
def test_of_content_only_the_size_is_told(connection, told, we):
    heard = overheard("client" if we == "S" else "destination", we)(connection)
    heard.connection_made(Transport())
    client, server = heard.data_received, connection.transport.write
    if we == "C":
        client, server = server, client
    client(b"DATA\r\n")
    server(b"354 go on\r\n")
    client(b"Subject: secret\r\n\r\nsec")
    client(b"ret\r\n.\r\n")
    server(b"250 taken\r\n")
    client(b"QUIT\r\n")
    assert words(told)[1:] == [
        {"C": "DATA"},
        {"S": "354 go on"},
        {"octets": 22},
        {"octets": 8},
        {"S": "250 taken"},
        {"C": "QUIT"},
    ]


CHUNKS = b"BDAT 9\r\nsecret\r\n.bdat  4 LAST \r\nauthBDAT 0 LAST\r\nQUIT\r\n"


@pytest.mark.parametrize("we", ["C", "S"])
def test_of_a_chunk_only_the_size_is_told(connection, told, we):
    heard = overheard("client", we)(connection)
    heard.connection_made(Transport())
    hear(heard, connection, we, "C", CHUNKS)
    assert words(told)[1:] == [
        {"C": "BDAT 9"},
        {"octets": 9},
        {"C": "bdat  4 LAST "},
        {"octets": 4},
        {"C": "BDAT 0 LAST"},
        {"C": "QUIT"},
    ]


@given(cut_places)
def test_a_chunk_is_not_told_however_it_is_cut(places):
    connection = Connection()
    with capture_logs() as told:
        heard = overheard("client", "S")(connection)
        heard.connection_made(Transport())
        for piece in cut(CHUNKS, places):
            hear(heard, connection, "S", "C", piece)
    shown = "".join(event.get("C", "") for event in words(told)).replace("\r", "")
    assert shown == "BDAT 9bdat  4 LAST BDAT 0 LASTQUIT"
    assert sum(event.get("octets", 0) for event in words(told)) == 13


def test_lines_are_cut_and_any_octets_are_text(connection, told):
    heard = overheard("client", "S")(connection)
    heard.connection_made(Transport())
    heard.data_received(b"\xff\x00" + b"x" * 2000 + b"\r\n")
    (line,) = [event["C"] for event in told if "C" in event]
    assert line.startswith("\\xff\x00xxx")
    assert len(line) == LINE_OCTETS + 3


def test_all_else_passes(connection, told):
    heard = overheard("client", "S")(connection)
    transport = Transport()
    heard.connection_made(transport)
    assert heard.eof_received() is True
    heard.pause_writing()
    connection.transport.pause_reading()
    assert transport.paused
    assert connection.transport.get_extra_info("peername") == ("192.0.2.1", 2525)
    heard.connection_lost(None)
    assert connection.happened == ["eof", "full", None]
    assert words(told)[-1] == {"ends": "closed"}


# -- secrets

AUTHENTICATION = [
    ("C", b"EHLO a\r\n"),
    ("S", b"250-b\r\n250 AUTH PLAIN\r\n"),
    ("C", b"auth PLAIN c2VjcmV0\r\n"),
    ("S", b"334 c2VjcmV0\r\n"),
    ("C", b"c2VjcmV0\r\n"),
    ("S", b"334 \r\n"),
    ("C", b"\r\n"),
    ("S", b"235 fine\r\n"),
    ("C", b"MAIL FROM:<auth PLAIN@b>\r\n"),
]


def hear(heard, connection, we, side, data):
    if side == we:
        connection.transport.write(data)
    else:
        heard.data_received(data)


@pytest.mark.parametrize("we", ["C", "S"])
def test_of_auth_only_the_mechanism_is_told(connection, told, we):
    heard = overheard("client", we)(connection)
    heard.connection_made(Transport())
    for side, data in AUTHENTICATION:
        hear(heard, connection, we, side, data)
    assert words(told)[1:] == [
        {"C": "EHLO a"},
        {"S": "250-b"},
        {"S": "250 AUTH PLAIN"},
        {"C": "auth PLAIN ***"},
        {"S": "334 ***"},
        {"C": "***"},
        {"S": "334 ***"},
        {"C": "***"},
        {"S": "235 fine"},
        {"C": "MAIL FROM:<auth PLAIN@b>"},
    ]


@given(st.data())
def test_a_secret_is_not_told_however_the_lines_are_cut(data):
    connection = Connection()
    with capture_logs() as told:
        heard = overheard("client", "S")(connection)
        heard.connection_made(Transport())
        for side, line in AUTHENTICATION:
            for piece in cut(line, data.draw(cut_places)):
                hear(heard, connection, "S", side, piece)
    shown = "".join(str(value) for event in words(told) for value in event.values())
    assert "c2" not in shown
    assert "V" not in shown
    assert "235 fine" in "".join(event.get("S", "") for event in words(told))


def test_a_mechanism_without_a_secret_is_told_as_it_is(connection, told):
    heard = overheard("client", "S")(connection)
    heard.connection_made(Transport())
    heard.data_received(b"AUTH LOGIN\r\nAUTHOR\r\n")
    assert words(told)[1:] == [{"C": "AUTH LOGIN"}, {"C": "***"}]


def test_the_same_connection_goes_on_encrypted(connection, told):
    class Encrypted(Transport):
        def get_extra_info(self, name, default=None):
            return SimpleNamespace(version=lambda: "TLSv1.3")

    heard = overheard("destination", "C")(connection)
    heard.connection_made(Transport())
    assert bare(connection.transport) is not connection.transport
    encrypted = Encrypted()
    heard.connection_made(encrypted)
    assert bare(connection.transport) is encrypted
    assert bare(encrypted) is encrypted
    connection.transport.write(b"EHLO a\r\n")
    assert words(told)[1:] == [{"encrypted": "TLSv1.3"}, {"C": "EHLO a"}]

"""TlsTransport between a transport and a protocol that keep what happens to them. Real sockets: tests/inbound."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moxy.net.tlstransport import BARREN, TlsTransport, subject_of
from support.certificates import client_context, issue, server_tls


class Raw(asyncio.Transport):
    """A transport that keeps what is done to it."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.protocol = protocol
        self.sent = b""
        self.done: list[str] = []

    def write(self, data: Any) -> None:
        self.sent += data

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def get_write_buffer_size(self) -> int:
        return 7

    def is_closing(self) -> bool:
        return "close" in self.done or "abort" in self.done

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")

    def write_eof(self) -> None:
        self.done.append("eof")

    def pause_reading(self) -> None:
        self.done.append("pause")

    def resume_reading(self) -> None:
        self.done.append("resume")


class Session(asyncio.Protocol):
    """A protocol that keeps what happens to it; `keeps` is whether it goes on when the peer's half is closed."""

    keeps = False

    def __init__(self) -> None:
        self.happened: list[Any] = []
        self.answer: Callable[[bytes], None] = lambda data: None

    def secured(self, facts: Any) -> None:
        self.happened.append(facts.version)

    def not_secured(self, reason: str) -> None:
        self.happened.append(reason)

    def data_received(self, data: bytes) -> None:
        self.happened.append(data)
        self.answer(data)

    def eof_received(self) -> bool:
        self.happened.append("eof")
        return self.keeps

    def pause_writing(self) -> None:
        self.happened.append("full")

    def resume_writing(self) -> None:
        self.happened.append("empty")

    def connection_lost(self, exc: Exception | None) -> None:
        self.happened.append(("lost", exc))


class Wire:
    """A client in memory, and what stands on the server's side."""

    def __init__(self, directory: Path) -> None:
        self.session = Session()
        self.raw = Raw(self.session)
        self.transport = TlsTransport(self.raw, self.session, server_tls(directory))
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = client_context()
        self.client = context.wrap_bio(self.incoming, self.outgoing, server_hostname="mx.moxy.test")

    def shake_hands(self) -> None:
        for _ in range(3):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.pass_on()
        self.session.happened.clear()

    def pass_on(self) -> None:
        if self.outgoing.pending:
            self.raw.protocol.data_received(self.outgoing.read())
        self.incoming.write(self.raw.sent)
        self.raw.sent = b""

    def heard(self) -> bytes:
        found = b""
        self.pass_on()
        with contextlib.suppress(ssl.SSLWantReadError):
            while block := self.client.read():
                found += block
            found += b"(end)"
        return found


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    wire = Wire(tmp_path)
    wire.shake_hands()
    return wire


def test_what_is_written_arrives_however_long_it_is(wire: Wire) -> None:
    text = b"x" * 100_000
    wire.transport.write(text)
    assert wire.heard() == text


def test_several_records_are_handed_on_at_once(wire: Wire) -> None:
    for word in (b"a", b"b", b"c"):
        wire.client.write(word)
    wire.pass_on()
    assert wire.session.happened == [b"abc"]


def test_half_a_record_waits_for_its_other_half(wire: Wire) -> None:
    wire.client.write(b"text")
    record = wire.outgoing.read()
    wire.raw.protocol.data_received(record[:10])
    assert wire.session.happened == []
    wire.raw.protocol.data_received(record[10:])
    assert wire.session.happened == [b"text"]


def test_its_own_end_says_so_to_the_peer(wire: Wire) -> None:
    wire.transport.write_eof()
    assert wire.heard() == b"(end)"
    assert wire.raw.done == ["eof"]
    wire.transport.write(b"too late")
    wire.transport.close()
    assert wire.raw.sent == b""
    assert wire.raw.done == ["eof", "close"]


def test_what_comes_after_our_end_is_nobody_s_business(wire: Wire) -> None:
    wire.transport.write_eof()
    wire.client.write(b"more")
    wire.pass_on()
    assert wire.session.happened == []


@pytest.mark.parametrize("keeps", [False, True])
def test_the_peer_s_end_is_told_once(wire: Wire, keeps: bool) -> None:
    wire.session.keeps = keeps
    wire.client.write(b"last words")
    with contextlib.suppress(ssl.SSLError):
        wire.client.unwrap()
    wire.pass_on()
    assert wire.session.happened == [b"last words", "eof"]
    assert wire.raw.done == ([] if keeps else ["close"])
    assert wire.raw.protocol.eof_received() is keeps
    assert wire.session.happened == [b"last words", "eof"]


def test_an_end_without_a_word_is_an_end(wire: Wire) -> None:
    wire.session.keeps = True
    assert wire.raw.protocol.eof_received() is True
    assert wire.session.happened == ["eof"]
    wire.transport.write(b"still here")
    assert wire.heard() == b"still here"


def test_back_pressure_passes_in_both_directions(wire: Wire) -> None:
    wire.raw.protocol.pause_writing()
    wire.raw.protocol.resume_writing()
    wire.transport.pause_reading()
    wire.transport.resume_reading()
    assert wire.session.happened == ["full", "empty"]
    assert wire.raw.done == ["pause", "resume"]
    assert wire.transport.get_write_buffer_size() == 7
    assert wire.transport.get_extra_info("peername") == ("192.0.2.1", 1)


def single_octets(wire: Wire, count: int) -> bytes:
    """Records of 23 octets, each with one of content. To change keys is 27 octets and as dear as 20 of these."""
    for number in range(count):
        wire.client.write(bytes([number % 256]))
    return wire.outgoing.read()


def test_much_that_says_little_is_looked_at_in_turns(wire: Wire) -> None:
    async def turns() -> None:
        wire.raw.protocol.data_received(single_octets(wire, 4000))
        assert wire.raw.done == ["pause"]
        assert len(wire.session.happened) == 1
        while wire.raw.done[-1] == "pause":
            await asyncio.sleep(0)  # somebody else's turn
        assert wire.raw.done == ["pause"] * 3 + ["resume"]

    asyncio.run(turns())
    assert b"".join(wire.session.happened) == bytes(number % 256 for number in range(4000))
    assert max(map(len, wire.session.happened)) * 22 < BARREN + 8192


def test_who_wants_no_more_in_the_middle_of_a_turn_gets_the_rest_when_it_does(wire: Wire) -> None:
    async def turns() -> None:
        wire.session.answer = lambda data: wire.transport.pause_reading()
        wire.raw.protocol.data_received(single_octets(wire, 2000))
        (first,) = wire.session.happened
        for _ in range(3):
            await asyncio.sleep(0)
        assert wire.session.happened == [first]
        wire.session.answer = lambda data: None
        wire.transport.resume_reading()
        assert wire.session.happened == [first]
        await asyncio.sleep(0)
        assert len(b"".join(wire.session.happened)) == 2000
        assert wire.raw.done[-1] == "resume"

    asyncio.run(turns())


def test_what_waits_for_its_turn_goes_with_the_connection(wire: Wire) -> None:
    async def turns() -> None:
        wire.raw.protocol.data_received(single_octets(wire, 2000))
        wire.transport.abort()
        wire.raw.protocol.connection_lost(None)
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(turns())
    assert len(wire.session.happened) == 2
    assert wire.raw.done == ["pause", "abort"]


def test_content_is_no_turn_s_matter_whatever_the_size_of_its_records(wire: Wire) -> None:
    for size in (1000, 16_384):
        wire.session.happened.clear()
        for _ in range(0, 200_000, size):
            wire.client.write(b"x" * size)
        wire.pass_on()
        assert len(wire.session.happened) == 1


def test_a_record_that_is_none_ends_the_connection_behind_what_came_before(wire: Wire) -> None:
    wire.client.write(b"good")
    wire.raw.protocol.data_received(wire.outgoing.read() + b"\x17\x03\x03\x00\x20" + b"x" * 32)
    assert wire.session.happened == [b"good"]
    assert wire.raw.done == ["close"]
    wire.raw.protocol.connection_lost(None)
    assert wire.session.happened == [b"good", ("lost", None)]


def test_what_came_before_a_record_that_is_none_may_be_answered(wire: Wire) -> None:
    wire.session.answer = lambda data: wire.transport.write(b"answer")
    wire.client.write(b"good")
    wire.raw.protocol.data_received(wire.outgoing.read() + b"\x17\x03\x03\x00\x20" + b"x" * 32)
    assert wire.session.happened == [b"good"]
    assert wire.raw.done == ["close"]


def test_nothing_is_kept_of_what_comes_behind_the_peer_s_end(wire: Wire) -> None:
    wire.session.keeps = True
    with contextlib.suppress(ssl.SSLError):
        wire.client.unwrap()
    wire.pass_on()
    wire.raw.protocol.data_received(b"x" * 100_000)
    assert wire.transport._incoming.pending == 0
    assert wire.session.happened == ["eof"]
    wire.transport.write(b"still here")
    assert wire.raw.sent


def test_a_lost_connection_lets_go_of_its_protocol(wire: Wire) -> None:
    wire.raw.protocol.connection_lost(None)
    wire.raw.protocol.connection_lost(None)
    wire.raw.protocol.pause_writing()
    wire.raw.protocol.resume_writing()
    assert wire.session.happened == [("lost", None)]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda raw: raw.protocol.eof_received(), "the connection was closed in the middle of the handshake"),
        (lambda raw: raw.protocol.connection_lost(None), "the connection was lost in the middle of the handshake"),
        (lambda raw: raw.protocol.data_received(b"EHLO client.test\r\n"), "wrong version number"),
        (lambda raw: raw.protocol.data_received(b"GET / HTTP/1.1\r\n\r\n"), "http request"),
    ],
)
def test_why_a_handshake_failed_is_told_once(tmp_path: Path, end: Any, reason: str) -> None:
    wire = Wire(tmp_path)
    end(wire.raw)
    assert wire.session.happened[0] == reason
    wire.raw.protocol.data_received(b"more")
    assert len([one for one in wire.session.happened if one == reason]) == 1
    assert "close" in wire.raw.done


def test_it_may_be_closed_before_the_handshake_is_done(tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    wire.transport.close()
    assert (wire.raw.sent, wire.raw.done, wire.session.happened) == (b"", ["close"], [])


def test_a_subject_is_written_as_directories_do() -> None:
    der = ssl.PEM_cert_to_DER_cert(issue("client.test").pem.decode())
    assert subject_of(der) == "CN=client.test"
    assert len(subject_of(ssl.PEM_cert_to_DER_cert(issue("x" * 60).pem.decode()))) == 63
    assert subject_of(b"nonsense") == ""
    assert subject_of(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x06")) == ""  # version 7

"""TlsConnection: handshakes and what they end, on both event loops. What is said after them: tests/dialogues."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import socket
import ssl
import sys
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from moxy.inbound.service import Bounds
from moxy.inbound.tlsconnection import TlsConnection
from moxy.ledger import State
from moxy.net.overhearing import overheard
from moxy.outbound.upstream import WRITE_AHEAD
from support.certificates import client_context, issue, server_tls
from support.cutting import cut, octets
from support.destination import Act, Phase, running_destination
from support.place import CONTENT, ONE, TAKEN, place, until_the_dot
from support.ports import LOOPBACK
from support.relay import Relay, route, running_relay
from support.scenario import scenario, scenario_on_asyncio, until
from support.tlsclient import TlsClient, encrypted

BOTH_LOOPS = pytest.mark.parametrize("on", [scenario, scenario_on_asyncio], ids=["uvloop", "asyncio"])
BOTH_WAYS = pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])


def only(relay: Relay):
    (connection,) = relay.service.connections
    return connection


async def greeted(port: int) -> TlsClient:
    """A client to whom STARTTLS was offered."""
    client = await TlsClient.connect(port)
    await client.reply()
    assert "STARTTLS" in await client.ask("EHLO client.test")
    return client


async def before_the_handshake(relay: Relay, *, implicit: bool) -> TlsClient:
    """A client whose next octets are TLS."""
    if implicit:
        return await TlsClient.connect(relay.port)
    client = await greeted(relay.port)
    assert (await client.ask("STARTTLS")).startswith("220 ")
    return client


# -- the handshake


@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("cutter", [None, octets], ids=["whole", "octets"])
def test_a_message_is_delivered_and_recorded_as_encrypted(tmp_path, on, implicit, version, cutter) -> None:
    async def deliver() -> None:
        context = client_context()
        context.minimum_version = context.maximum_version = version
        async with (
            running_destination() as destination,
            running_relay(route(destination.port), tls=server_tls(tmp_path, implicit=implicit)) as relay,
        ):
            if cutter is not None:
                TlsClient.cutter = staticmethod(cutter)
            try:
                async with encrypted(relay.port, implicit=implicit, context=context) as client:
                    assert await client.deliver(["a@one.test"]) == TAKEN
                    assert (await client.ask("QUIT")).startswith("221 ")
                    assert await client.reply() == ""
            finally:
                TlsClient.cutter = staticmethod(lambda octets: [octets])
            (record,) = relay.records
            name = version.name.replace("_", ".")
            assert record.security.version == name
            assert (record.security.subject, record.security.sha256) == ("", "")
            assert f"with ESMTPS ({name} {record.security.cipher})".encode() in destination.messages[0].content

    on(deliver)()


@scenario
async def test_a_client_s_certificate_is_recorded(tmp_path: Path) -> None:
    mine = issue("client.test")
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), tls=server_tls(tmp_path, asks=True)) as relay,
    ):
        async with encrypted(relay.port, context=client_context(mine, tmp_path)) as client:
            assert await client.deliver(["a@one.test"]) == TAKEN
        async with encrypted(relay.port) as client:
            assert await client.deliver(["a@one.test"]) == TAKEN
        with_one, without = [record.security for record in relay.records]
        der = ssl.PEM_cert_to_DER_cert(mine.pem.decode())
        assert (with_one.subject, with_one.sha256) == ("CN=client.test", hashlib.sha256(der).hexdigest())
        assert (without.subject, without.sha256) == ("", "")


@scenario
async def test_a_client_with_another_authority_s_certificate_gets_no_tls(tmp_path: Path) -> None:
    stranger = issue("client.test", by="Another Authority")
    async with running_relay({}, tls=server_tls(tmp_path, asks=True)) as relay:
        client = await before_the_handshake(relay, implicit=False)
        context = client_context(stranger, tmp_path)
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 a client's handshake is done before it hears of it
        with pytest.raises((ssl.SSLError, AssertionError)):
            await client.secure(context)
        assert await client.reply() == ""


@scenario
async def test_nothing_is_said_after_starttls_until_the_client_speaks(tmp_path: Path) -> None:
    async with running_relay({}, tls=server_tls(tmp_path)) as relay:
        client = await before_the_handshake(relay, implicit=False)
        await client.secure()
        await until(lambda: only(relay)._conversation.session.tls, "the handshake")
        assert (await client.ask("NOOP")).startswith("250"), "and not 220"
        await client.leave()


@BOTH_WAYS
@scenario
async def test_a_client_may_vanish_at_every_octet_of_its_hello(tmp_path: Path, implicit: bool) -> None:
    async with running_relay({}, tls=server_tls(tmp_path, implicit=implicit)) as relay:
        hello = TlsClient().start()
        files = len(list(Path("/proc/self/fd").iterdir()))
        for end in range(0, len(hello), 1 if implicit else 7):
            client = await before_the_handshake(relay, implicit=implicit)
            client.transport.write(hello[:end])
            client.transport.close()
            await client.over.wait()
        await until(lambda: not relay.service.connections, "all to be gone")
        assert not relay.service.sweeper.watched
        await until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= files, "no file to be left open")


@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"EHLO client.test\r\n", b"\x16\x03\x01\x00\x04\xff\xff\xff\xff", b"\0" * 100],
)
def test_who_speaks_no_tls_is_let_go_and_told_of_once(tmp_path, on, implicit, garbage) -> None:
    async def speak() -> None:
        async with running_relay({}, tls=server_tls(tmp_path, implicit=implicit)) as relay:
            with capture_logs() as events:
                for _ in range(3):
                    client = await before_the_handshake(relay, implicit=implicit)
                    client.transport.write(garbage)
                    await until(client.over.is_set, "the end")
                await until(lambda: not relay.service.connections, "all to be gone")
        told = [event for event in events if event["log_level"] != "debug"]
        assert [(event["event"], event["client"]) for event in told] == [("handshake_failed", "127.0.0.1")]

    on(speak)()


@scenario
async def test_a_name_that_is_none_ends_the_handshake_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    async with running_relay({}, tls=server_tls(tmp_path)) as relay:
        for name in (b"\xff\xfe\xfd\xfc", b"\xff\xfe\0\n", b"\0\0\0\0"):
            client = await before_the_handshake(relay, implicit=False)
            client.transport.write(client.start(name="aaaa.example").replace(b"aaaa", name))
            await until(client.over.is_set, "the end")
    assert printed == []
    another = SimpleNamespace(exc_value=ValueError(), object=b"")
    sys.unraisablehook(another)  # type: ignore[arg-type]
    assert printed == [another]


@BOTH_WAYS
@scenario
async def test_a_handshake_has_30_seconds_and_single_octets_do_not_prolong_it(tmp_path: Path, implicit: bool) -> None:
    async with running_relay({}, tls=server_tls(tmp_path, implicit=implicit)) as relay:
        client = await before_the_handshake(relay, implicit=implicit)
        await until(lambda: relay.service.connections and only(relay)._handshaking, "Moxy to wait for it")
        deadline = only(relay).deadline
        for octet in octets(client.start()[:20]):
            client.transport.write(octet)
            await asyncio.sleep(0.001)
        assert only(relay).deadline == deadline
        relay.pass_time(29)
        assert relay.service.connections
        relay.pass_time(31)
        await until(client.over.is_set, "the end")
        await until(lambda: not relay.service.connections, "the connection to be forgotten")
        assert client.replies.get_nowait() == "", "there was not a word in the clear"


@scenario
async def test_a_client_in_its_handshake_counts_among_the_sessions(tmp_path: Path) -> None:
    tls = server_tls(tmp_path, implicit=True)
    async with running_relay({}, tls=tls, bounds=Bounds(sessions=1)) as relay:
        first = await TlsClient.connect(relay.port)
        await until(lambda: relay.service.connections, "the first")
        second = await TlsClient.connect(relay.port)
        assert await second.reply() == ""
        await first.secure()
        assert (await first.reply()).startswith("220 ")
        await first.leave()


@pytest.mark.parametrize("way", ["drain", "cut_off"])
@BOTH_WAYS
@scenario
async def test_when_moxy_stops_a_handshake_under_way_ends_without_a_word(
    tmp_path: Path, implicit: bool, way: str
) -> None:
    async with running_relay({}, tls=server_tls(tmp_path, implicit=implicit)) as relay:
        client = await before_the_handshake(relay, implicit=implicit)
        await until(lambda: relay.service.connections and only(relay)._handshaking, "Moxy to wait for it")
        getattr(only(relay), way)()
        assert await client.reply() == ""


@scenario
async def test_when_moxy_stops_an_idle_client_hears_so_encrypted(tmp_path: Path) -> None:
    async with running_relay({}, tls=server_tls(tmp_path)) as relay, encrypted(relay.port) as client:
        relay.service.drain()
        assert (await client.reply()).startswith("421 4.3.2 ")
        assert await client.reply() == ""


# -- what was said in the clear (T32)

INJECTED = [b"RSET\r\n", b"EHLO evil.test\r\n", b"MAIL FROM:<evil@evil.test>\r\nRCPT TO:<a@one.test>\r\n", b"X"]


@BOTH_LOOPS
@pytest.mark.parametrize("injected", INJECTED)
def test_octets_behind_starttls_in_its_segment_end_the_session(tmp_path, on, injected) -> None:
    async def inject() -> None:
        async with (
            running_destination() as destination,
            running_relay(route(destination.port), tls=server_tls(tmp_path)) as relay,
        ):
            client = await greeted(relay.port)
            client.write(b"STARTTLS\r\n" + injected)
            assert await client.reply() == "421 4.7.0 mx.moxy.test Nothing may follow STARTTLS but TLS"
            assert await client.reply() == ""
            assert not destination.talks

    on(inject)()


@pytest.mark.parametrize("behind", [False, True], ids=["alone", "with the hello behind it"])
@BOTH_LOOPS
@pytest.mark.parametrize("injected", INJECTED)
def test_octets_in_the_clear_before_the_handshake_are_never_obeyed(tmp_path, on, injected, behind) -> None:
    async def inject() -> None:
        async with (
            running_destination() as destination,
            running_relay(route(destination.port), tls=server_tls(tmp_path)) as relay,
        ):
            client = await greeted(relay.port)
            assert (await client.ask("STARTTLS")).startswith("220 ")
            client.transport.write(injected + (client.start() if behind else b""))
            if len(injected) < 5 and not behind:
                client.transport.write_eof()  # of one octet nobody can tell yet that it is no TLS
            await until(client.over.is_set, "the end")
            await until(lambda: not relay.service.connections, "Moxy to forget it")
            assert not destination.talks

    on(inject)()


@scenario
async def test_however_an_injection_is_cut_nothing_of_it_is_obeyed(tmp_path: Path) -> None:
    line = b"STARTTLS\r\nMAIL FROM:<evil@evil.test>\r\n"
    async with running_relay({}, tls=server_tls(tmp_path)) as relay:
        for place_ in range(1, len(line)):
            client = await greeted(relay.port)
            for piece in cut(line, [place_]):
                client.write(piece)
                await asyncio.sleep(0.002)
            await until(client.over.is_set, "the end")
            said = []
            while not client.replies.empty():
                said.append(client.replies.get_nowait()[:3])
            assert said in (["421", ""], ["220", ""]), said


# -- behind a proxy

HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.25 1025 25\r\n"


@BOTH_LOOPS
@pytest.mark.parametrize("together", [False, True], ids=["alone", "with the hello behind it"])
@BOTH_WAYS
def test_tls_begins_behind_a_proxy_header_and_the_client_stays_who_it_says(tmp_path, on, implicit, together) -> None:
    async def connect() -> None:
        tls = server_tls(tmp_path, implicit=implicit)
        async with running_relay({}, tls=tls, proxy_from=[LOOPBACK]) as relay:
            client = await TlsClient.connect(relay.port)
            if implicit:
                hello = client.start()
                if together:
                    client.transport.write(HEADER + hello)
                else:
                    client.transport.write(HEADER)
                    await until(lambda: type(only(relay)) is TlsConnection, "the header to be read")
                    client.transport.write(hello)
                await until(lambda: client.shaken, "the handshake")
            else:
                client.transport.write(HEADER + (b"EHLO client.test\r\n" if together else b""))
            assert (await client.reply()).startswith("220 ")
            if not implicit:
                offer = await (client.reply() if together else client.ask("EHLO client.test"))
                assert "STARTTLS" in offer
                assert (await client.ask("STARTTLS")).startswith("220 ")
                await client.secure()
            assert (await client.ask("EHLO client.test")).startswith("250-")
            session = only(relay)._conversation.session
            assert (session.client, session.client_port) == ("192.0.2.1", 1025)
            assert session.server() == ("192.0.2.25", 25)
            await client.leave()

    on(connect)()


@scenario
async def test_who_has_said_xclient_says_it_no_more_after_starttls(tmp_path: Path) -> None:
    async with running_relay({}, tls=server_tls(tmp_path), xclient_from=[LOOPBACK]) as relay:
        client = await greeted(relay.port)
        assert (await client.ask("XCLIENT ADDR=192.0.2.1 HELO=client.test")).startswith("220 ")
        assert "XCLIENT" not in await client.ask("EHLO client.test")
        assert (await client.ask("STARTTLS")).startswith("220 ")
        await client.secure()
        assert "XCLIENT" not in await client.ask("EHLO client.test")
        assert (await client.ask("XCLIENT ADDR=127.0.0.1")).startswith("500 ")
        assert only(relay)._conversation.session.client == "192.0.2.1"
        await client.leave()


@scenario
async def test_a_listed_proxy_may_encrypt_first_and_say_xclient_then(tmp_path: Path) -> None:
    async with (
        running_relay({}, tls=server_tls(tmp_path), xclient_from=[LOOPBACK]) as relay,
        encrypted(relay.port) as client,
    ):
        assert (await client.ask("XCLIENT ADDR=192.0.2.1")).startswith("220 ")
        session = only(relay)._conversation.session
        assert (session.client, session.tls) == ("192.0.2.1", True)


# -- while it lasts


@BOTH_LOOPS
def test_much_content_passes_as_it_is_in_whatever_pieces_its_records_come(tmp_path, on) -> None:
    async def deliver() -> None:
        random = Random(1)
        line = random.randbytes(48).hex().encode() + b"\r\n"
        content = b"Subject: much\r\n\r\n" + line * 20_000
        async with (
            running_destination() as destination,
            running_relay(route(destination.port), tls=server_tls(tmp_path)) as relay,
            encrypted(relay.port) as client,
        ):
            await client.begin(["a@one.test"])
            await client.ask("DATA")
            records = client.encrypted(content + b".\r\n")
            for piece in cut(records, sorted(random.sample(range(len(records)), 200))):
                client.transport.write(piece)
                await asyncio.sleep(0)
            assert await client.reply() == TAKEN
            assert destination.messages[0].content.endswith(content)

    on(deliver)()


@BOTH_LOOPS
def test_octets_that_were_changed_on_the_way_end_the_connection_and_the_message(tmp_path, on) -> None:
    async def change() -> None:
        async with (
            running_destination() as destination,
            running_relay(route(destination.port), tls=server_tls(tmp_path)) as relay,
            encrypted(relay.port) as client,
        ):
            await client.begin(["a@one.test"])
            await client.ask("DATA")
            records = bytearray(client.encrypted(b"Subject: x\r\n\r\nx\r\n.\r\n"))
            records[20] ^= 1
            client.transport.write(bytes(records))
            await until(lambda: not relay.service.connections, "the end")
            await until(lambda: not destination.open, "the end at the destination")
            assert not destination.messages

    on(change)()


@BOTH_LOOPS
def test_a_client_is_not_read_while_a_destination_is_full(tmp_path, on) -> None:
    async def fill() -> None:
        async with (
            running_destination() as destination,
            running_relay(route(destination.port), tls=server_tls(tmp_path)) as relay,
            encrypted(relay.port) as client,
        ):
            await client.begin(["a@one.test"])
            await client.ask("DATA")
            destination.talks[0].transport.pause_reading()
            block = b"x" * 98 + b"\r\n"
            for _ in range(200):
                client.write(block * 1000)
                await asyncio.sleep(0)
                if not only(relay)._reading:
                    break
            assert not only(relay)._reading
            assert only(relay)._pace.octets < 20_000_000 + WRITE_AHEAD
            destination.talks[0].transport.resume_reading()
            client.write(b".\r\n")
            assert await client.reply() == TAKEN

    on(fill)()


@scenario
async def test_a_client_that_reads_none_of_its_replies_is_not_read_either(tmp_path: Path) -> None:
    async with running_relay({}, tls=server_tls(tmp_path)) as relay, encrypted(relay.port) as client:
        client.transport.pause_reading()
        sent = 0
        while only(relay)._reading:
            client.write(b"HELP\r\n" * 1000)
            sent += 1000
            await asyncio.sleep(0)
        client.transport.resume_reading()
        for _ in range(sent):
            assert (await client.reply()).startswith("214 ")
        await until(lambda: only(relay)._reading, "Moxy to read on")


@scenario
async def test_who_listens_hears_what_is_said_and_not_what_is_sent(tmp_path: Path) -> None:
    async with running_relay({}, tls=server_tls(tmp_path), overhear=overheard("client", "S")) as relay:
        with capture_logs() as events:
            async with encrypted(relay.port) as client:
                await client.ask("NOOP")
        said = [event.get("C") or event.get("S") for event in events if event["event"] == "dialogue"]
        assert said[-2:] == [None, None] or "NOOP" in said
        at = said.index("STARTTLS")
        assert said[at : at + 3] == ["STARTTLS", "220 2.0.0 Ready to start TLS", "EHLO client.test"]


@scenario
async def test_a_connection_leaves_no_cycle_behind(tmp_path: Path) -> None:
    async with running_relay({}, tls=server_tls(tmp_path)) as relay:
        gc.collect()
        gc.disable()
        try:
            async with encrypted(relay.port):
                connection = only(relay)
                held = only(relay)._transport
            await relay.rest()
            assert held._protocol is None
            assert held._owner is None
            del connection, held
        finally:
            gc.enable()


# -- its end


@pytest.mark.parametrize("leave", ["close_notify", "close_notify alone", "no close_notify"])
@BOTH_LOOPS
def test_a_client_may_close_with_or_without_a_word_of_tls(tmp_path, on, leave) -> None:
    async def close() -> None:
        async with running_relay({}, tls=server_tls(tmp_path)) as relay, encrypted(relay.port) as client:
            if leave != "no close_notify":
                client.transport.write(client.take_leave())
            if leave != "close_notify alone":
                client.transport.write_eof()
            await until(lambda: not relay.service.connections, "Moxy to close")

    on(close)()


@BOTH_LOOPS
def test_our_own_end_is_told_in_tls(tmp_path, on) -> None:
    async def end() -> None:
        async with running_relay({}, tls=server_tls(tmp_path)) as relay, encrypted(relay.port) as client:
            await client.ask("QUIT")
            await until(client.over.is_set, "the end")
            assert getattr(client, "failure", None) is None, "an end without a close_notify would be one"

    on(end)()


@scenario
async def test_we_wait_for_the_clients_own_end(tmp_path: Path) -> None:
    async with running_relay({}, tls=server_tls(tmp_path)) as relay, encrypted(relay.port) as client:
        connection = only(relay)
        client.transport.pause_reading()
        client.write(b"QUIT\r\n")
        await until(lambda: connection._closing, "Moxy to be done")
        assert not connection._transport.is_closing(), "or its close_notify would meet a closed socket"
        client.transport.resume_reading()
        await until(client.over.is_set, "the end")


def one_record(connection: socket.socket) -> None:
    """Read a record of TLS, and leave what comes behind it with the kernel."""
    header = connection.recv(5, socket.MSG_PEEK)
    connection.recv(5 + int.from_bytes(header[3:5], "big"))


@scenario
async def test_who_closes_upon_the_verdict_without_reading_on_has_it(tmp_path: Path) -> None:
    async with place(tmp_path, tls=server_tls(tmp_path)) as here:  # as Postfix does
        async with encrypted(here.relay.port) as client:
            await until_the_dot(here, client, here.one)
            client.write(b"QUIT\r\n")
            client.transport.pause_reading()
            here.one.release(TAKEN)
            await until(lambda: only(here.relay)._closing, "Moxy to be done")
            await asyncio.sleep(0.01)  # had it more to say, that would be here
            with socket.socket(fileno=os.dup(client.transport.get_extra_info("socket").fileno())) as connection:
                one_record(connection)
                client.transport.close()
                await client.over.wait()
            await here.idle()
        assert [entry for entry in await here.entries() if entry.state is not State.CONFIRMED] == []


@BOTH_LOOPS
def test_who_says_quit_with_its_dot_and_closes_upon_the_verdict_has_it(tmp_path, on) -> None:
    async def close() -> None:
        async with place(tmp_path, tls=server_tls(tmp_path)) as here:  # as Postfix does
            async with encrypted(here.relay.port) as client:
                await client.begin([ONE])
                await client.ask("DATA")
                client.write(CONTENT + b".\r\nQUIT\r\n")
                assert await client.reply() == TAKEN
                client.transport.write(client.take_leave())
                client.transport.close()
                await here.idle()
            assert [entry for entry in await here.entries() if entry.state is not State.CONFIRMED] == []

    on(close)()


@scenario
async def test_who_says_quit_with_its_dot_and_waits_for_us_is_let_go(tmp_path: Path) -> None:
    async with place(tmp_path, tls=server_tls(tmp_path)) as here:
        async with encrypted(here.relay.port) as client:
            await client.begin([ONE])
            await client.ask("DATA")
            client.write(CONTENT + b".\r\nQUIT\r\n")
            assert await client.reply() == TAKEN
            assert (await client.reply()).startswith("221 ")
            assert await client.reply() == ""
        await here.idle()
        assert [entry for entry in await here.entries() if entry.state is not State.CONFIRMED] == []


@BOTH_LOOPS
@pytest.mark.parametrize("word", [True, False], ids=["close_notify", "TCP alone"])
def test_who_closes_its_half_before_our_verdict_still_gets_it(tmp_path, on, word) -> None:
    async def close() -> None:
        async with place(tmp_path, tls=server_tls(tmp_path)) as here:  # as Exim does
            async with encrypted(here.relay.port) as client:
                await until_the_dot(here, client, here.one)
                client.write(b"QUIT\r\n")
                if word:
                    client.transport.write(client.take_leave())
                client.transport.write_eof()
                await until(lambda: only(here.relay)._half_closed, "the end of its half")
                here.one.release(TAKEN)
                if not word:  # a client by OpenSSL reads no more once it has taken leave
                    assert await client.reply() == TAKEN
                await here.idle()
            assert [entry for entry in await here.entries() if entry.state is not State.CONFIRMED] == []

    on(close)()


@scenario
async def test_a_reset_before_our_verdict_proves_nothing(tmp_path: Path) -> None:
    async with place(tmp_path, tls=server_tls(tmp_path)) as here:
        async with encrypted(here.relay.port) as client:
            await until_the_dot(here, client, here.one)
            client.reset()
            await until(lambda: not here.relay.service.connections, "Moxy to notice")
            here.one.release(TAKEN)
        await here.idle()
        assert [entry.state for entry in await here.entries()] == [State.COMMITTED]


@scenario
async def test_content_that_ends_without_its_dot_is_delivered_to_nobody(tmp_path: Path) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), tls=server_tls(tmp_path)) as relay,
    ):
        destination.answers[Phase.FINAL] = Act.SILENCE
        async with encrypted(relay.port) as client:
            await client.begin(["a@one.test"])
            await client.ask("DATA")
            client.write(b"Subject: x\r\n\r\nx\r\n")
            client.transport.write(client.take_leave())
            client.transport.close()
            await until(lambda: not destination.open, "the end at the destination")
        assert (destination.ends_of_data, destination.messages) == (0, [])

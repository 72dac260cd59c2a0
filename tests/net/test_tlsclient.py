"""TLS as a client: what is judged, what is remembered, what is told of files that cannot be used."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from moxy.errors import MoxyError
from moxy.net.tlsclient import REMEMBERED, Agreed, TlsClient, Trust, agreed, explain, is_tls
from support.certificates import issue, key_pem
from support.faults import Way, running_proxy
from support.ports import LOOPBACK
from support.scenario import scenario, scenario_on_asyncio
from support.tlsdestination import server_context, trusting


class Talk(asyncio.Protocol):
    """The server and the client: says what it was given, and keeps what it hears."""

    def __init__(self, words: bytes = b"") -> None:
        self.words = words
        self.heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.words)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.heard.set_result(data)


async def shaken(client: TlsClient, server: ssl.SSLContext, host: str, name: str) -> Agreed:
    """What was agreed upon with this server; its session is kept."""
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Talk(b"hello"), LOOPBACK, 0, ssl=server)
    try:
        port = listening.sockets[0].getsockname()[1]
        transport, talk = await loop.create_connection(
            Talk, LOOPBACK, port, ssl=client.context(host, name), server_hostname=name
        )
        assert await talk.heard == b"hello"
        shield = transport.get_extra_info("ssl_object")
        assert client.objection(shield) == ""
        client.remember(host, name, shield)
        transport.abort()
        return agreed(shield)
    finally:
        listening.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@scenario
async def test_a_session_is_taken_up_again_with_the_same_host_and_name_only(version: ssl.TLSVersion) -> None:
    server = server_context(issue("a.test", "b.test"))
    server.maximum_version = version
    client = trusting()
    agreed = [await shaken(client, server, host, name) for host, name in (("1", "a.test"), ("1", "a.test"))]
    assert [fact.resumed for fact in agreed] == [False, True]
    assert {fact.version for fact in agreed} == {version.name.replace("_", ".")}
    assert agreed[0].cipher
    assert not (await shaken(client, server, "2", "a.test")).resumed
    assert not (await shaken(client, server, "1", "b.test")).resumed
    with pytest.raises(ssl.SSLCertVerificationError):  # though a session that was good for another name is there
        await shaken(client, server, "1", "c.test")
    client.forget("1", "a.test")
    assert not (await shaken(client, server, "1", "a.test")).resumed


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@scenario
async def test_tls_1_1_is_none() -> None:
    server = server_context(issue("a.test"))
    server.minimum_version = server.maximum_version = ssl.TLSVersion.TLSv1_1
    server.set_ciphers("ALL:@SECLEVEL=0")
    for client in (trusting(), TlsClient(Trust())):
        with pytest.raises(OSError):
            await shaken(client, server, "1", "a.test")


@scenario
async def test_a_short_key_is_no_reason_for_none_where_nobody_judges() -> None:
    server = server_context(issue("a.test", rsa_bits=1024), short_key=True)
    await shaken(TlsClient(Trust()), server, "1", "a.test")
    with pytest.raises(ssl.SSLError):
        await shaken(trusting(), server, "1", "a.test")


@scenario
async def test_a_pin_is_the_sha256_of_the_certificate() -> None:
    issued = issue("a.test")
    pin = issued.certificate.fingerprint(issued.certificate.signature_hash_algorithm).hex()
    for _ in range(2):
        await shaken(TlsClient(Trust(pins=frozenset({pin, "0" * 64}))), server_context(issued), "1", "a.test")
    with pytest.raises(AssertionError, match=f"the certificate's fingerprint is {pin}"):
        await shaken(TlsClient(Trust(pins=frozenset({"0" * 64}))), server_context(issued), "1", "a.test")


@pytest.mark.parametrize("name", ["", ".a.test", "a..test", "x" * 64 + ".test", "\ud800"])
def test_a_name_that_none_can_be_for_is_an_error_that_can_be_told(name: str) -> None:
    with pytest.raises(OSError, match="no certificate can be for") as raised:
        TlsClient(Trust()).context("host", name)
    assert is_tls(raised.value)
    assert explain(raised.value).startswith("no certificate can be for")


@pytest.mark.parametrize("name", ["mail.example.org", "192.0.2.1", "2001:db8::1", "b\u00fccher.example", "a_b.test"])
def test_names_and_addresses_are_fine(name: str) -> None:
    assert TlsClient(Trust()).context("host", name)


def test_what_is_remembered_is_bounded() -> None:
    client = TlsClient(Trust())
    first = client.context("0", "a.test")
    for number in range(REMEMBERED + 1):
        client.avoid(str(number), 10)
    for number in range(1, REMEMBERED + 1):
        client.context(str(number), "a.test")
    assert client.context("0", "a.test") is not first
    assert not client.avoids("0", 9)
    assert client.avoids("1", 9)
    assert not client.avoids("1", 10)
    assert not client.avoids("unheard of", 9)


def test_files_that_cannot_be_used_are_told(directory: Path) -> None:
    junk, missing = directory / "junk", directory / "missing"
    junk.write_text("junk")
    issued = issue("a.test")
    chain, key = issued.write(directory, "own")
    locked = directory / "locked"
    locked.write_bytes(key_pem(issued.key, b"password"))
    _, other = issue("b.test").write(directory, "other")
    for trust, text in [
        (Trust(judged=True, authorities=junk), "junk holds no certificate in PEM form"),
        (Trust(judged=True, authorities=missing), "missing cannot be read: No such file or directory"),
        (Trust(chain=junk, key=key), "hold no certificate and its key"),
        (Trust(chain=chain, key=junk), "hold no certificate and its key"),
        (Trust(chain=chain, key=other), "hold no certificate and its key.*mismatch"),
        (Trust(chain=chain, key=missing), "cannot be read: No such file"),
        (Trust(chain=chain, key=locked), "locked holds a key that is encrypted"),
    ]:
        with pytest.raises(MoxyError, match=text):
            TlsClient(trust)
    TlsClient(Trust(chain=chain, key=key))


def test_the_systems_authorities_are_trusted_if_no_others_are_named() -> None:
    TlsClient(Trust(judged=True))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ssl.SSLError(1, "[SSL: X] it broke (_ssl.c:992)"), "[SSL: X] it broke"),
        (ConnectionResetError(), "ConnectionResetError"),
        (OSError(111, "refused"), "[Errno 111] refused"),
    ],
)
def test_what_went_wrong_is_told_plainly(error: OSError, text: str) -> None:
    assert explain(error) == text


@scenario
async def test_a_handshake_on_a_connection_that_is_closed_meanwhile_is_none() -> None:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(Talk, LOOPBACK, 0)
    client = TlsClient(Trust())
    for when in ("before", "meanwhile"):
        transport, talk = await loop.create_connection(Talk, LOOPBACK, listening.sockets[0].getsockname()[1])
        if when == "before":
            transport.abort()
        else:
            loop.call_later(0.05, transport.abort)
        with pytest.raises(ConnectionAbortedError):
            await client.start(transport, talk, "1", "a.test", 5)
    listening.close()


@scenario
async def test_patience_with_a_handshake_ends() -> None:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(Talk, LOOPBACK, 0)
    transport, talk = await loop.create_connection(Talk, LOOPBACK, listening.sockets[0].getsockname()[1])
    with pytest.raises(OSError, match="handshake is taking longer"):
        await TlsClient(Trust()).start(transport, talk, "1", "a.test", 0.05)
    listening.close()


@scenario
async def test_a_preface_goes_before_the_handshake_and_what_comes_early_is_kept() -> None:
    loop = asyncio.get_running_loop()
    context = server_context(issue("a.test"))
    prefaces: list[bytes] = []
    shaking: list[asyncio.Task[None]] = []

    class Server(Talk):
        def data_received(self, data: bytes) -> None:
            prefaces.append(data)
            shaking.append(loop.create_task(self.shake()))
            self.transport.pause_reading()  # type: ignore[attr-defined]

        async def shake(self) -> None:
            made = await loop.start_tls(self.transport, Talk(), context, server_side=True)  # type: ignore[arg-type]
            made.write(b"hello")  # type: ignore[union-attr]

    listening = await loop.create_server(Server, LOOPBACK, 0)
    port = listening.sockets[0].getsockname()[1]
    client = trusting()
    for _ in range(2):
        talk = Talk()
        made = await client.connect(talk, (LOOPBACK, port), "1", "a.test", b"PROXY UNKNOWN\r\n")
        assert await talk.heard == b"hello"
        assert talk.transport is made
        client.remember("1", "a.test", made.get_extra_info("ssl_object"))
        made.abort()
    assert prefaces == [b"PROXY UNKNOWN\r\n"] * 2
    assert agreed(made.get_extra_info("ssl_object")).resumed
    await asyncio.gather(*shaking)
    listening.close()


@scenario_on_asyncio  # uvloop waits with it
async def test_a_server_that_speaks_in_the_last_octets_of_the_handshake_is_heard() -> None:
    loop = asyncio.get_running_loop()
    context = server_context(issue("a.test"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # there the server has the last word
    listening = await loop.create_server(lambda: Talk(b"hello"), LOOPBACK, 0, ssl=context)
    held = bytearray()
    asked = 0

    def together(way: Way, data: bytes) -> bytes:
        nonlocal asked
        if way is Way.TO_SERVER:
            asked += 1
            return data
        held.extend(data)
        if asked > 1 and b"\x17\x03\x03" not in held:  # its last words wait for application data
            return b""
        data = bytes(held)
        held.clear()
        return data

    async with running_proxy(listening.sockets[0].getsockname()[1]) as proxy:
        proxy.rewrite = together
        talk = Talk()
        made = await trusting().connect(talk, (LOOPBACK, proxy.port), "1", "a.test")
        assert await asyncio.wait_for(talk.heard, 5) == b"hello"
        made.abort()
    listening.close()

"""What a destination is told of the client: PROXY, XCLIENT, HELO; and that nobody gets another's connection (T25)."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from moxy.mail import Session
from moxy.outbound.handover import header, hello_name, own_name, xclient, xforward
from moxy.outbound.handover import identity as handed_over
from moxy.outbound.identity import PERSONAL
from moxy.outbound.settings import Settings
from moxy.smtp import replies
from support.destination import Act, Answer, Phase, Told, running_destination
from support.outbound import running_outbound
from support.relay import route, running_relay
from support.scenario import scenario
from support.smtpclient import connected

EHLO = "250-destination.test\r\n250-PIPELINING\r\n250 "
ANNOUNCED = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
ALL = frozenset(ANNOUNCED.split()[1:])


def session(client: str = "192.0.2.1", port: int = 1025, hello: str = "client.test") -> Session:
    known = Session("id", client, port)
    known.hello, known.extended = hello, True
    known.server = lambda: ("192.0.2.25", 25)
    return known


# -- what is said


def test_the_address_is_the_last_that_xclient_tells() -> None:
    (line,) = xclient(ALL, session())
    assert line.split() == [
        b"XCLIENT",
        b"HELO=client.test",
        b"PROTO=ESMTP",
        b"NAME=[UNAVAILABLE]",
        b"DESTADDR=192.0.2.25",
        b"DESTPORT=25",
        b"PORT=1025",
        b"ADDR=192.0.2.1",
    ]


def test_xclient_tells_what_a_proxy_before_us_has_told() -> None:
    known = session("2001:db8::1")
    known.told = {"NAME": "spike.test", "LOGIN": "ann"}
    (line,) = xclient(frozenset({"ADDR", "NAME", "LOGIN"}), known)
    assert line == b"XCLIENT NAME=spike.test LOGIN=ann ADDR=IPV6:2001:db8::1"


def test_only_what_is_announced_is_told_and_without_addr_nothing() -> None:
    assert xclient(frozenset({"ADDR"}), session()) == (b"XCLIENT ADDR=192.0.2.1",)
    assert xclient(frozenset({"NAME", "HELO"}), session()) == ()
    assert xforward(frozenset({"ADDR", "IDENT"}), session(), "4F") == (b"XFORWARD ADDR=192.0.2.1 IDENT=4F",)
    assert xforward(frozenset(), session(), "4F") == ()


def test_long_names_need_several_commands_and_the_address_is_still_last() -> None:
    known = session(hello=".".join(["a" * 60] * 4))
    known.told = {"NAME": ".".join(["b" * 60] * 4)}
    lines = xclient(ALL, known)
    assert len(lines) == 2
    assert lines[-1].endswith(b"ADDR=192.0.2.1")


def test_a_client_without_an_address_is_unknown() -> None:
    nobody = session("", 0)
    assert xclient(frozenset({"ADDR", "PORT"}), nobody) == (b"XCLIENT PORT=[UNAVAILABLE] ADDR=[UNAVAILABLE]",)
    assert xforward(frozenset({"ADDR"}), nobody, "4F") == (b"XFORWARD ADDR=[UNAVAILABLE]",)
    assert header(Settings(identity="proxy-v1"), nobody) == b"PROXY UNKNOWN\r\n"
    assert header(Settings(identity="proxy-v2"), nobody) == b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"


def test_the_header_has_both_ends_and_tls() -> None:
    assert header(Settings(identity="proxy-v1"), session()) == b"PROXY TCP4 192.0.2.1 192.0.2.25 1025 25\r\n"
    encrypted = session()
    encrypted.tls = True
    plain, rich = (header(Settings(identity="proxy-v2"), known) for known in (session(), encrypted))
    assert plain[12:16] == b"\x21\x11\x00\x0c"
    assert rich[16:28] == plain[16:28] == socket.inet_aton("192.0.2.1") + socket.inet_aton("192.0.2.25") + b"\4\1\0\x19"
    assert rich[28:] == b"\x20\x00\x05\x01\x00\x00\x00\x01"


@pytest.mark.parametrize(
    ("name", "fit"), [("client.test", True), ("host", True), ("[IPv6:::1]", True), ("my_pc", False), ("", False)]
)
def test_a_name_that_no_rfc_knows_is_not_repeated(name: str, fit: bool) -> None:
    assert own_name(session(hello=name), "mx.test") == (name if fit else "mx.test")
    assert hello_name(Settings(identity="helo"), session(hello=name), "mx.test") == (name if fit else "mx.test")
    assert hello_name(Settings(), session(hello=name), "mx.test") == "mx.test"


@pytest.mark.parametrize("identity", ["none", "header", "xforward", "xclient", "proxy-v1", "proxy-v2", "helo"])
def test_a_connection_that_is_somebodys_has_the_lease_for_it(identity: str) -> None:
    settings = Settings(identity=identity)  # type: ignore[arg-type]
    assert (settings.lease == "session") is (identity in PERSONAL)
    assert (handed_over(settings, session()) is not None) is (identity in PERSONAL)
    assert replace(settings, connections=3).lease == settings.lease


# -- towards a destination


@pytest.mark.parametrize("identity", ["xclient", "proxy-v1", "proxy-v2", "helo"])
@scenario
async def test_many_clients_on_few_connections_are_never_taken_for_each_other(identity: str) -> None:
    """T25. Each client comes from another address, and sends twice."""
    settings = Settings(identity=identity, connections=2)  # type: ignore[arg-type]
    async with running_destination() as destination, running_relay(route(destination.port), settings=settings) as relay:
        destination.proxied = identity.startswith("proxy")
        destination.answers[Phase.EHLO] = EHLO + ANNOUNCED
        for number in range(6):
            async with connected(relay.port, hello=False) as client:
                (connection,) = relay.service.connections
                connection._conversation.session.client = f"192.0.2.{number}"
                await client.ask(f"EHLO client{number}.test")
                for _ in range(2):
                    assert (await client.deliver(["a@one.test"])).startswith("250")
            await relay.rest()
        assert len(destination.talks) == 6
        assert destination.most_at_once <= 2
        for number, talk in enumerate(destination.talks):
            told = "\n".join([talk.header.decode("latin-1"), *talk.lines])
            mine = f"client{number}.test" if identity == "helo" else f"192.0.2.{number}"
            if identity == "proxy-v2":
                mine = socket.inet_aton(mine).decode("latin-1")
            assert mine in told
            assert sum(line.startswith("MAIL") for line in talk.lines) == 2
        assert [
            f"client{number}.test".encode() in message.content
            for number, message in zip([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5], destination.messages, strict=True)
        ] == [True] * 12


@scenario
async def test_who_becomes_somebody_else_gets_another_connection() -> None:
    settings = Settings(identity="helo")
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=settings) as relay,
        connected(relay.port) as client,
    ):
        await client.deliver(["a@one.test"])
        await client.ask("EHLO other.test")
        await client.deliver(["a@one.test"])
        await client.deliver(["a@one.test"])
        hellos = destination.commands("EHLO")
        assert hellos == ["EHLO client.test", "EHLO other.test"]
        assert len(destination.open) == 1


@scenario
async def test_xclient_comes_after_ehlo_and_another_ehlo_in_the_clients_name_after_it() -> None:
    settings = Settings(identity="xclient")
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=settings) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.EHLO] = EHLO + "XCLIENT HELO PROTO ADDR"
        assert (await client.deliver(["a@one.test"])).startswith("250")
        assert destination.talks[0].lines[:4] == [
            "EHLO mx.moxy.test",
            "XCLIENT HELO=client.test PROTO=ESMTP ADDR=127.0.0.1",
            "EHLO client.test",
            "MAIL FROM:<sender@client.test>",
        ]


@pytest.mark.parametrize(
    ("phase", "answer", "reason"),
    [
        (Phase.EHLO, EHLO + "SIZE", "XCLIENT is not offered"),
        (Phase.EHLO, EHLO + "XCLIENT NAME HELO", "XCLIENT is not offered"),
        (Told.XCLIENT, "550 5.7.0 insufficient authorization", "XCLIENT is answered: 550"),
        (Told.XCLIENT, "250 fine", "XCLIENT is answered: 250"),
        (Told.XCLIENT, "421 4.7.0 later", "XCLIENT is answered: 421"),
        (Told.XCLIENT, Act.CLOSE, "XCLIENT is answered"),
    ],
)
@scenario
async def test_a_destination_that_does_not_take_us_for_the_client_gets_nothing(
    phase: Phase | Told, answer: Answer, reason: str
) -> None:
    """T28: it would judge by our address."""
    settings = Settings(identity="xclient")
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=settings) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.EHLO] = EHLO + ANNOUNCED
        destination.answers[phase] = answer
        with capture_logs() as told:
            reply = (await client.begin(["a@one.test"]))[0]
        assert reply.startswith("451 4.")
        assert not destination.commands("MAIL")
        (event,) = [event for event in told if event["event"] == "identity_not_taken"]
        assert reason in event["reason"]
        if not isinstance(answer, Act):
            assert reply == replies.IDENTITY_REFUSED.wire.decode().strip()


@scenario
async def test_a_second_ehlo_that_is_refused_is_the_same() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=Settings(identity="xclient")) as relay,
        connected(relay.port) as client,
    ):
        answers = [EHLO + ANNOUNCED, "554 5.7.1 not you"]
        destination.answers[Phase.EHLO] = lambda _: answers.pop(0)
        assert (await client.begin(["a@one.test"]))[0] == replies.IDENTITY_REFUSED.wire.decode().strip()
        assert not destination.commands("MAIL")


@pytest.mark.parametrize("version", ["proxy-v1", "proxy-v2"])
@scenario
async def test_the_header_goes_before_everything_and_greetings_come_after(version: str) -> None:
    settings = Settings(identity=version)  # type: ignore[arg-type]
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=settings) as relay,
        connected(relay.port) as client,
    ):
        destination.proxied = True
        assert (await client.deliver(["a@one.test"])).startswith("250")
        (talk,) = destination.talks
        assert talk.header.startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 " if version == "proxy-v1" else b"\r\n\r\n\0")
        port = client.transport.get_extra_info("sockname")[1]
        if version == "proxy-v1":
            assert talk.header.endswith(f" {port} {relay.port}\r\n".encode())
        else:
            assert talk.header[24:28] == port.to_bytes(2, "big") + relay.port.to_bytes(2, "big")
        assert talk.lines[0] == "EHLO mx.moxy.test"


@scenario
async def test_whom_a_proxy_names_anew_is_not_sent_for_under_the_name_before() -> None:
    settings = Settings(identity="xclient")
    names = ["LOGIN=ann", "LOGIN=bob", "NAME=spike.test", "DESTADDR=192.0.2.25"]
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=settings, xclient_from=["127.0.0.1"]) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.EHLO] = EHLO + ANNOUNCED
        for named in names:
            assert (await client.ask(f"XCLIENT {named}")).startswith("220")
            await client.ask("EHLO client.test")
            for _ in range(2):
                assert (await client.deliver(["a@one.test"])).startswith("250")
        commands = destination.commands("XCLIENT")
        assert [named for named, command in zip(names, commands, strict=True) if named not in command] == []


@scenario
async def test_lmtp_knows_xclient_too() -> None:
    settings = Settings(protocol="lmtp", identity="xclient")
    async with running_destination(lmtp=True) as destination, running_outbound(settings) as outbound:
        destination.answers[Phase.EHLO] = EHLO + "XCLIENT ADDR"
        outbound.session.hello = "client.test"
        await outbound.deliver(outbound.to(destination.port), "a@one.test")
        assert destination.talks[0].lines[:3] == ["LHLO mx.moxy.test", "XCLIENT ADDR=127.0.0.1", "LHLO client.test"]

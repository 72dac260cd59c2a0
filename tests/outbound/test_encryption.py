"""STARTTLS and implicit TLS towards destinations: who is believed, and what never goes in clear (T33, T34)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from moxy.mail import Host, Route
from moxy.net.overhearing import overheard
from moxy.net.tlsclient import TlsClient, Trust
from moxy.outbound.encryption import IN_CLEAR
from moxy.outbound.upstream import WRITE_AHEAD, Upstream
from moxy.smtp import replies
from moxy.smtp.reply import Reply
from support.certificates import authority, issue
from support.destination import Act, Phase
from support.faults import Fault, Kind, Way, running_proxy
from support.outbound import Outbound, recipients, running_outbound
from support.ports import LOOPBACK
from support.relay import route, running_relay
from support.scenario import scenario, scenario_on_asyncio, until
from support.smtpclient import connected
from support.tlsdestination import (
    AUTHORITY,
    NAME,
    OPPORTUNISTIC,
    REQUIRED,
    VERIFIED,
    TlsDestination,
    TlsTalk,
    running_tls_destination,
    server_context,
    settings,
    trusting,
)

POLICIES = (OPPORTUNISTIC, REQUIRED, VERIFIED)
TAKEN = ["250 2.0.0 taken"]


def talk(destination: TlsDestination, index: int = -1) -> TlsTalk:
    found = destination.talks[index]
    assert isinstance(found, TlsTalk)
    return found


def only_connection(outbound: Outbound) -> Upstream:
    ((upstream,),) = [pool._open for pool in outbound.pools]
    return upstream


async def ask(outbound: Outbound, port: int) -> Reply:
    """What a recipient is told whose transaction goes no further."""
    delivery = outbound.open(outbound.to(port))
    reply = await delivery.rcpt(recipients("a@one.test")[0])
    delivery.abort()
    return reply


# -- it works


@pytest.mark.parametrize("policy", POLICIES)
@scenario
async def test_what_is_offered_is_used_and_nothing_but_ehlo_goes_in_clear(policy: str) -> None:
    async with running_tls_destination() as destination, running_outbound(settings(policy)) as outbound:
        answers, _ = await outbound.deliver(outbound.to(destination.port), "a@one.test")
        assert answers == TAKEN
        assert talk(destination).encrypted
        assert talk(destination).in_clear == ["EHLO mx.moxy.test", "STARTTLS"]
        assert talk(destination).lines[2] == "EHLO mx.moxy.test"
        assert only_connection(outbound).verified == (policy == VERIFIED)


@pytest.mark.parametrize("policy", POLICIES)
@scenario
async def test_implicit_tls_begins_with_the_connection(policy: str) -> None:
    there = settings(policy, implicit=True)
    async with running_tls_destination(implicit=True) as destination, running_outbound(there) as outbound:
        answers, _ = await outbound.deliver(outbound.to(destination.port), "a@one.test")
        assert answers == TAKEN
        assert "STARTTLS" not in talk(destination).lines
        assert len([line for line in talk(destination).lines if line.startswith("EHLO")]) == 1
        assert only_connection(outbound).verified == (policy == VERIFIED)


@pytest.mark.parametrize("on_asyncio", [False, True])
def test_lmtp_has_starttls_too(on_asyncio: bool) -> None:
    async def play() -> None:
        there = settings(VERIFIED, protocol="lmtp")
        async with running_tls_destination(lmtp=True) as destination, running_outbound(there) as outbound:
            answers, _ = await outbound.deliver(outbound.to(destination.port), "a@one.test", "b@one.test", each=True)
            assert answers == TAKEN * 2
            assert talk(destination).in_clear == ["LHLO mx.moxy.test", "STARTTLS"]

    (scenario_on_asyncio if on_asyncio else scenario)(play)()


@scenario
async def test_a_unix_socket_needs_none(directory: Path) -> None:
    path = str(directory / "socket")
    async with running_tls_destination(path=path) as destination, running_outbound(settings(VERIFIED)) as outbound:
        answers, _ = await outbound.deliver(outbound.to(path), "a@one.test")
        assert answers == TAKEN
        assert not talk(destination).encrypted
        assert not only_connection(outbound).verified


@scenario
async def test_the_hosts_own_name_is_expected_unless_another_is_given() -> None:
    context = server_context(issue("localhost"))
    async with (
        running_tls_destination(context) as destination,
        running_outbound(settings(VERIFIED, name="")) as outbound,
    ):
        (localhost,) = outbound.directory.destinations(Route((Host("localhost", destination.port),)))
        answers, _ = await outbound.deliver(localhost, "a@one.test")
        assert answers == TAKEN
        assert await ask(outbound, destination.port) == replies.TLS_FAILED  # 127.0.0.1 is another


@scenario
async def test_ehlo_inside_tls_is_what_counts() -> None:  # T33
    async with running_tls_destination() as destination, running_outbound(settings(REQUIRED)) as outbound:
        in_clear = "250-destination.test\r\n250-STARTTLS\r\n250-PIPELINING\r\n250-SIZE 1\r\n250 PRDR"
        inside = "250-destination.test\r\n250 8BITMIME"
        destination.answers[Phase.EHLO] = lambda _: inside if talk(destination).encrypted else in_clear
        answers, _ = await outbound.deliver(outbound.to(destination.port), "a@one.test")
        assert answers == TAKEN
        extensions = only_connection(outbound).extensions
        assert "8BITMIME" in extensions
        assert not extensions.pipelining
        assert "SIZE" not in extensions


# -- sessions


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
@scenario
async def test_the_next_connection_takes_the_session_up_again(policy: str, implicit: bool) -> None:
    there = settings(policy, implicit=implicit, transactions=1)
    async with running_tls_destination(implicit=implicit) as destination, running_outbound(there) as outbound:
        for _ in range(3):
            await outbound.deliver(outbound.to(destination.port), "a@one.test")
            await until(lambda: not destination.open, "the connection to end")
        assert len(destination.talks) == 3
        assert [talk.resumed for talk in destination.talks] == [False, True, True]  # type: ignore[attr-defined]


# -- the certificate


BAD = {
    "expired": lambda: server_context(issue(NAME, days=-1)),
    "wrong name": lambda: server_context(issue("another.test")),
    "name in the subject only": lambda: server_context(authority(NAME)),
    "self-signed": lambda: server_context(authority("Nobody's")),
    "unknown authority": lambda: server_context(issue(NAME, by="Another Authority")),
}


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("kind", BAD)
@scenario
async def test_a_certificate_that_is_not_good_is_a_reason_to_try_again(kind: str, implicit: bool) -> None:
    there = settings(VERIFIED, implicit=implicit)
    async with (
        running_tls_destination(BAD[kind](), implicit=implicit) as destination,
        running_outbound(there) as outbound,
    ):
        with capture_logs() as told:
            for _ in range(2):
                assert await ask(outbound, destination.port) == replies.TLS_FAILED
        told = [event for event in told if event["event"] in ("tls_failed", "not_connected")]
        assert len(told) == 2
        assert all("certificate verify failed" in event["reason"] for event in told)
        assert not destination.commands("MAIL")
        assert all(talk.lines in ([], ["EHLO mx.moxy.test", "STARTTLS"]) for talk in destination.talks)


@pytest.mark.parametrize("policy", [OPPORTUNISTIC, REQUIRED])
@pytest.mark.parametrize("kind", BAD)
@scenario
async def test_where_it_is_not_judged_any_will_do(kind: str, policy: str) -> None:
    async with running_tls_destination(BAD[kind]()) as destination, running_outbound(settings(policy)) as outbound:
        answers, _ = await outbound.deliver(outbound.to(destination.port), "a@one.test")
        assert answers == TAKEN
        assert talk(destination).encrypted
        assert not only_connection(outbound).verified


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("judged", [False, True])
@scenario
async def test_a_pinned_certificate_is_the_only_one(judged: bool, implicit: bool) -> None:
    right, wrong = issue(NAME), issue(NAME)
    pins = frozenset({right.certificate.fingerprint(right.certificate.signature_hash_algorithm).hex()})
    client = trusting(pins=pins) if judged else TlsClient(Trust(pins=pins))
    there = settings(REQUIRED, client=client, implicit=implicit, transactions=1)
    async with (
        running_tls_destination(server_context(right), implicit=implicit) as good,
        running_tls_destination(server_context(wrong), implicit=implicit) as bad,
        running_outbound(there) as outbound,
    ):
        for _ in range(2):  # the session is taken up again, and its certificate is still known
            answers, _ = await outbound.deliver(outbound.to(good.port), "a@one.test")
            assert answers == TAKEN
        with capture_logs() as told:
            assert await ask(outbound, bad.port) == replies.TLS_FAILED
        assert "the certificate's fingerprint is" in told[-1]["reason"]
        assert not bad.commands("MAIL")


@scenario
async def test_we_show_our_own_certificate_to_whom_wants_it(directory: Path) -> None:
    chain, key = issue("mx.moxy.test").write(directory, "own")
    context = server_context(issue(NAME), clients=authority(AUTHORITY))
    async with running_tls_destination(context) as destination:
        async with running_outbound(settings(REQUIRED, client=TlsClient(Trust(chain=chain, key=key)))) as outbound:
            answers, _ = await outbound.deliver(outbound.to(destination.port), "a@one.test")
            assert answers == TAKEN
            assert "mx.moxy.test" in str(talk(destination).shown["subject"])
        async with running_outbound(settings(REQUIRED)) as outbound:
            reply = await ask(outbound, destination.port)  # in TLS 1.3 that comes to light after our handshake
            assert reply.code == 451
            assert len(destination.commands("MAIL")) == 1


# -- there is none (T34)


@pytest.mark.parametrize(
    ("policy", "reply"),
    [(REQUIRED, replies.TLS_NOT_OFFERED), (VERIFIED, replies.TLS_NOT_OFFERED), (OPPORTUNISTIC, None)],
)
@scenario
async def test_who_strips_starttls_gets_nothing_to_read_where_it_is_required(policy: str, reply: Reply | None) -> None:
    async with (
        running_tls_destination() as destination,
        running_proxy(destination.port) as proxy,
        running_relay(route(proxy.port), settings=settings(policy)) as relay,
        connected(relay.port) as client,
    ):
        seen = bytearray()

        def strip(way: Way, data: bytes) -> bytes:
            seen.extend(data if way is Way.TO_SERVER else b"")
            return data.replace(b"250-STARTTLS", b"250-XXXXXXXX")

        proxy.rewrite = strip
        if reply is None:
            assert (await client.deliver(["a@one.test"])).startswith("250")
            return
        with capture_logs() as told:
            assert await client.begin(["a@one.test"]) == [str(reply)]
        assert [event["event"] for event in told if event["log_level"] == "warning"] == ["tls_not_offered"]
        await client.leave()
        await until(lambda: not destination.open, "the connection to end")
        assert bytes(seen) == b"EHLO mx.moxy.test\r\nQUIT\r\n"


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("answer", ["454 4.7.0 not now", "502 5.5.1 what", "221 2.0.0 bye", "250 2.0.0 well", "354 x"])
@scenario
async def test_a_refusal_of_starttls_is_told_and_no_way_around_it(answer: str, policy: str) -> None:
    async with running_tls_destination() as destination, running_outbound(settings(policy)) as outbound:
        destination.starttls = answer
        with capture_logs() as told:
            if policy == OPPORTUNISTIC:
                answers, _ = await outbound.deliver(outbound.to(destination.port), "a@one.test")
                assert answers == TAKEN
            else:
                assert await ask(outbound, destination.port) == replies.TLS_FAILED
                assert not destination.commands("MAIL")
        assert [event["reply"] for event in told if event["event"] == "tls_refused"] == [answer]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("answer", ["421 4.3.2 closing", Act.CLOSE, Act.RESET])
@scenario
async def test_a_destination_that_goes_away_at_starttls_is_lost(answer: str, policy: str) -> None:
    async with running_tls_destination() as destination, running_outbound(settings(policy)) as outbound:
        destination.starttls = answer
        assert (await ask(outbound, destination.port)).code in (451, 421)
        assert not destination.commands("MAIL")


@scenario
async def test_a_failed_handshake_is_followed_by_mail_in_clear_for_a_while_where_tls_is_optional() -> None:
    async with (
        running_tls_destination() as destination,
        running_outbound(settings(OPPORTUNISTIC, transactions=1)) as outbound,
    ):
        destination.context = server_context(issue(NAME))
        destination.context.set_alpn_protocols(["x"])
        destination.context.sni_callback = lambda *_: 40  # alert: handshake failure
        with capture_logs() as told:
            for _ in range(2):
                answers, _ = await outbound.deliver(outbound.to(destination.port), "a@one.test")
                assert answers == TAKEN
        failures = [event for event in told if event["event"] == "tls_failed"]
        assert [event["then"] for event in failures] == [f"in clear for {IN_CLEAR:g} s"]
        assert len(destination.commands("STARTTLS")) == 1
        assert len(destination.talks) == 3
        destination.context = server_context(issue(NAME))
        encryption = outbound.to(destination.port).settings.encryption
        assert encryption is not None
        encryption.client.avoid(f"{LOOPBACK}:{destination.port}", outbound.ground.loop.time())  # the while is over
        await outbound.deliver(outbound.to(destination.port), "a@one.test")
        assert talk(destination).encrypted


@pytest.mark.parametrize("policy", [REQUIRED, VERIFIED])
@scenario
async def test_there_is_no_way_back_where_it_is_required(policy: str) -> None:
    async with running_tls_destination() as destination, running_outbound(settings(policy)) as outbound:
        destination.context.sni_callback = lambda *_: 40  # alert: handshake failure
        for _ in range(3):
            assert await ask(outbound, destination.port) == replies.TLS_FAILED
        assert all(talk.lines == ["EHLO mx.moxy.test", "STARTTLS"] for talk in destination.talks)


# -- what came in clear is not believed (T33)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "injected",
    [
        b"250 x\r\n",
        b"250-x\r\n250 8BITMIME\r\n",
        b"2",
        b"250-half",
        b"\r\n",
        b"421 4.3.2 x\r\n",
        b"\x16\x03\x01\x00\x05",
    ],
)
@scenario
async def test_replies_injected_behind_the_220_end_the_connection(injected: bytes, policy: str) -> None:
    async with (
        running_tls_destination() as destination,
        running_proxy(destination.port) as proxy,
        running_outbound(settings(policy)) as outbound,
    ):
        proxy.rewrite = lambda way, data: data + injected if data.startswith(b"220 2.0.0 go") else data
        reply = await ask(outbound, proxy.port)
        assert reply == replies.DESTINATION_GARBLED or str(reply) == "421 4.3.2 x"
        assert destination.talks[0].lines == ["EHLO mx.moxy.test", "STARTTLS"]
        proxy.rewrite = lambda _, data: data
        answers, _ = await outbound.deliver(outbound.to(proxy.port), "a@one.test")
        assert answers == TAKEN
        assert talk(destination).encrypted  # it has opened no way into the clear, even where TLS is optional


@pytest.mark.parametrize("policy", POLICIES)
@scenario
async def test_replies_injected_after_the_220_in_a_segment_of_their_own_are_not_believed(policy: str) -> None:
    async with running_tls_destination() as destination, running_outbound(settings(policy)) as outbound:
        real = TlsTalk._shake_hands

        async def inject(self: TlsTalk) -> None:
            await asyncio.sleep(0)
            self.transport.write(b"250-fake\r\n250 PIPELINING\r\n")
            await real(self)

        TlsTalk._shake_hands = inject  # type: ignore[method-assign]
        try:
            reply = await ask(outbound, destination.port)
        finally:
            TlsTalk._shake_hands = real  # type: ignore[method-assign]
        if policy == OPPORTUNISTIC:
            assert reply.positive  # in clear, on another connection
            assert not talk(destination).encrypted
        else:
            assert reply.code == 451
        assert destination.talks[0].lines == ["EHLO mx.moxy.test", "STARTTLS"]


@scenario
async def test_what_is_in_clear_inside_tls_ends_the_connection_and_is_told() -> None:
    async with running_tls_destination() as destination, running_outbound(settings(VERIFIED)) as outbound:
        await outbound.deliver(outbound.to(destination.port), "a@one.test")
        with capture_logs() as told:
            talk(destination).beneath.write(b"421 4.3.2 closing\r\n")
            await until(lambda: not outbound.ground.sweeper.watched, "the connection to end")
        assert [event["event"] for event in told] == ["tls_broken"]


@scenario
async def test_a_greeting_in_clear_is_none_where_tls_is_implicit() -> None:
    async with (
        running_tls_destination() as destination,
        running_outbound(settings(REQUIRED, implicit=True)) as outbound,
    ):
        assert await ask(outbound, destination.port) == replies.TLS_FAILED
        assert all(not talk.lines for talk in destination.talks)


# -- the network


@pytest.mark.parametrize(("connect", "connect_total"), [(0.2, 0.6), (5.0, 0.3)])
@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
@scenario
async def test_silence_in_the_handshake_ends_in_time(
    policy: str, implicit: bool, connect: float, connect_total: float
) -> None:
    async with running_tls_destination(implicit=implicit) as destination, running_proxy(destination.port) as proxy:
        there = settings(policy, implicit=implicit)
        async with running_outbound(there, connect=connect, connect_total=connect_total) as outbound:
            before = outbound.ground.loop.time()
            proxy.begin_anew(Fault(Way.TO_CLIENT, 300 if not implicit else 10, Kind.STALL))
            reply = await ask(outbound, proxy.port)
            assert reply.code == 451 or (policy == OPPORTUNISTIC and reply.positive and not implicit)
            assert outbound.ground.loop.time() - before < 5


@pytest.mark.slow
@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("kind", [Kind.CLOSE, Kind.RESET])
@scenario
async def test_a_handshake_that_is_cut_anywhere_is_a_reason_to_try_again(way: Way, kind: Kind) -> None:
    async with (
        running_tls_destination() as destination,
        running_proxy(destination.port) as proxy,
        running_outbound(settings(VERIFIED)) as outbound,
    ):
        for after in range(2000):
            proxy.begin_anew(Fault(way, after, kind))
            reply = await ask(outbound, proxy.port)
            if reply.positive:
                break
            assert reply.code == 451
            assert set(talk(destination).in_clear if destination.talks else ()) <= {"EHLO mx.moxy.test", "STARTTLS"}
        assert reply.positive
        assert after > 300


@scenario
async def test_content_over_tls_is_paused_for_a_slow_destination_and_never_ended_by_us() -> None:  # T18, T22
    async with running_tls_destination() as destination, running_outbound(settings(VERIFIED)) as outbound:
        delivery = outbound.open(outbound.to(destination.port))
        await outbound.begin(delivery, recipients("a@one.test"))
        talk(destination).transport.pause_reading()
        block, written = b"x" * 998 + b"\r\n", 0
        upstream = only_connection(outbound)
        while not upstream._full:
            assert written < 64 * WRITE_AHEAD
            delivery.write(block * 64)
            delivery.flush()
            written += 64 * len(block)
            await asyncio.sleep(0)
        transport = upstream._transport
        assert transport is not None
        assert transport.get_write_buffer_size() < 2 * WRITE_AHEAD
        talk(destination).transport.resume_reading()
        await until(lambda: not upstream._full, "the destination to take more")
        delivery.abort()
        await until(lambda: not destination.open, "the connection to end")
        assert not destination.messages
        assert not destination.ends_of_data


@scenario
async def test_whoever_listens_in_hears_clear_text_after_the_handshake_as_before() -> None:
    async with running_tls_destination() as destination, running_outbound(settings(VERIFIED)) as outbound:
        outbound.ground.overhear = overheard("destination", "C")
        with capture_logs() as told:
            await outbound.deliver(outbound.to(destination.port), "a@one.test")
        said = [event.get("C") or event.get("S") or "" for event in told if event["event"] == "dialogue"]
        assert said.count("EHLO mx.moxy.test") == 2
        assert "MAIL FROM:<sender@client.test>" in [line.partition(" SIZE")[0].partition(" BODY")[0] for line in said]
        assert [event["encrypted"] for event in told if "encrypted" in event] == ["TLSv1.3"]
        (agreed,) = [event for event in told if event["event"] == "encrypted"]
        assert (agreed["version"], agreed["resumed"], agreed["verified"]) == ("TLSv1.3", False, True)


@pytest.mark.parametrize("implicit", [False, True])
@scenario
async def test_a_proxy_header_goes_before_everything(implicit: bool) -> None:
    context = server_context(issue(NAME))
    async with (
        running_tls_destination(context, implicit=implicit) as destination,
        running_proxy(destination.port) as proxy,
        running_outbound(settings(VERIFIED, implicit=implicit, identity="proxy-v1")) as outbound,
    ):
        heads: list[bytes] = []

        def take(way: Way, data: bytes) -> bytes:
            if way is Way.TO_SERVER and data.startswith(b"PROXY "):
                header, end, data = data.partition(b"\r\n")
                heads.append(header + end)
            return data

        proxy.rewrite = take
        answers, _ = await outbound.deliver(outbound.to(proxy.port), "a@one.test")
        assert answers == TAKEN
        assert len(heads) == 1
        assert talk(destination).encrypted

"""T17 to T24, T42, T49 to T52: what fails, and who hears of it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from chaos.mutations import MUTATIONS
from conformance.order import ONE, TWO
from conformance.trap import trap
from moxy.errors import TemporaryFailure
from moxy.mail import Mode, Route
from moxy.outbound.upstream import WRITE_AHEAD
from moxy.smtp.address import ForwardPath
from support.destination import Act, Phase, running_destination
from support.mutation import Wrong
from support.relay import Relay, route, running_relay
from support.scenario import until
from support.smtpclient import Client, connected

CONTENT = b"Subject: test\r\n\r\ntext\r\n"


def as_in_chaos(seam: str, nth: int = 0) -> tuple[str, str, Wrong]:
    """The mistake of that seam that the proof of the promise has, too."""
    mutation = [one for one in MUTATIONS if one.seam == seam][nth]
    return mutation.name.partition(" (")[0], seam, mutation.wrong


async def _until_dot(client: Client, recipients: list[str]) -> None:
    """A transaction up to its dot, whose verdict is withheld."""
    await client.begin(recipients)
    assert (await client.ask("DATA")).startswith("354")
    client.write(CONTENT + b".\r\n")


@trap(17, ONE, *as_in_chaos("inbound.memory:Memory.concerns"))
async def a_reply_that_is_lost_makes_no_second_copy() -> None:
    """The client is gone when the verdict comes; its retry is told 250, and the destination gets no second copy."""
    with tempfile.TemporaryDirectory() as directory:
        ledger = Path(directory) / "ledger.db"
        async with (
            running_destination() as destination,
            running_relay(route(destination.port), ledger=ledger) as relay,
        ):
            destination.answers[Phase.FINAL] = Act.SILENCE
            async with connected(relay.port) as client:
                await _until_dot(client, ["b@one.test"])
                await until(lambda: destination.silences, "the dot")
                client.reset()
            destination.release("250 2.0.0 taken")
            await until(lambda: relay.records, "the delivery to be recorded")
            async with connected(relay.port) as client:
                assert (await client.deliver(["b@one.test"], CONTENT)).startswith("250")
            assert len(destination.messages) == 1


@trap(18, ONE, *as_in_chaos("outbound.relay:RelayDelivery.abort"))
async def a_client_that_vanishes_before_its_dot_leaves_nothing() -> None:
    """The client resets its connection in the middle of the content: the destination's is closed without a dot."""
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        async with connected(relay.port) as client:
            await client.begin(["b@one.test"])
            assert (await client.ask("DATA")).startswith("354")
            client.write(CONTENT)
            await until(lambda: destination.talks[0].octets, "content at the destination")
            client.reset()
        await until(lambda: destination.talks[0].over, "the destination's connection to end")
        assert not destination.ends_of_data


@trap(19, ONE, *as_in_chaos("inbound.conversation:Conversation.end"))
async def a_client_that_vanishes_after_its_dot_changes_nothing() -> None:
    """The client is gone while the destination thinks about the dot: its verdict still counts, and is recorded."""
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        destination.answers[Phase.FINAL] = Act.SILENCE
        async with connected(relay.port) as client:
            await _until_dot(client, ["b@one.test"])
            await until(lambda: destination.silences, "the dot")
            client.reset()
        await until(lambda: not relay.service.connections, "the client to be gone")
        destination.release("250 2.0.0 taken")
        await until(lambda: relay.records, "the delivery to be recorded")
        assert [record.outcome for record in relay.records] == ["delivered"]
        assert len(destination.messages) == 1


@trap(
    20, "two hosts of one destination", "no host is preferred on retry", "inbound.memory:Known.unknown_at",
    lambda _: lambda *_: "",
)  # fmt: skip
async def silence_after_the_dot_is_unknown_and_the_retry_goes_there_again() -> None:
    """A destination keeps silent after the dot: 451 4.4.2, recorded as unknown. The retry goes to the same host first,
    although another one of the destination comes before it."""
    with tempfile.TemporaryDirectory() as directory:
        ledger = Path(directory) / "ledger.db"
        async with running_destination() as first, running_destination() as second:
            hosts = route(first.port, second.port, mode=Mode.FAILOVER)
            async with running_relay(hosts, ledger=ledger) as relay, connected(relay.port) as client:
                first.answers[Phase.GREETING] = "421 later"
                second.answers[Phase.FINAL] = Act.SILENCE
                await _until_dot(client, ["b@one.test"])
                await until(lambda: second.silences, "the dot")
                relay.pass_time(500)
                assert (await client.reply()).startswith("451 4.4.2")
                assert [record.outcome for record in relay.records] == ["unknown"]
                first.answers[Phase.GREETING] = "220 first.test"
                second.answers[Phase.FINAL] = "250 2.0.0 taken"
                for pool in relay.pools:
                    pool._failed = float("-inf")  # that it could not be reached is long ago
                assert (await client.deliver(["b@one.test"], CONTENT)).startswith("250")
            assert not first.messages
            assert len(second.messages) == 1


@trap(
    21, ONE, "a refusal during content is not heard", "outbound.upstream:Upstream._early", lambda _: lambda *_: None
)  # fmt: skip
async def an_early_refusal_is_told_after_the_dot() -> None:
    """A destination refuses in the middle of the content: the client is read to its dot, hears nothing before it, and
    then that refusal."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.early = 100, "552 5.3.4 too much of it"
        await client.begin(["b@one.test"])
        assert (await client.ask("DATA")).startswith("354")
        client.write(b"x" * 70 + b"\r\n" + b"x" * 70 + b"\r\n")
        await until(lambda: destination.early is None, "the refusal")
        for _ in range(1000):
            client.write(b"x" * 70 + b"\r\n")
        await asyncio.sleep(0)
        assert client.replies.empty()
        client.write(b".\r\n")
        assert (await client.reply()) == "552 5.3.4 too much of it"
        assert not destination.messages


def _never_blocks(_: Any) -> Any:
    return lambda flow: setattr(flow, "_blocked", flow._blocked + 1)


@trap(22, TWO, "a full destination stops nobody", "delivery.flow:Flow.block", _never_blocks)
async def the_slowest_destination_sets_the_pace_within_a_bounded_buffer() -> None:
    """One of two destinations does not read: what waits for it in Moxy stays bounded, and the client is not read."""
    async with running_destination() as slow, running_destination() as fast:
        routes = {"slow.test": route(slow.port), "fast.test": route(fast.port)}
        slow.keeps_content = fast.keeps_content = False
        async with running_relay(routes) as relay, connected(relay.port) as client:
            await client.begin(["b@slow.test", "c@fast.test"])
            assert (await client.ask("DATA")).startswith("354")
            slow.talks[0].transport.pause_reading()
            block = b"x" * 998 + b"\r\n"
            client.write(block * 30_000)
            (connection,) = relay.service.connections
            await until(lambda: not connection._reading, "the client not to be read")
            held = [upstream._transport.get_write_buffer_size() for pool in relay.pools for upstream in pool._open]
            assert max(held) <= WRITE_AHEAD + 512 * 1024
            slow.talks[0].transport.resume_reading()
            client.write(b".\r\n")
            assert (await client.reply()).startswith("250")
        assert slow.ends_of_data == fast.ends_of_data == 1


def _word_for_word(_: Any) -> Any:
    return lambda reply, phase: reply


@trap(23, ONE, "421 is passed on", "outbound.relay:pass_on", _word_for_word)
async def a_destinations_421_ends_its_own_connection_only() -> None:
    """A destination says 421 to the second recipient: the client is told 451 4.4.2, and its session goes on."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        assert (await client.begin(["b@one.test"]))[0].startswith("250")
        destination.answers[Phase.RCPT] = "421 4.3.2 going down"
        assert (await client.ask("RCPT TO:<c@one.test>")).startswith("451 4.4.2")
        assert (await client.ask("NOOP")).startswith("250")


@trap(24, ONE, "a kept connection is trusted", "outbound.relay:ATTEMPTS", lambda _: 1)
async def a_kept_connection_that_is_about_to_close_is_replaced_in_silence() -> None:
    """The destination answers 421 on a connection that Moxy kept: the transaction goes on over a new one, and the
    client hears nothing of it."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        assert (await client.deliver(["b@one.test"])).startswith("250")
        told = iter(["421 4.4.2 you were idle"])
        destination.answers[Phase.MAIL] = lambda _: next(told, "250 fine")
        assert (await client.deliver(["b@one.test"])).startswith("250")
        assert len(destination.talks) == 2
        assert len(destination.messages) == 2


@trap(42, ONE, "any answer is passed on", "outbound.relay:pass_on", _word_for_word)
async def an_impossible_answer_is_451_and_ends_that_connection() -> None:
    """354 to RCPT, 250 to DATA, 334 to the dot: 451, and the connection to that destination is closed."""
    for phase, answer in ((Phase.RCPT, "354 go"), (Phase.DATA, "250 done"), (Phase.FINAL, "334 more")):
        async with (
            running_destination() as destination,
            running_relay(route(destination.port)) as relay,
            connected(relay.port) as client,
        ):
            destination.answers[phase] = answer
            told = (await client.begin(["b@one.test"]))[0]
            if phase is not Phase.RCPT:
                told = await client.data(CONTENT)
            assert told.startswith("451 4."), told
            await until(lambda there=destination: there.talks[0].over, "the connection to be closed")


class _NeverRaisedError(Exception):
    """Never raised."""


class _Down:
    """A table that cannot tell."""

    async def lookup(self, path: ForwardPath) -> Route | None:
        raise TemporaryFailure("the database is down")

    def refresh(self) -> None: ...

    def close(self) -> None: ...


@trap(
    49, "a route table that cannot tell", "a failed look-up is no reply", "inbound.conversation:TemporaryFailure",
    lambda _: _NeverRaisedError,
)  # fmt: skip
async def a_database_that_is_down_is_451_and_never_unknown_user() -> None:
    """The table raises: the recipient is told 451 4.4.3."""
    async with running_relay({}) as relay, connected(relay.port) as client:
        relay.service.routes = _Down()
        assert (await client.begin(["b@one.test"]))[0].startswith("451 4.4.3")


def _answers_kept(right: Any) -> Any:
    kept: dict[str, Any] = {}

    async def rcpt(delivery: Any, recipient: Any) -> Any:
        if recipient.path.key not in kept:
            kept[recipient.path.key] = await right(delivery, recipient)
        return kept[recipient.path.key]

    return rcpt


@trap(50, ONE, "answers to RCPT are kept", "outbound.relay:RelayDelivery.rcpt", _answers_kept)
async def every_recipient_is_asked_for_each_time() -> None:
    """A recipient that was refused is accepted the next time, and the other way round: no answer is kept."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        for answer in ("550 5.1.1 no", "250 2.1.5 yes", "450 4.2.1 not now"):
            destination.answers[Phase.RCPT] = answer
            assert (await client.begin(["b@one.test"])) == [answer]
            await client.ask("RSET")


def _bad_health(right: Any) -> Any:
    def noted(delivery: Any, recipient: Any, reply: Any) -> Any:
        if not reply.positive:
            delivery._destination._in_order[0]._failed = delivery._loop.time()
        return right(delivery, recipient, reply)

    return noted


async def _refused_and_asked_again(answer: str) -> None:
    async with running_destination() as first, running_destination() as second:
        hosts = route(first.port, second.port, mode=Mode.FAILOVER)
        async with running_relay(hosts) as relay, connected(relay.port) as client:
            first.answers[Phase.RCPT] = answer
            for _ in range(2):
                assert (await client.begin(["b@one.test"])) == [answer]
                await client.ask("RSET")
                await _until_free(relay)
            assert not second.talks


async def _until_free(relay: Relay) -> None:
    await until(lambda: all(pool._open == set(pool._idle) for pool in relay.pools), "connections to be given back")


@trap(
    51, "two hosts of one destination", "greylisting counts as bad health", "outbound.relay:RelayDelivery._noted",
    _bad_health,
)  # fmt: skip
async def greylisting_is_passed_on_and_is_no_failure_of_the_host() -> None:
    """A host that greylists is asked again the next time; the other host of its destination is not bothered."""
    await _refused_and_asked_again("451 4.7.1 greylisted, come again")


@trap(
    52, "two hosts of one destination", "refusals count as bad health", "outbound.relay:RelayDelivery._noted",
    _bad_health,
)  # fmt: skip
async def refusals_are_no_sign_of_bad_health() -> None:
    """A host that says 550 stays the first of its destination; one that could not be reached does not."""
    await _refused_and_asked_again("550 5.1.1 no such user")
    async with running_destination() as first, running_destination() as second:
        hosts = route(first.port, second.port, mode=Mode.FAILOVER)
        async with running_relay(hosts) as relay, connected(relay.port) as client:
            first.answers[Phase.GREETING] = "421 later"
            for _ in range(2):
                assert (await client.deliver(["b@one.test"])).startswith("250")
            assert len(first.talks) == 1
            assert len(second.messages) == 2

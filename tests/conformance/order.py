"""T1 to T6: replies in order, in time, and none too many."""

from __future__ import annotations

from typing import Any

from conformance.trap import trap
from moxy.smtp import replies
from moxy.smtp.command import Data
from moxy.smtp.state import State
from support.destination import Act, Phase, running_destination
from support.relay import Relay, route, running_relay
from support.scenario import until
from support.smtpclient import connected

ONE = "a scripted destination"
TWO = "two scripted destinations"


async def _all_is_heard(relay: Relay, domain: str) -> None:
    """Wait until what the domain's destination has said is heard: it answers another client after that."""
    async with connected(relay.port) as other:
        assert (await other.begin([f"other@{domain}"]))[0].startswith("250")


def _as_they_come(_: Any) -> Any:
    def answer(receiver: Any, command: Any, reply: Any) -> None:
        receiver._waiting.remove(command)
        receiver._settle(command, reply)
        receiver.ready = bool(receiver._buffer)

    return answer


@trap(1, TWO, "replies leave as they come", "smtp.receiver:Receiver.answer", _as_they_come)
async def replies_leave_in_the_order_of_the_commands() -> None:
    """Pipelined RCPTs for two destinations: both are asked at once, and the answer of the fast one waits for the slow
    one's."""
    async with running_destination() as slow, running_destination() as fast:
        routes = {"slow.test": route(slow.port), "fast.test": route(fast.port)}
        async with running_relay(routes) as relay, connected(relay.port) as client:
            slow.answers[Phase.RCPT] = Act.SILENCE
            client.send("MAIL FROM:<a@client.test>", "RCPT TO:<s@slow.test>", "RCPT TO:<f@fast.test>")
            assert (await client.reply()).startswith("250 2.1.0")
            await until(lambda: slow.silences, "the slow destination to be asked")
            await fast.reached("RCPT")
            await _all_is_heard(relay, "fast.test")
            slow.release("550 5.1.1 not here")
            assert (await client.reply()).startswith("550 5.1.1")
            assert (await client.reply()).startswith("250 2.1.5")


def _when_all_is_answered(right: Any) -> Any:
    def settle(connection: Any) -> None:
        if not connection._receiver.waiting:
            right(connection)

    return settle


@trap(
    2, ONE, "replies are held while one is due", "inbound.connection:ClientConnection._settle", _when_all_is_answered
)  # fmt: skip
async def no_reply_is_held_back_for_another() -> None:
    """A client that pipelines MAIL and RCPT has the reply to MAIL while the destination still thinks about RCPT."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.RCPT] = Act.SILENCE
        client.send("MAIL FROM:<a@client.test>", "RCPT TO:<b@one.test>")
        assert (await client.reply()).startswith("250 2.1.0")
        await until(lambda: destination.silences, "the destination to be asked")
        destination.release("250 2.1.5 fine")
        assert (await client.reply()).startswith("250 2.1.5")


def _data_without_recipients(right: Any) -> Any:
    return {**right, State.MAIL: {**right[State.MAIL], Data: State.CONTENT}}


@trap(3, ONE, "DATA needs no recipient", "smtp.receiver:TRANSITIONS", _data_without_recipients)
async def data_behind_recipients_that_all_failed_is_refused() -> None:
    """MAIL, two RCPTs that are refused, and DATA in one write: 554, the session goes on with commands, and no
    destination hears of DATA."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.RCPT] = "550 5.1.1 no"
        client.send("MAIL FROM:<a@client.test>", "RCPT TO:<b@one.test>", "RCPT TO:<c@one.test>", "DATA", "NOOP")
        codes = [(await client.reply())[:3] for _ in range(5)]
        assert codes == ["250", "550", "550", "554", "250"]
        assert not destination.commands("DATA")


def _says_so_at_once(_: Any) -> Any:
    async def ask(*_: Any) -> None:
        """Ask nobody."""

    return ask


@trap(4, TWO, "354 asks nobody", "inbound.transaction:Transaction._ask_all_for_data", _says_so_at_once)
async def data_is_answered_when_every_destination_has_answered() -> None:
    """The whole envelope in one write; one of two destinations withholds its 354: the client has none before it."""
    async with running_destination() as one, running_destination() as two:
        routes = {"one.test": route(one.port), "two.test": route(two.port)}
        async with running_relay(routes) as relay, connected(relay.port) as client:
            two.answers[Phase.DATA] = Act.SILENCE
            client.send("MAIL FROM:<a@client.test>", "RCPT TO:<b@one.test>", "RCPT TO:<c@two.test>", "DATA")
            assert [(await client.reply())[:3] for _ in range(3)] == ["250"] * 3
            await until(lambda: two.silences, "the second destination to be asked for DATA")
            await one.reached("DATA")
            await _all_is_heard(relay, "one.test")
            assert client.replies.empty()
            two.release("354 go on")
            assert (await client.reply()).startswith("354")
            client.write(b"text\r\n.\r\n")
            assert (await client.reply()).startswith("250")


@trap(
    5, TWO, "a refused DATA is not heard", "inbound.transaction:Transaction._hear_of_data", lambda _: lambda *_: None
)  # fmt: skip
async def a_destination_that_refuses_data_ends_the_transaction_for_all() -> None:
    """One destination says 354, the other 450: the client is told 4xx at DATA, and nobody has anything. If the one that
    refuses is a `best_effort` copy, the message goes on without it."""
    async with running_destination() as one, running_destination() as two:
        routes = {
            "one.test": route(one.port),
            "two.test": route(two.port),
            "copied.test": route(one.port, copies=(two.port,)),
        }
        async with running_relay(routes) as relay:
            two.answers[Phase.DATA] = "450 4.3.2 not now"
            async with connected(relay.port) as client:
                await client.begin(["b@one.test", "c@two.test"])
                assert (await client.ask("DATA")).startswith("4")
                assert not one.ends_of_data + two.ends_of_data
                await client.ask("RSET")
                assert (await client.deliver(["d@copied.test"])).startswith("250")
            assert len(one.messages) == 1


@trap(
    6, ONE, "the refusal of MAIL is forgotten", "outbound.relay:RelayDelivery._fail", lambda _: lambda _, reply: reply
)
async def mail_is_answered_here_and_told_with_the_first_recipient() -> None:
    """MAIL is answered before any destination is known; a destination's refusal of it answers this RCPT and all later
    ones for the same destination."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        assert (await client.ask("MAIL FROM:<a@client.test>")) == replies.SENDER_OK.wire.decode().rstrip()
        assert not destination.talks
        destination.answers[Phase.MAIL] = "550 5.7.1 not from you"
        for recipient in ("b", "c"):
            assert (await client.ask(f"RCPT TO:<{recipient}@one.test>")) == "550 5.7.1 not from you"
        assert len(destination.commands("MAIL")) == 1

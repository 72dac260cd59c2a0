"""T29 to T31, T40, T44, T45, T54: content, its lines, its end and its trace."""

from __future__ import annotations

import asyncio
from typing import Any

from conformance.order import ONE
from conformance.trap import trap
from support.destination import running_destination
from support.relay import route, running_relay
from support.smtpclient import connected

SMUGGLED = b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<victim@one.test>\r\nDATA\r\nsmuggled\r\n.\r\n"


@trap(
    29, ONE, "line ends are not looked at", "smtp.content:LineEndAudit.clean", lambda _: lambda *_: True
)  # fmt: skip
async def only_crlf_dot_crlf_ends_a_message_and_other_line_ends_are_refused() -> None:
    """A message in the message, behind each of the false ends LF.LF, LF.CRLF, CRLF.LF, CR.CR, CR.CRLF and CRLF.CR: it
    is all one message, it is refused with 554 5.6.0, and the destination holds nothing."""
    for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r"):
        async with (
            running_destination() as destination,
            running_relay(route(destination.port)) as relay,
            connected(relay.port) as client,
        ):
            content = b"Subject: test\r\n\r\ntext" + end + SMUGGLED.removesuffix(b".\r\n")
            assert (await client.deliver(["b@one.test"], content)).startswith("554 5.6.0")
            assert not destination.ends_of_data
            assert (await client.ask("NOOP")).startswith("250")


def _undone(right: Any) -> Any:
    return lambda transaction, block: right(transaction, block.replace(b"\r\n..", b"\r\n."))


@trap(30, ONE, "dots are unstuffed and not stuffed again", "inbound.transaction:Transaction.write", _undone)
async def no_dot_leaves_by_accident() -> None:
    """Content with lines of dots, stuffed by the client: what reaches the destination has one end, and is the same."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        content = b"Subject: dots\r\n\r\ntext\r\n.\r\n..\r\n.x\r\n" + SMUGGLED
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        assert (await client.deliver(["b@one.test"], stuffed)).startswith("250")
        assert [message.below_trace for message in destination.messages] == [content]


@trap(
    31, ONE, "nothing is held back at the end of a block", "smtp.content:EndOfDataFinder._undecided",
    lambda _: lambda *_: 0,
)  # fmt: skip
async def the_end_is_found_wherever_the_stream_is_cut() -> None:
    """A message with dots in all places, cut in two at every octet: the same message each time."""
    wire = b"..\r\n\r\n..\r\ntext.\r\n..\r\n.\r\n"
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        for place in range(1, len(wire)):
            await client.begin(["b@one.test"])
            assert (await client.ask("DATA")).startswith("354")
            (connection,) = relay.service.connections
            client.write(wire[:place])
            while connection._pace.octets < place:
                await asyncio.sleep(0)
            client.write(wire[place:])
            assert (await client.reply()).startswith("250")
        contents = {message.below_trace for message in destination.messages}
        assert contents == {b".\r\n\r\n.\r\ntext.\r\n.\r\n"}
        assert len(destination.messages) == len(wire) - 1


def _any_length(right: Any) -> Any:
    def init(receiver: Any, **named: Any) -> None:
        right(receiver, **{**named, "command_line": 1_000_000})

    return init


@trap(40, ONE, "a command may have any length", "smtp.receiver:Receiver.__init__", _any_length)
async def command_lines_are_bounded_and_text_lines_pass() -> None:
    """A command of 5,000 octets is 500 5.5.2, whole and cut, and the session goes on; a text line of 20,000 octets
    passes as it is."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        assert (await client.ask("NOOP " + "x" * 5000)).startswith("500 5.5.2")
        assert (await client.ask("NOOP")).startswith("250")
        content = b"Subject: long\r\n\r\n" + b"x" * 20_000 + b"\r\n"
        assert (await client.deliver(["b@one.test"], content)).startswith("250")
        assert destination.messages[0].below_trace == content


@trap(44, "a scripted destination, and Moxy itself", "fields are not counted", "message.trace:HopCounter.feed",
      lambda _: lambda *_: None)  # fmt: skip
async def a_trace_field_is_put_on_top_and_loops_are_found() -> None:
    """One `Received` field with the client's address, its name and the protocol, `for` only with a single recipient; a
    message with 51 such fields is 554 5.4.6 and has no dot; a route to Moxy itself is 554 5.4.6 at RCPT."""
    async with (
        running_destination() as destination,
        running_relay({"one.test": route(destination.port)}) as relay,
        connected(relay.port) as client,
    ):
        assert (await client.deliver(["b@one.test"])).startswith("250")
        assert (await client.deliver(["b@one.test", "c@one.test"])).startswith("250")
        single, several = [message.content for message in destination.messages]
        assert single.startswith(b"Received: from client.test ([127.0.0.1])\r\n\tby mx.moxy.test with ESMTP id ")
        assert b"\r\n\tfor <b@one.test>;" in single
        assert b"\tfor <" not in several
        assert (await client.deliver(["b@one.test"], b"Received: x\r\n" * 51 + b"\r\n")).startswith("554 5.4.6")
        assert destination.ends_of_data == 2
        relay.ground.listening = frozenset({("127.0.0.1", relay.port)})
        relay.service.routes.routes["self.test"] = route(relay.port)  # type: ignore[attr-defined]
        assert (await client.begin(["b@self.test"]))[0].startswith("554 5.4.6")


def _tidied(right: Any) -> Any:
    return lambda transaction, block: right(transaction, block.replace(b" \r\n", b"\r\n"))


@trap(45, ONE, "blanks at the ends of lines are removed", "inbound.transaction:Transaction.write", _tidied)
async def what_stands_below_our_field_is_not_touched() -> None:
    """A message with a signature, folded fields, blanks at line ends, 8-bit octets and no final empty line: below our
    trace field it is octet for octet the same. (Results of our own checks do not exist yet: there is nothing to remove
    of them.)"""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        content = (
            b"DKIM-Signature: v=1; a=rsa-sha256;\r\n\tbh=xyz; b=abc \r\nAuthentication-Results: mx.moxy.test; none\r\n"
            b"Subject:  two  blanks \r\n\r\n\xe4\xf6\xfc \r\n\t \r\nend \r\n"
        )
        assert (await client.deliver(["b@one.test"], content)).startswith("250")
        assert destination.messages[0].below_trace == content


def _as_on_the_wire(right: Any) -> Any:
    return lambda transaction, octets: right(transaction, transaction._account.octets)


@trap(54, "two scripted destinations", "stuffed dots count", "inbound.transaction:Transaction.finish", _as_on_the_wire)
async def a_messages_size_is_its_octets_unstuffed_once_for_each_delivery() -> None:
    """A message with stuffed dots for two recipients of one destination and one of another: two records, each with the
    octets of the content without our field and without the stuffing."""
    async with running_destination() as one, running_destination() as two:
        routes = {"one.test": route(one.port), "two.test": route(two.port)}
        async with running_relay(routes) as relay, connected(relay.port) as client:
            content = b"Subject: size\r\n\r\n..\r\n...\r\n"
            assert (await client.deliver(["a@one.test", "b@one.test", "c@two.test"], content)).startswith("250")
            assert [record.size for record in relay.records] == [len(content) - 2] * 2

"""T43, T46 to T48: addresses, and who they are."""

from __future__ import annotations

from typing import Any

from conformance.order import ONE
from conformance.trap import trap
from moxy.smtp import replies
from moxy.smtp.address import ForwardPath
from support.destination import Phase, running_destination
from support.relay import route, running_relay
from support.smtpclient import connected


def _in_lower_case(right: Any) -> Any:
    return lambda recipient, *more: right(recipient, *more).lower()


def _552_is_mended(right: Any) -> Any:
    return lambda reply, phase: right(reply.with_code(550) if reply.code == 552 else reply, phase)


@trap(43, ONE, "552 becomes 550", "outbound.relay:pass_on", _552_is_mended)
async def a_552_to_rcpt_passes_and_queueing_clients_take_it_for_452() -> None:
    """A destination's 552 to RCPT reaches the client as it is: by RFC 5321 §4.5.3.1.10 clients that queue treat it as
    452 themselves (Postfix does), and one that does not would be misled by anything else. What Moxy refuses itself for
    its size is 550 (T11)."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.RCPT] = "552 5.2.2 too many"
        assert (await client.begin(["b@one.test"])) == ["552 5.2.2 too many"]


def _nobodys(_: Any) -> Any:
    return lambda *_: ForwardPath.parse("postmaster@nowhere.test")


@trap(46, ONE, "the bare postmaster has no route", "inbound.conversation:Conversation._postmaster", _nobodys)
async def the_null_sender_and_postmaster_pass() -> None:
    """`MAIL FROM:<>` reaches the destination as it is; `RCPT TO:<Postmaster>` without a domain takes its route."""
    async with (
        running_destination() as destination,
        running_relay({"one.test": route(destination.port)}) as relay,
        connected(relay.port) as client,
    ):
        relay.service.postmaster = "postmaster@one.test"
        assert (await client.ask("MAIL FROM:<>")).startswith("250")
        for recipient in ("b@one.test", "postmaster@one.test", "Postmaster"):
            assert (await client.ask(f"RCPT TO:<{recipient}>")).startswith("250")
        assert (await client.data(b"text\r\n")).startswith("250")
        (message,) = destination.messages
        assert message.mail.startswith("FROM:<>")
        assert message.recipients[-1] == "Postmaster"


def _once_only(right: Any) -> Any:
    async def ask(recipients: Any, recipient: Any, route: Any) -> Any:
        if any(other.path.text == recipient.path.text for _, other, _ in recipients.accepted):
            return replies.TOO_MANY_RECIPIENTS
        return await right(recipients, recipient, route)

    return ask


@trap(47, ONE, "the same recipient again is refused", "inbound.recipients:Recipients.ask", _once_only)
async def the_same_recipient_twice_is_answered_twice() -> None:
    """The same RCPT twice: each is asked for and answered, in one delivery of one message."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        assert (await client.deliver(["b@one.test", "b@one.test"])).startswith("250")
        assert [message.recipients for message in destination.messages] == [("b@one.test", "b@one.test")]


@trap(48, ONE, "local parts are put into lower case", "outbound.parameters:rcpt_command", _in_lower_case)
async def domains_have_no_case_and_local_parts_have() -> None:
    """ONE.test, one.TEST and a quoted local part find the same route; the destination sees each address as it was
    written. A domain outside ASCII is found by its A-labels and the other way round."""
    async with (
        running_destination() as destination,
        running_relay(dict.fromkeys(["one.test", "xn--bcher-kva.test"], route(destination.port))) as relay,
    ):
        destination.answers[Phase.EHLO] = "250-destination.test\r\n250-SMTPUTF8\r\n250 8BITMIME"
        relay.service.announce(frozenset({"8BITMIME", "SMTPUTF8"}))
        async with connected(relay.port) as client:
            written = ["Ann@ONE.test", "ann@one.TEST", '"Ann B"@One.Test', "a%b@one.test", "a@XN--BCHER-KVA.test"]
            assert (await client.deliver(written)).startswith("250")
            assert destination.messages[0].recipients == tuple(written)
            assert (await client.ask("MAIL FROM:<a@client.test> SMTPUTF8")).startswith("250")
            assert (await client.ask("RCPT TO:<a@B\u00dccher.test>")).startswith("250")
            assert destination.talks[0].lines[-1].encode("latin-1").decode() == "RCPT TO:<a@B\u00dccher.test>"

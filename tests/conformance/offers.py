"""T7 to T11, T15, T16: what is offered, and what is due where a destination lacks it."""

from __future__ import annotations

from typing import Any

from conformance.order import TWO
from conformance.trap import trap
from moxy.mail import Envelope
from support.destination import Phase, running_destination
from support.relay import route, running_relay
from support.smtpclient import connected

RICH = "250-rich.test\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN"
OURS = {"PIPELINING", "SIZE", "ENHANCEDSTATUSCODES", "CHUNKING", "PRDR", "LIMITS"}
POOR = "250-poor.test\r\n250 SIZE 5000"


def _as_received(_: Any) -> Any:
    def known(parameters: Any, offered: Any, **_: Any) -> str:
        return "".join(f" {keyword}={value}" if value else f" {keyword}" for keyword, value in parameters.items())

    return known


@trap(7, TWO, "parameters pass as they are", "outbound.parameters:_known", _as_received)
async def each_destination_gets_the_parameters_that_it_knows() -> None:
    """MAIL with SIZE, RET and ENVID, RCPT with NOTIFY and ORCPT, for a destination that offers SIZE and DSN and one
    that offers SIZE only: each gets its own MAIL and RCPT."""
    async with running_destination() as rich, running_destination() as poor:
        rich.answers[Phase.EHLO], poor.answers[Phase.EHLO] = RICH, POOR
        routes = {"rich.test": route(rich.port), "poor.test": route(poor.port)}
        async with running_relay(routes) as relay:
            relay.service.announce(frozenset({"8BITMIME", "DSN"}))
            async with connected(relay.port) as client:
                assert (await client.ask("MAIL FROM:<a@client.test> SIZE=100 RET=HDRS ENVID=x1")).startswith("250")
                for domain in ("rich", "poor"):
                    parameters = "NOTIFY=FAILURE ORCPT=rfc822;b@client.test"
                    assert (await client.ask(f"RCPT TO:<b@{domain}.test> {parameters}")).startswith("250")
                assert (await client.data(b"text\r\n")).startswith("250")
        assert rich.commands("MAIL") == ["MAIL FROM:<a@client.test> SIZE=100 RET=HDRS ENVID=x1"]
        assert rich.commands("RCPT") == ["RCPT TO:<b@rich.test> NOTIFY=FAILURE ORCPT=rfc822;b@client.test"]
        assert poor.commands("MAIL") == ["MAIL FROM:<a@client.test> SIZE=100"]
        assert poor.commands("RCPT") == ["RCPT TO:<b@poor.test>"]


@trap(8, TWO, "nothing is learned", "outbound.profile:Profile.learn", lambda _: lambda *_, **__: None)
async def what_is_offered_is_what_destinations_can_do() -> None:
    """Before anything is known, 8BITMIME is offered, and what is ours alone. A destination with DSN and SMTPUTF8: both
    are offered. One without them, too: DSN is offered no more, since a sender can do without, and SMTPUTF8 still is,
    since it cannot."""
    async with running_destination() as rich, running_destination() as other:
        rich.answers[Phase.EHLO] = RICH
        routes = {"rich.test": route(rich.port), "other.test": route(other.port)}
        async with running_relay(routes) as relay:
            relay.ground.profile.changed = relay.service.announce
            for domain, offered in (
                ("", {"8BITMIME"}),
                ("rich", {"8BITMIME", "DSN", "SMTPUTF8"}),
                ("other", {"8BITMIME", "SMTPUTF8"}),
            ):
                async with connected(relay.port) as client:
                    if domain:
                        assert (await client.deliver([f"b@{domain}.test"])).startswith("250")
                    lines = (await client.ask("EHLO client.test")).splitlines()
                    heard = {line[4:].split()[0] for line in lines[1:]} - OURS
                    assert heard == offered, heard


def _nothing_passes(_: Any) -> Any:
    return lambda envelope, recipients, upstream, settings: None


async def _told_for(mail: str, expected: str) -> None:
    """The recipient whose destination lacks what `mail` needs hears `expected`; the other one has the message."""
    async with running_destination() as rich, running_destination() as poor:
        rich.answers[Phase.EHLO], poor.answers[Phase.EHLO] = RICH, POOR
        routes = {"rich.test": route(rich.port), "poor.test": route(poor.port)}
        async with running_relay(routes) as relay:
            relay.service.announce(frozenset({"8BITMIME", "SMTPUTF8", "DSN", "MT-PRIORITY"}))
            async with connected(relay.port) as client:
                assert (await client.ask(f"MAIL FROM:<a@client.test> {mail}")).startswith("250")
                assert (await client.ask("RCPT TO:<b@rich.test>")).startswith("250")
                assert (await client.ask("RCPT TO:<b@poor.test>")).startswith(expected)
                assert (await client.data(b"text\r\n")).startswith("250")
        assert len(rich.messages) == 1
        assert not poor.messages


@trap(9, TWO, "8-bit mail passes in silence", "outbound.parameters:unfit", _nothing_passes)
async def eight_bit_mail_for_a_destination_without_it_is_refused_at_rcpt() -> None:
    """BODY=8BITMIME for a destination with 8BITMIME and one without: that recipient is 550 5.6.3, the other has the
    message. (`eight_bit = "pass"` sends it on by explicit choice.)"""
    await _told_for("BODY=8BITMIME", "550 5.6.3")


@trap(10, TWO, "SMTPUTF8 is left out in silence", "outbound.parameters:unfit", _nothing_passes)
async def an_internationalised_message_for_a_destination_without_it_is_refused_at_rcpt() -> None:
    """SMTPUTF8 for a destination that has it and one that does not: that recipient is 550 5.6.7."""
    await _told_for("SMTPUTF8", "550 5.6.7")


def _any_size(right: Any) -> Any:
    def fits(delivery: Any, upstream: Any) -> Any:
        before, delivery._envelope = delivery._envelope, _of_no_size(delivery._envelope)
        try:
            return right(delivery, upstream)
        finally:
            delivery._envelope = before

    return fits


def _of_no_size(envelope: Envelope) -> Envelope:
    return Envelope(envelope.id, envelope.reverse_path, body=envelope.body, parameters=envelope.parameters)


@trap(11, TWO, "nobody compares the sizes", "outbound.relay:RelayDelivery._unfit", _any_size)
async def a_message_too_large_for_one_destination_is_refused_for_its_recipients_only() -> None:
    """SIZE=6000 where one destination takes 5,000 octets: its recipient is 550 5.3.4 (not 552, which some retry for
    days), and the other has the message."""
    await _told_for("SIZE=6000", "550 5.3.4")


def _no_difference(_: Any) -> Any:
    return lambda recipient, offered: None


@trap(16, TWO, "requests for reports are dropped", "outbound.parameters:lacking", _no_difference)
async def a_report_that_was_asked_for_does_not_get_lost() -> None:
    """NOTIFY=SUCCESS and NOTIFY=NEVER for a destination with DSN pass as they are; without DSN that recipient is 451
    4.3.3, and what is offered the next time is computed anew. NOTIFY=FAILURE, which is what happens by default, is left
    out."""
    async with running_destination() as rich, running_destination() as poor:
        rich.answers[Phase.EHLO], poor.answers[Phase.EHLO] = RICH, POOR
        routes = {"rich.test": route(rich.port), "poor.test": route(poor.port)}
        async with running_relay(routes) as relay:
            relay.service.announce(frozenset({"8BITMIME", "DSN"}))
            async with connected(relay.port) as client:
                for notify in ("SUCCESS,DELAY", "NEVER"):
                    assert (await client.ask("MAIL FROM:<a@client.test>")).startswith("250")
                    assert (await client.ask(f"RCPT TO:<b@rich.test> NOTIFY={notify}")).startswith("250")
                    assert (await client.ask(f"RCPT TO:<b@poor.test> NOTIFY={notify}")).startswith("451 4.3.3")
                    assert (await client.ask("RCPT TO:<b@poor.test> NOTIFY=FAILURE")).startswith("250")
                    await client.ask("RSET")
        assert rich.commands("RCPT") == [f"RCPT TO:<b@rich.test> NOTIFY={n}" for n in ("SUCCESS,DELAY", "NEVER")]
        assert set(poor.commands("RCPT")) == {"RCPT TO:<b@poor.test>"}

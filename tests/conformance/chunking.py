"""T12 to T14: content in chunks (BDAT)."""

from __future__ import annotations

from typing import Any

from conformance.failures import as_in_chaos
from conformance.order import ONE
from conformance.trap import trap
from support.destination import CHUNKING, Act, Phase, running_destination
from support.relay import route, running_relay
from support.scenario import until
from support.smtpclient import Client, connected


async def _chunk(client: Client, octets: bytes, *, last: bool = False) -> str:
    client.write(b"BDAT %d%s\r\n%s" % (len(octets), b" LAST" if last else b"", octets))
    return await client.reply()


@trap(
    12, "a destination with CHUNKING and one without", "the last line is not looked at",
    "outbound.relay:RelayDelivery.breaks_off", lambda _: lambda _: None,
)  # fmt: skip
async def what_comes_in_chunks_goes_as_each_destination_takes_it() -> None:
    """BDAT content with dots: one destination has it by BDAT as it is, the other by DATA, stuffed; both hold the same.
    Content that does not end in CRLF goes to the one, and is 554 5.6.0 for the other, which cannot have it; BINARYMIME
    for the other is 550 5.6.3 at RCPT."""
    async with running_destination() as chunks, running_destination() as lines:
        chunks.answers[Phase.EHLO] = f"{CHUNKING}".replace("250 8BITMIME", "250-BINARYMIME\r\n250 8BITMIME")
        routes = {"chunks.test": route(chunks.port), "lines.test": route(lines.port)}
        async with running_relay(routes) as relay:
            relay.service.announce(frozenset({"8BITMIME", "BINARYMIME"}))
            async with connected(relay.port) as client:
                await client.begin(["b@chunks.test", "c@lines.test"])
                assert (await _chunk(client, b"Subject: dots\r\n\r\n.\r")).startswith("250")
                assert (await _chunk(client, b"\n..end\r\n", last=True)).startswith("250")
                for domain, expected in (("lines", "554 5.6.0"), ("chunks", "250")):
                    await client.begin([f"b@{domain}.test"])
                    assert (await _chunk(client, b"Subject: cut\r\n\r\nend", last=True)).startswith(expected)
                assert (await client.ask("MAIL FROM:<a@client.test> BODY=BINARYMIME")).startswith("250")
                assert (await client.ask("RCPT TO:<c@lines.test>")).startswith("550 5.6.3")
                assert (await client.ask("RCPT TO:<b@chunks.test>")).startswith("250")
                assert (await _chunk(client, b"\r\n\n\r\0.", last=True)).startswith("250")
        dots = b"Subject: dots\r\n\r\n.\r\n..end\r\n"
        assert [message.below_trace for message in lines.messages] == [dots]
        contents = [message.below_trace for message in chunks.messages]
        assert contents == [dots, b"Subject: cut\r\n\r\nend", b"\r\n\n\r\0."]


def _not_read(right: Any) -> Any:
    def begin(receiver: Any, bdat: Any, *, wanted: bool) -> None:
        bdat.octets *= wanted
        right(receiver, bdat, wanted=wanted)

    return begin


@trap(13, ONE, "a refused chunk is not read", "smtp.receiver:Receiver._begin_chunk", _not_read)
async def a_chunk_behind_a_refused_recipient_is_read_into_nothing() -> None:
    """MAIL, a RCPT that is refused, and BDAT with octets that look like QUIT, in one write: 554 for the chunk, and the
    session goes on with what stands behind it."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.RCPT] = "550 5.1.1 no"
        client.write(
            b"MAIL FROM:<a@client.test>\r\nRCPT TO:<b@one.test>\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"
        )
        codes = [(await client.reply())[:3] for _ in range(5)]
        assert codes == ["250", "550", "554", "554", "250"]
        assert not destination.ends_of_data


@trap(14, ONE, *as_in_chaos("inbound.transaction:Transaction.finish"))
async def the_reply_to_the_last_chunk_is_the_verdict() -> None:
    """Each chunk has its own 250; that to LAST waits for the destination, and is its verdict."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.FINAL] = Act.SILENCE
        await client.begin(["b@one.test"])
        assert (await _chunk(client, b"Subject: test\r\n\r\n")).startswith("250 2.0.0")
        client.write(b"BDAT 6 LAST\r\ntext\r\n")
        await until(lambda: destination.silences or not client.replies.empty(), "the end of data")
        assert client.replies.empty()
        destination.release("550 5.7.1 no such thing here")
        assert (await client.reply()) == "550 5.7.1 no such thing here"

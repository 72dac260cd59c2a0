"""T15, T32 to T34: TLS on both sides, and nothing from before it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from conformance.trap import trap
from moxy.smtp.extension import Extensions
from support.certificates import server_tls
from support.destination import GOOD, Phase, running_destination
from support.faults import running_proxy
from support.relay import Relay, route, running_relay
from support.smtpclient import connected
from support.tlsclient import TlsClient, encrypted
from support.tlsdestination import REQUIRED, VERIFIED, running_tls_destination, settings


@asynccontextmanager
async def _relay_with_starttls(routes: Any, **more: Any) -> AsyncIterator[Relay]:
    with tempfile.TemporaryDirectory() as directory:
        async with running_relay(routes, tls=server_tls(Path(directory)), **more) as relay:
            yield relay


def _everything_is_fit(_: Any) -> Any:
    return lambda envelope, recipients, upstream, settings: None


@trap(15, "destinations with verified TLS, with any TLS, and without", "nobody asks for the way",
      "outbound.parameters:unfit", _everything_is_fit)  # fmt: skip
async def requiretls_is_kept_all_the_way() -> None:
    """REQUIRETLS is offered only inside TLS. A message with it goes to a destination that offers it over verified TLS;
    where there is no TLS, or nobody has judged the certificate, the recipient is 550 5.7.30."""
    for policy, expected in ((VERIFIED, "250"), (REQUIRED, "550 5.7.30"), ("", "550 5.7.30")):
        there = running_tls_destination() if policy else running_destination()
        own = {"settings": settings(policy)} if policy else {}
        async with there as destination, _relay_with_starttls(route(destination.port), **own) as relay:
            offer = cast("str", GOOD[Phase.EHLO]).replace("250 8BITMIME", "250-REQUIRETLS\r\n250 8BITMIME")
            bare = destination.answers[Phase.EHLO]
            destination.answers[Phase.EHLO] = (
                offer if not policy else lambda line: str(bare(line)).replace("250 8BIT", "250-REQUIRETLS\r\n250 8BIT")  # type: ignore[operator]  # noqa: B023
            )
            relay.service.announce(frozenset({"8BITMIME", "REQUIRETLS"}))
            async with connected(relay.port, hello=False) as client:
                assert "REQUIRETLS" not in await client.ask("EHLO client.test")
                assert (await client.ask("MAIL FROM:<a@client.test> REQUIRETLS")).startswith("555")
            async with encrypted(relay.port) as client:
                assert (await client.ask("MAIL FROM:<a@client.test> REQUIRETLS")).startswith("250")
                assert (await client.ask("RCPT TO:<b@one.test>")).startswith(expected)


def _obeyed(_: Any) -> Any:
    return lambda receiver, command: command


@trap(
    32, "a client that injects", "STARTTLS is accepted whatever is behind it", "smtp.receiver:Receiver._without_a_row",
    _obeyed,
)  # fmt: skip
async def what_a_client_sends_behind_starttls_is_not_obeyed() -> None:
    """STARTTLS and a command in one segment (CVE-2011-0411): both are refused, and the session ends. After an orderly
    handshake nothing from before counts: MAIL is 503 until a new EHLO."""
    async with running_destination() as destination, _relay_with_starttls(route(destination.port)) as relay:
        async with connected(relay.port) as client:
            client.write(b"STARTTLS\r\nMAIL FROM:<evil@client.test>\r\n")
            heard = []
            while reply := await client.reply():
                heard.append(reply[:3])
            assert heard
            assert not {"220", "250"} & set(heard)
        client = await TlsClient.connect(relay.port)
        assert (await client.reply()).startswith("220 ")
        assert "STARTTLS" in await client.ask("EHLO client.test")
        assert (await client.ask("STARTTLS")).startswith("220 2.0.0")
        await client.secure()
        assert (await client.ask("MAIL FROM:<a@client.test>")).startswith("503 5.5.1")
        assert "STARTTLS" not in await client.ask("EHLO client.test")
        assert (await client.deliver(["b@one.test"])).startswith("250")
        await client.leave()
        assert b" with ESMTPS" in destination.messages[0].content


def _all_is_heard(_: Any) -> Any:
    return lambda sender: setattr(sender, "extensions", Extensions())


def _nothing_is_early(_: Any) -> Any:
    return lambda _: None


def _kept_for_later(right: Any) -> Any:
    return lambda sender: right(sender) if sender._awaited else None


@trap(
    33, "a destination with TLS, and a man in the middle", "what came before the question answers it",
    "smtp.sender:Sender.secured", _all_is_heard,
    ("smtp.sender:Sender._look_for_early_answers", _nothing_is_early),
    ("smtp.sender:Sender.next_reply", _kept_for_later),
)  # fmt: skip
async def what_comes_in_clear_behind_the_220_is_not_believed() -> None:
    """Somebody puts an EHLO reply behind the destination's 220 to STARTTLS (CVE-2021-38371): the connection is given
    up, and nothing but EHLO and STARTTLS has been said on it."""
    async with running_tls_destination() as destination, running_proxy(destination.port) as proxy:
        proxy.rewrite = lambda way, data: data + INJECTED if data.startswith(b"220 2.0.0 go") else data
        own = settings(REQUIRED)
        async with running_relay(route(proxy.port), settings=own) as relay, connected(relay.port) as client:
            assert (await client.begin(["b@one.test"]))[0].startswith("451")
        assert destination.talks[0].lines == ["EHLO mx.moxy.test", "STARTTLS"]


def _in_clear(_: Any) -> Any:
    async def encrypt(*_: Any) -> None:
        """Go on without."""

    return encrypt


@trap(34, "a destination whose STARTTLS is stripped", "required TLS is optional", "outbound.introduction:encrypt",
      _in_clear)  # fmt: skip
async def required_tls_never_falls_back() -> None:
    """Somebody strips STARTTLS from the destination's offer, or its certificate is another's: with `required` and
    `verified` the recipient is told 451, and no MAIL is ever said in clear."""
    for policy in (REQUIRED, VERIFIED):
        async with running_tls_destination() as destination, running_proxy(destination.port) as proxy:
            proxy.rewrite = lambda way, data: data.replace(b"250-STARTTLS\r\n", b"")
            own = settings(policy)
            async with running_relay(route(proxy.port), settings=own) as relay, connected(relay.port) as client:
                assert (await client.begin(["b@one.test"]))[0].startswith("451 4.7")
            assert not destination.commands("MAIL")
    async with running_tls_destination() as destination:
        own = settings(VERIFIED, name="other.test")
        async with running_relay(route(destination.port), settings=own) as relay, connected(relay.port) as client:
            assert (await client.begin(["b@one.test"]))[0].startswith("451 4.7")
        assert not destination.commands("MAIL")


INJECTED = b"250-destination.test\r\n250 8BITMIME\r\n"

"""How `moxy send` connects, with and without TLS, to a relay that has it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from moxy.cli.campaign import Campaign
from moxy.cli.sending import Outcome, carry_out
from moxy.errors import MoxyError
from moxy.net.tlsclient import TlsClient, Trust
from support.certificates import authority, server_tls
from support.destination import running_destination
from support.ports import LOOPBACK
from support.relay import route, running_relay
from support.scenario import scenario


async def send(port: int, **how: Any) -> tuple[Outcome, list[str]]:
    """What became of a message, and the dialogue."""
    outcomes, dialogue = [], []
    campaign = Campaign(("localhost", port), "client.test", "s@client.test", ("a@one.test",), **how)
    await carry_out(campaign, lambda: b"x\r\n", outcomes.append, lambda who, line: dialogue.append(f"{who}: {line}"))
    return outcomes[0], dialogue


def trusting(directory: Path) -> TlsClient:
    path = directory / "authority.pem"
    path.write_bytes(authority().pem)
    return TlsClient(Trust(judged=True, authorities=path))


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("judged", [False, True])
@scenario
async def test_a_message_goes_encrypted(tmp_path: Path, implicit: bool, judged: bool) -> None:
    tls = server_tls(tmp_path, "localhost", implicit=implicit)
    async with running_destination() as destination, running_relay(route(destination.port), tls=tls) as relay:
        client = trusting(tmp_path) if judged else TlsClient(Trust())
        outcome, dialogue = await send(relay.port, tls=client, implicit=implicit)
        assert outcome.accepted
        assert b"with ESMTPS (TLSv1.3 " in destination.messages[0].content
        shown = [line for line in dialogue if line.startswith(("C: E", "C: STARTTLS", "C: (TLS"))]
        hello, encrypted = "C: EHLO client.test", "C: (TLSv1.3 TLS_AES_256_GCM_SHA384)"
        assert shown == ([encrypted, hello] if implicit else [hello, "C: STARTTLS", encrypted, hello])


@scenario
async def test_a_server_whose_certificate_is_not_for_it_gets_nothing(tmp_path: Path) -> None:
    async with running_relay({}, tls=server_tls(tmp_path, "mx.test")) as relay:
        outcome, dialogue = await send(relay.port, tls=trusting(tmp_path))
        assert not outcome.accepted
        assert "Hostname mismatch" in dialogue[-1]
    async with running_relay({}, tls=server_tls(tmp_path, "mx.test", implicit=True)) as relay:
        with pytest.raises(MoxyError, match=r"cannot connect to localhost:\d+: .*Hostname mismatch"):
            await send(relay.port, tls=trusting(tmp_path), implicit=True)


@scenario
async def test_where_there_is_no_starttls_nothing_is_sent(tmp_path: Path) -> None:
    async with running_relay({}) as relay:
        outcome, dialogue = await send(relay.port, tls=TlsClient(Trust()))
        assert not outcome.accepted
        assert [str(reply) for _, reply in outcome.replies] == ["502 5.5.1 Command not implemented"]
        assert not any(line.startswith("C: MAIL") for line in dialogue)


def test_a_place_is_written_as_people_do() -> None:
    assert Campaign(("::1", 25), "", "", ()).place == "[::1]:25"
    assert Campaign(("/run/s", 0), "", "", ()).place == "unix:/run/s"


def test_who_does_not_answer_is_told_in_one_line() -> None:
    async def run() -> None:
        listener = await asyncio.start_server(lambda *_: None, LOOPBACK, 0)
        port = listener.sockets[0].getsockname()[1]
        listener.close()
        await listener.wait_closed()
        campaign = Campaign((LOOPBACK, port), "", "", ("a@b.c",), tls=TlsClient(Trust()), implicit=True)
        await carry_out(campaign, bytes, lambda _: None, None)

    with pytest.raises(MoxyError, match=r"^cannot connect to 127\.0\.0\.1:\d+: Connection refused$"):
        asyncio.run(run())

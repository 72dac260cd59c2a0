"""Who the client is, told to Dovecot by LMTP and to OpenSMTPD, and by swaks in the place of a proxy."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.dovecot import Dovecot
from support.features import IDENTITIES
from support.moxy_commands import written
from support.moxy_process import running
from support.opensmtpd import OpenSmtpdDestination
from support.ports import LOOPBACK, free_port
from support.scripted import scripted_destinations
from support.swaks import run_swaks

pytestmark = pytest.mark.interop

CLIENT = "127.0.0.5"
ANN = "ann@one.test"
CONTENT = b"From: sender@sender.test\r\nSubject: who is it\r\n\r\nHello.\r\n"
TRUST = f"haproxy_trusted_networks = {LOOPBACK}\nlogin_trusted_networks = {LOOPBACK}\n"


def proxied_dovecot(directory: Path) -> Dovecot:
    return Dovecot(directory, {ANN: True}, listener="haproxy = yes", sections=TRUST, greets=False)


def trusting_dovecot(directory: Path) -> Dovecot:
    return Dovecot(directory, {ANN: True}, sections=TRUST)


def proxied_opensmtpd(directory: Path) -> OpenSmtpdDestination:
    return OpenSmtpdDestination(directory, "one.test", ["ann"], options="proxy-v2", greets=False)


SERVERS: dict[str, tuple[Callable[[Path], Any], str, str, str, bytes]] = {
    "Dovecot proxy-v1": (proxied_dovecot, "lmtp", "proxy-v1", ANN, b"from mx.moxy.test ([127.0.0.5])\n\tby mailboxes"),
    "Dovecot proxy-v2": (proxied_dovecot, "lmtp", "proxy-v2", ANN, b"from mx.moxy.test ([127.0.0.5])\n\tby mailboxes"),
    "Dovecot xclient": (trusting_dovecot, "lmtp", "xclient", ANN, b"from client.test ([127.0.0.5])\n\tby mailboxes"),
    "OpenSMTPD proxy-v2": (
        proxied_opensmtpd,
        "smtp",
        "proxy-v2",
        "ann",
        b"from mx.moxy.test (<unknown> [127.0.0.5])\n",
    ),
}


def test_every_server_that_can_take_an_identity_is_tried_here_or_in_test_identity() -> None:
    those = {f"{server} {identity}" for identity, servers in IDENTITIES.items() for server in servers}
    assert {name for name in those if not name.startswith(("Postfix", "Exim"))} == set(SERVERS)


@pytest.mark.parametrize("server", SERVERS)
def test_the_server_takes_the_client_for_whom_the_identity_says(directory: Path, server: str) -> None:
    make, protocol, identity, mailbox, seen = SERVERS[server]
    with make(directory) as there:
        section = f'[destination.there]\nhosts = ["{LOOPBACK}:{there.port}"]\nprotocol = "{protocol}"\n'
        section += f'identity = "{identity}"\n'
        with running(*written(directory, "one.test there\n", section)) as moxy:
            with smtplib.SMTP(LOOPBACK, moxy.port, "client.test", source_address=(CLIENT, 0)) as client:
                client.sendmail("sender@sender.test", [ANN], CONTENT)
            (stored,) = there.wait_until(lambda: there.delivered(mailbox), "the message")
            assert seen in stored, stored


PROXY = ["--proxy-family", "TCP4", "--proxy-source", "192.0.2.7", "--proxy-source-port", "4711"]
PROXY += ["--proxy-dest", "192.0.2.1", "--proxy-dest-port", "25"]
AF_INET = ["--proxy-family", "AF_INET"]
XCLIENT = ["--xclient-addr", "192.0.2.7", "--xclient-port", "4711", "--xclient-helo", "far.test"]

CLAIMS = {
    "PROXY version 1": ("proxy_from", ["--proxy-version", "1", *PROXY], "from client.test ([192.0.2.7])"),
    "PROXY version 2": (
        "proxy_from",
        ["--proxy-version", "2", "--proxy-command", "PROXY", "--proxy-protocol", "STREAM", *PROXY, *AF_INET],
        "from client.test ([192.0.2.7])",
    ),
    "XCLIENT": ("xclient_from", XCLIENT, "from client.test ([192.0.2.7])"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_swaks_in_the_place_of_a_proxy_is_believed(directory: Path, claim: str) -> None:
    key, options, seen = CLAIMS[claim]
    port = free_port()
    listener = f'[listener.behind]\nlisten = ["{LOOPBACK}:{port}"]\n{key} = ["{LOOPBACK}"]\n'
    with (
        scripted_destinations(1) as (one,),
        running(*written(directory, f"one.test {one.address}\n", listener)),
    ):
        run_swaks(port, "--from", "sender@sender.test", "--to", ANN, *options)
        assert one.messages[0].content.decode().startswith(f"Received: {seen}")


def test_swaks_is_not_offered_xclient_where_it_is_not_trusted(directory: Path) -> None:
    with (
        scripted_destinations(1) as (one,),
        running(*written(directory, f"one.test {one.address}\n")) as moxy,
    ):
        envelope = ["--from", "sender@sender.test", "--to", ANN]
        dialogue = run_swaks(moxy.port, *envelope, *XCLIENT, "--xclient-optional")
        assert "Host did not advertise XCLIENT" in dialogue
        assert "-> XCLIENT" not in dialogue
        assert "192.0.2.7" not in one.messages[0].content.decode()

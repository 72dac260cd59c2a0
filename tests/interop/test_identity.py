"""Who the client is, told to real servers and by a real balancer: Postfix, Exim, HAProxy.

Every test client comes from an address of its own in 127.0.0.0/8; Moxy speaks with everybody from 127.0.0.1.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.exim import EximDestination
from support.haproxy import HaProxy
from support.moxy_commands import written
from support.moxy_process import Moxy, running
from support.ports import LOOPBACK, free_port
from support.postfix import PostfixDestination
from support.processes import PATIENCE
from support.scripted import scripted_destinations

pytestmark = pytest.mark.interop

CLIENT = "127.0.0.5"
UNWANTED = "127.0.0.66"
CONTENT = b"From: sender@sender.test\r\nSubject: who is it\r\n\r\nHello.\r\n"


class TrustingPostfix(PostfixDestination):
    """A Postfix that believes Moxy, and asks for a PROXY header on a port of its own. It turns one client away."""

    proxied_port: int

    def _prepare(self, settings: Mapping[str, str]) -> None:
        trust = {
            "smtpd_authorized_xclient_hosts": LOOPBACK,
            "smtpd_authorized_xforward_hosts": LOOPBACK,
            "smtpd_client_restrictions": f"check_client_access inline:{{ {{ {UNWANTED} = REJECT not from there }} }}",
        }
        super()._prepare({**settings, **trust})
        self.proxied_port = free_port()
        with (self._configuration / "master.cf").open("a") as file:
            file.write(
                f"{LOOPBACK}:{self.proxied_port} inet n - n - - smtpd\n  -o smtpd_upstream_proxy_protocol=haproxy\n"
            )


class TrustingExim(EximDestination):
    """An Exim that asks for a PROXY header on a port of its own."""

    proxied_port: int

    def configure(self, text: str, **values: Any) -> None:
        self.proxied_port = free_port()
        where = f"${{if eq{{$received_port}}{{{self.proxied_port}}}{{{LOOPBACK}}}}}"
        super().configure("hosts_proxy = {where}\n" + text, where=where, **values)

    def command(self, *words: str) -> list[str]:
        ports = f"{self.port} : {self.proxied_port}"
        return super().command(*(ports if word == str(self.port) else word for word in words))


IDENTITIES = ("none", "header", "xforward", "xclient", "proxy-v1", "proxy-v2", "helo")


@contextmanager
def postfix_behind_moxy(directory: Path) -> Iterator[tuple[Moxy, TrustingPostfix]]:
    """Each identity has a user of its name, and the same server."""
    with TrustingPostfix(directory, "one.test", list(IDENTITIES)) as postfix:
        ports = {name: postfix.proxied_port if name.startswith("proxy") else postfix.port for name in IDENTITIES}
        sections = "".join(
            f'[destination.{name}]\nhosts = ["{LOOPBACK}:{port}"]\nidentity = "{name}"\n'
            for name, port in ports.items()
        )
        table = "".join(f"{name}@one.test {name}\n" for name in IDENTITIES)
        with running(*written(directory, table, sections)) as moxy:
            yield moxy, postfix


def connect(port: int, address: str = CLIENT, name: str = "client.test") -> smtplib.SMTP:
    return smtplib.SMTP(LOOPBACK, port, name, source_address=(address, 0))


def send(port: int, user: str, address: str = CLIENT, name: str = "client.test") -> None:
    with connect(port, address, name) as client:
        client.sendmail("sender@sender.test", [f"{user}@one.test"], CONTENT)


def top(message: bytes) -> str:
    """The trace field of the last server."""
    return message[message.index(b"Received: ") :].split(b"\n", 1)[0].decode()


def wait_for_all(postfix: PostfixDestination, user: str, count: int) -> list[bytes]:
    """So many messages in this user's mailbox."""
    return postfix.wait_until(lambda: len(found := postfix.delivered(user)) == count and found, f"{count} messages")


SEEN = {
    "none": f"from mx.moxy.test (unknown [{LOOPBACK}])",
    "header": f"from mx.moxy.test (unknown [{LOOPBACK}])",
    "xforward": f"from mx.moxy.test (unknown [{LOOPBACK}])",
    "xclient": f"from client.test (unknown [{CLIENT}])",
    "proxy-v1": f"from mx.moxy.test (unknown [{CLIENT}])",
    "proxy-v2": f"from mx.moxy.test (unknown [{CLIENT}])",
    "helo": f"from client.test (unknown [{LOOPBACK}])",
}


def test_postfix_takes_the_client_for_whom_each_identity_says(directory: Path) -> None:
    """T25, T26."""
    with postfix_behind_moxy(directory) as (moxy, postfix):
        for identity in IDENTITIES:
            send(moxy.port, identity)
            message = postfix.wait_for_mail(identity)
            assert top(message) == f"Received: {SEEN[identity]}", identity
            assert (f"from client.test ([{CLIENT}])".encode() in message) is (identity != "none")
            if identity == "none":
                assert CLIENT.encode() not in message
                assert b"client.test" not in message
        told = [line for line in postfix.log().splitlines() if "orig_client=" in line]
        assert len(told) == 1
        assert f"orig_client=unknown[{CLIENT}]" in told[0]
        assert "identity_not_taken" not in moxy.text()


def test_postfix_judges_the_client_where_it_takes_us_for_it(directory: Path) -> None:
    """T28."""
    with postfix_behind_moxy(directory) as (moxy, postfix):
        for identity in IDENTITIES:
            if identity in ("xclient", "proxy-v1", "proxy-v2"):
                with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
                    send(moxy.port, identity, UNWANTED)
                ((code, text),) = refused.value.recipients.values()
                assert code == 554
                assert text.startswith(b"5.7.1 ")
                assert b"not from there" in text
            else:
                send(moxy.port, identity, UNWANTED)
                assert postfix.wait_for_mail(identity)


def test_clients_one_after_the_other_and_in_between_are_never_taken_for_each_other(directory: Path) -> None:
    """T25."""
    with postfix_behind_moxy(directory) as (moxy, postfix):
        clients = {number: connect(moxy.port, f"127.0.0.{number}", f"c{number}.test") for number in range(10, 16)}
        for _ in range(2):
            for number, client in clients.items():
                for identity in ("xclient", "proxy-v2", "xforward"):
                    content = CONTENT.replace(b"who is it", f"from {number}".encode())
                    client.sendmail("sender@sender.test", [f"{identity}@one.test"], content)
        for client in clients.values():
            client.quit()
        for identity in ("xclient", "proxy-v2"):
            messages = wait_for_all(postfix, identity, 2 * len(clients))
            for message in messages:
                number = message.partition(b"Subject: from ")[2].partition(b"\n")[0].decode()
                assert f"(unknown [127.0.0.{number}])" in top(message)
        postfix.wait_for_log("orig_client=", 2 * len(clients))
        for number in clients:
            assert postfix.log().count(f"orig_client=unknown[127.0.0.{number}]") == 2


def test_a_postfix_that_does_not_trust_us_gets_no_mail_by_xclient_and_some_without_xforward(directory: Path) -> None:
    with PostfixDestination(directory, "one.test", ["ann", "bob"]) as postfix:
        sections = "".join(
            f'[destination.{name}]\nhosts = ["{LOOPBACK}:{postfix.port}"]\nidentity = "{name}"\n'
            for name in ("xclient", "xforward")
        )
        table = "ann@one.test xclient\nbob@one.test xforward\n"
        with running(*written(directory, table, sections)) as moxy:
            with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
                send(moxy.port, "ann")
            ((code, text),) = refused.value.recipients.values()
            assert (code, text[:5]) == (451, b"4.3.5")
            for _ in range(2):
                send(moxy.port, "bob")
            assert "XCLIENT is not offered to us" in moxy.text()
            assert moxy.text().count("it does not offer XFORWARD to us") == 1


def test_what_a_client_claims_reaches_nobody(directory: Path) -> None:
    """T27: spoofing by commands and by a header, in every mode."""
    spoofed = "192.0.2.77"
    with postfix_behind_moxy(directory) as (moxy, postfix):
        for identity in IDENTITIES:
            with connect(moxy.port) as client:
                for line in (
                    f"PROXY TCP4 {spoofed} {spoofed} 1 2",
                    f"XCLIENT ADDR={spoofed} NAME=spoofed.test",
                    f"XFORWARD ADDR={spoofed} NAME=spoofed.test",
                ):
                    assert client.docmd(line)[0] == 500
                client.ehlo()
                client.mail("sender@sender.test")
                assert client.docmd(f"XFORWARD ADDR={spoofed}")[0] == 500
                assert client.rcpt(f"{identity}@one.test")[0] == 250
                assert client.docmd(f"XCLIENT ADDR={spoofed}")[0] == 500
                assert client.data(CONTENT)[0] == 250
            message = postfix.wait_for_mail(identity)
            assert top(message) == f"Received: {SEEN[identity]}"
            assert spoofed.encode() not in message
        assert spoofed not in postfix.log()
        assert "spoofed" not in postfix.log()


@pytest.mark.parametrize("version", ["proxy-v1", "proxy-v2"])
def test_exim_believes_the_header(directory: Path, version: str) -> None:
    with TrustingExim(directory, "one.test", ["ann"]) as exim:
        section = f'[destination.exim]\nhosts = ["{LOOPBACK}:{exim.proxied_port}"]\nidentity = "{version}"\n'
        with running(*written(directory, "one.test exim\n", section)) as moxy:
            send(moxy.port, "ann")
            (message,) = exim.wait_for_mail("ann")
            assert f"Received: from [{CLIENT}] (helo=mx.moxy.test)" in message.decode()
            assert f"[{CLIENT}]" in exim.log()


@pytest.mark.parametrize(
    ("option", "tls", "protocol"),
    [("send-proxy", False, "ESMTP"), ("send-proxy-v2", False, "ESMTP"), ("send-proxy-v2-ssl-cn", True, "ESMTPS")],
)
def test_behind_haproxy_the_client_is_the_one_before_it(directory: Path, option: str, tls: bool, protocol: str) -> None:
    behind = free_port()
    listener = f'[listener.behind]\nlisten = ["{LOOPBACK}:{behind}"]\nproxy_from = ["{LOOPBACK}"]\n'
    relay = '[relay]\nallow_from = ["127.0.0.5"]\nsend_to = ["{}"]\n'
    with scripted_destinations(1) as (destination,):
        sections = listener + relay.format(destination.address)
        with (
            running(*written(directory, f"one.test {destination.address}\n", sections)) as moxy,
            HaProxy(directory, behind, option, tls=tls) as haproxy,
        ):
            context = ssl._create_unverified_context()
            for address, code in ((CLIENT, 250), ("127.0.0.6", 550)):
                with (
                    smtplib.SMTP_SSL(
                        LOOPBACK, haproxy.port, "client.test", context=context, source_address=(address, 0)
                    )
                    if tls
                    else connect(haproxy.port, address)
                ) as client:
                    client.ehlo()
                    client.mail("sender@sender.test")
                    assert client.rcpt("ann@elsewhere.test")[0] == code  # `relay` is by the client's address
                    client.rset()
                    client.sendmail("sender@sender.test", ["ann@one.test"], CONTENT)
            for message, address in zip(destination.messages, (CLIENT, "127.0.0.6"), strict=True):
                assert message.content.startswith(
                    f"Received: from client.test ([{address}])\r\n\tby mx.moxy.test with {protocol} id ".encode()
                )
            # who comes without the balancer has no header, and is not heard
            with socket.create_connection((LOOPBACK, behind), timeout=PATIENCE) as stranger:
                stranger.sendall(b"EHLO client.test\r\n")
                assert stranger.recv(512) == b""
            assert "proxy_header_refused" in moxy.text()

"""TLS to real destinations: STARTTLS and from the first octet, certificates that are theirs, another's, and ours."""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.certificates import issue
from support.directories import make_writable
from support.exchange import Message
from support.features import TLS_DESTINATIONS
from support.moxy_commands import written
from support.moxy_process import Moxy, running
from support.ports import LOOPBACK
from support.postfix import PostfixDestination
from support.tlsservers import ANN, NAME, SERVERS, Files, broken_opensmtpd

pytestmark = pytest.mark.interop

SENDER = "sender@sender.test"
NO_TLS = (451, "4.7.4")
NOT_SECURE = (451, "4.7.5")

servers = pytest.mark.parametrize("server", TLS_DESTINATIONS)
how = pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "implicit"])


@dataclass(frozen=True)
class Stage:
    """A server with TLS behind Moxy."""

    server: str
    there: Any
    moxy: Moxy

    def arrives(self) -> bool:
        """Send a message that must be accepted, and that arrives bit for bit; did it come encrypted?"""
        message = Message(b"Hello.\r\n.\r\n")
        assert send(self.moxy, message) is None
        mailbox = SERVERS[self.server].mailbox
        (stored,) = self.there.wait_until(lambda: self.there.delivered(mailbox), "the message")
        assert stored.endswith(message.stored)
        return SERVERS[self.server].shows_tls(self.there)

    def refused(self) -> tuple[int, str]:
        """Send a message that nobody may get; the reply's code and enhanced status code."""
        refusal = send(self.moxy, Message(b"Hello.\r\n"))
        assert refusal is not None
        assert self.there.delivered(SERVERS[self.server].mailbox) == []
        return refusal


def send(moxy: Moxy, message: Message) -> tuple[int, str] | None:
    """None if it was accepted; else the code and the enhanced status code that its recipient got."""
    with smtplib.SMTP(LOOPBACK, moxy.port, "client.test") as client:
        try:
            client.sendmail(SENDER, [ANN], message.content)
        except smtplib.SMTPRecipientsRefused as refusal:
            ((code, text),) = refusal.recipients.values()
            return code, text.decode().partition(" ")[0]
    return None


@contextmanager
def stage(
    directory: Path, server: str, keys: str, *, implicit: bool = False, asks: bool = False, more: str = ""
) -> Iterator[Stage]:
    """`keys` of the destination, where {root} is the authority's file; `more` sections of the configuration."""
    files = Files.make(directory, implicit=implicit, asks=asks)
    those = SERVERS[server]
    with those.make(directory, files) as there:
        section = f'[destination.there]\nhosts = ["{LOOPBACK}:{there.port}"]\nprotocol = "{those.protocol}"\n'
        section += f"tls_implicit = {'true' if implicit else 'false'}\n{keys.format(root=files.root)}\n{more}"
        with running(*written(directory, "one.test there\n", section)) as moxy:
            yield Stage(server, there, moxy)


VERIFIED = f'tls = "verified"\ntls_ca = "{{root}}"\ntls_name = "{NAME}"\n'


@how
@servers
def test_a_verified_destination_gets_mail(directory: Path, server: str, implicit: bool) -> None:
    with stage(directory, server, VERIFIED, implicit=implicit) as there:
        assert there.arrives()


@how
@servers
def test_a_destination_by_another_name_gets_nothing(directory: Path, server: str, implicit: bool) -> None:
    with stage(directory, server, VERIFIED.replace(NAME, "mail.two.test"), implicit=implicit) as there:
        assert there.refused() == NOT_SECURE


@servers
def test_a_destination_of_an_unknown_authority_gets_nothing(directory: Path, server: str) -> None:
    with stage(directory, server, f'tls = "verified"\ntls_name = "{NAME}"') as there:  # the system's know nothing of it
        assert there.refused() == NOT_SECURE


@servers
@pytest.mark.parametrize("level", ["required", "opportunistic"])
def test_encrypted_without_judging_the_certificate(directory: Path, server: str, level: str) -> None:
    with stage(directory, server, f'tls = "{level}"') as there:
        assert there.arrives()


@servers
def test_in_clear_where_encryption_is_not_wanted(directory: Path, server: str) -> None:
    with stage(directory, server, 'tls = "none"') as there:
        assert not there.arrives()


@servers
def test_who_asks_for_our_certificate_gets_it(directory: Path, server: str) -> None:
    chain, key = issue("mx.moxy.test").write(directory, "client")
    make_writable(key)
    ours = f'[certificate.ours]\nchain = "{chain}"\nkey = "{key}"\n'
    with stage(directory, server, f'{VERIFIED}tls_certificate = "ours"', asks=True, more=ours) as there:
        assert there.arrives()


def test_a_destination_without_tls_gets_nothing_where_it_is_required(directory: Path) -> None:
    with PostfixDestination(directory, "one.test", ["ann"]) as postfix:
        for level, expected in (("required", NO_TLS), ("verified", NO_TLS), ("opportunistic", None)):
            section = f'[destination.there]\nhosts = ["{LOOPBACK}:{postfix.port}"]\ntls = "{level}"\n'
            with running(*written(directory, "one.test there\n", section)) as moxy:
                assert send(moxy, Message(b"Hello.\r\n")) == expected
        postfix.wait_for_mail("ann")


def test_a_server_whose_tls_is_broken_gets_mail_in_clear_only_where_that_is_allowed(directory: Path) -> None:
    """OpenSMTPD of Debian 12."""
    with broken_opensmtpd(directory, Files.make(directory)) as there:
        for level, then in (("required", NOT_SECURE), ("opportunistic", None)):
            section = f'[destination.there]\nhosts = ["{LOOPBACK}:{there.port}"]\ntls = "{level}"\n'
            with running(*written(directory, "one.test there\n", section)) as moxy:
                answers = [send(moxy, Message(b"Hello.\r\n")) for _ in range(2)]
                assert answers == [then, then]
        there.wait_until(lambda: there.delivered("ann"), "the message")


def test_a_pinned_certificate(directory: Path) -> None:
    with stage(directory, "Postfix", f'tls = "required"\ntls_fingerprints = ["{"0" * 64}"]') as there:
        assert there.refused() == NOT_SECURE
    other = directory / "again"
    other.mkdir()
    files = Files.make(other)
    with SERVERS["Postfix"].make(other, files) as postfix:
        der = _der(files.chain)
        section = f'[destination.there]\nhosts = ["{LOOPBACK}:{postfix.port}"]\ntls = "required"\n'
        section += f'tls_fingerprints = ["{hashlib.sha256(der).hexdigest()}"]\n'
        with running(*written(other, "one.test there\n", section)) as moxy:
            assert send(moxy, Message(b"Hello.\r\n")) is None


def _der(chain: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(chain.read_text())

"""AUTH to real destinations: Postfix with Dovecot's SASL, Exim's own authenticators; every mechanism."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.dovecot import PASSWORD, Dovecot
from support.exchange import Message
from support.exim import EximDestination
from support.features import MECHANISMS
from support.moxy_commands import written
from support.moxy_process import Moxy, running
from support.ports import LOOPBACK
from support.postfix import PostfixDestination
from support.tlsservers import Files

pytestmark = pytest.mark.interop

SENDER = "sender@sender.test"
ANN = "ann@one.test"
USER = "moxy@one.test"


def postfix(stack: ExitStack, directory: Path, files: Files) -> PostfixDestination:
    """Postfix lets nobody send who has not logged in; Dovecot knows the passwords."""
    dovecot = stack.enter_context(Dovecot(directory, {USER: True}))
    settings = {
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": str(dovecot.auth_socket),
        "smtpd_client_restrictions": "permit_sasl_authenticated, reject",
        "smtpd_tls_security_level": "may",
        "smtpd_tls_chain_files": f"{files.key}, {files.chain}",
    }
    return PostfixDestination(directory, "one.test", ["ann"], settings)


def exim(stack: ExitStack, directory: Path, files: Files) -> EximDestination:
    del stack, files
    return EximDestination(directory, "one.test", ["ann"], login=(USER, PASSWORD))


DESTINATIONS: dict[str, Callable[[ExitStack, Path, Files], Any]] = {"Postfix": postfix, "Exim": exim}

NAMES = {"PLAIN": "plain", "LOGIN": "login", "CRAM-MD5": "cram"}
"""What Exim calls its authenticators in its log."""

CASES = [(name, mechanism) for mechanism, names in MECHANISMS.items() for name in names]


def sign(name: str, mechanism: str) -> str:
    """What its log says of who has logged in so."""
    return f"sasl_method={mechanism}, sasl_username={USER}" if name == "Postfix" else f"A={NAMES[mechanism]}:{USER}"


@dataclass(frozen=True)
class Stage:
    there: Any
    moxy: Moxy


@contextmanager
def stage(directory: Path, name: str, keys: str, password: str) -> Iterator[Stage]:
    (directory / "secret").write_text(f"{password}\n")
    with ExitStack() as stack:
        there = stack.enter_context(DESTINATIONS[name](stack, directory, Files.make(directory)))
        section = f'[destination.there]\nhosts = ["{LOOPBACK}:{there.port}"]\n'
        section += f'auth_user = "{USER}"\nauth_secret = "file:{directory}/secret"\n{keys}\n'
        yield Stage(there, stack.enter_context(running(*written(directory, "one.test there\n", section))))


def send(moxy: Moxy, message: Message) -> None:
    with smtplib.SMTP(LOOPBACK, moxy.port, "client.test") as client:
        client.sendmail(SENDER, [ANN], message.content)


@pytest.mark.parametrize(("name", "mechanism"), CASES)
def test_moxy_logs_in(directory: Path, name: str, mechanism: str) -> None:
    keys = f'auth_mechanisms = ["{mechanism}"]\nauth_in_clear = true'
    with stage(directory, name, keys, PASSWORD) as it:
        message = Message(b"Hello.\r\n")
        send(it.moxy, message)
        (stored,) = it.there.wait_until(lambda: it.there.delivered("ann"), "the message")
        assert stored.endswith(message.stored)
        assert sign(name, mechanism) in it.there.log()


@pytest.mark.parametrize("name", DESTINATIONS)
def test_with_a_wrong_password_there_is_no_mail_and_no_secret_in_the_log(directory: Path, name: str) -> None:
    with stage(directory, name, "auth_in_clear = true", "wrong horse") as it:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            send(it.moxy, Message(b"Hello.\r\n"))
        ((code, text),) = refused.value.recipients.values()
        assert (code, text[:4]) == (451, b"4.7.")
        it.moxy.wait_until(lambda: "not_let_in" in it.moxy.text(), "the operator to be told")
        assert "wrong horse" not in it.moxy.text()
        assert it.there.delivered("ann") == []


def test_a_password_is_not_told_in_clear(directory: Path) -> None:
    with stage(directory, "Exim", 'auth_mechanisms = ["PLAIN", "LOGIN"]', PASSWORD) as it:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            send(it.moxy, Message(b"Hello.\r\n"))
        assert "A=" not in it.there.log()


def test_the_strongest_that_is_offered_is_used(directory: Path) -> None:
    with stage(directory, "Postfix", "", PASSWORD) as it:
        send(it.moxy, Message(b"Hello.\r\n"))
        assert sign("Postfix", "SCRAM-SHA-256") in it.there.log()

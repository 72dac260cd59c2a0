"""Real clients, each with one verb: send this message through the relay, and say what it then thinks of each recipient.

A verdict is `sent`, `bounced` or `deferred`, and the words that the client has for it: its log's, or the reply.
"""

from __future__ import annotations

import smtplib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from support.exim import BESIDE, EximClient
from support.msmtp import run_msmtp
from support.opensmtpd import OpenSmtpdClient, require_opensmtpd
from support.ports import LOOPBACK
from support.postfix import PostfixClient
from support.submit import Letter
from support.swaks import replies, run_swaks

SENDER_DOMAIN = "sender.test"

Verdicts = dict[str, tuple[str, str]]

LONG = 120.0
"""Seconds for a large message to get through a client."""


class Sender(Protocol):
    """One client."""

    def send(self, letter: Letter) -> Verdicts:
        """Try once. Parameters of MAIL and RCPT that a program cannot be told of are left out."""
        ...


def stuffed(content: bytes) -> bytes:
    """With its dots doubled (RFC 5321 §4.5.2)."""
    return (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]


def _values(name: str, parameters: Sequence[str]) -> list[str]:
    return [value.lower() for key, _, value in (word.partition("=") for word in parameters) if key == name]


def _status(reply: str) -> str:
    return {"2": "sent", "4": "deferred"}.get(reply[:1], "bounced")


class Postfix(PostfixClient):
    """Postfix, which takes the message in first."""

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory, port, SENDER_DOMAIN)

    def send(self, letter: Letter) -> Verdicts:
        return self.wait_for_verdicts(self.take(*letter), len(letter.recipients), LONG)


class Exim(EximClient):
    """Exim, without a daemon."""

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory, port, SENDER_DOMAIN, settings={"dsn_advertise_hosts": "*"})

    def send(self, letter: Letter) -> Verdicts:
        message = self.take(*letter._replace(content=stuffed(letter.content)))
        self.attempting(message).wait(LONG)
        return self.verdicts()[message]


class OpenSmtpd(OpenSmtpdClient):
    """OpenSMTPD, which takes the message in first."""

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory, f"smtp+notls://{LOOPBACK}:{port}", SENDER_DOMAIN)

    def send(self, letter: Letter) -> Verdicts:
        return self.wait_for_verdicts(self.take(*letter), len(letter.recipients), LONG)


class _Client:
    """A client without a queue."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port


class OpenSmtpdsSmtp(_Client):
    """smtp(1), which comes with OpenSMTPD. Where a recipient is refused it gives up, and says so of that one only."""

    def send(self, letter: Letter) -> Verdicts:
        require_opensmtpd()
        program = str(BESIDE / "opensmtpd" / "usr" / "bin" / "smtp")
        options = ["-v", "-s", f"smtp+notls://{LOOPBACK}:{self.port}", "-H", "client.test", "-F", letter.sender]
        done = subprocess.run(
            [program, *options, *letter.recipients],
            input=letter.content.replace(b"\r\n", b"\n"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LONG,
            check=False,
        )
        told = dict(line.split(": ", 1) for line in done.stdout.decode().splitlines() if ": " in line)
        words = {recipient: told.get(recipient, "").partition(": ")[2] for recipient in letter.recipients}
        return {recipient: (_status(reply or "4"), reply) for recipient, reply in words.items()}


class Smtplib(_Client):
    """Python's own."""

    def send(self, letter: Letter) -> Verdicts:
        refused: Mapping[str, tuple[int, bytes]]
        with smtplib.SMTP(LOOPBACK, self.port, "client.test", LONG) as client:
            try:
                refused = client.sendmail(*letter)
            except smtplib.SMTPRecipientsRefused as refusal:
                refused = refusal.recipients
            except smtplib.SMTPDataError as refusal:
                refused = dict.fromkeys(letter.recipients, (refusal.smtp_code, _octets(refusal.smtp_error)))
        words = {recipient: f"{code} {text.decode()}" for recipient, (code, text) in refused.items()}
        return {path: (_status(words.get(path, "2")), words.get(path, "")) for path in letter.recipients}


def _octets(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text


class Swaks(_Client):
    """swaks, which sends a file as it is."""

    def send(self, letter: Letter) -> Verdicts:
        file = self.directory / "message"
        file.write_bytes(stuffed(letter.content) + b".\r\n")
        envelope = ["--from", letter.sender or "<>", "--to", ",".join(letter.recipients)]
        options = ["--data", f"@{file}", "--no-data-fixup", "--suppress-data"]
        said = replies(run_swaks(self.port, *envelope, *options, seconds=LONG))
        count = len(letter.recipients)
        answers = said[3 : 3 + count]  # after those to the connection, EHLO and MAIL
        verdict = said[4 + count]
        final = [verdict if answer.startswith("2") else answer for answer in answers]
        return {recipient: (_status(reply), reply) for recipient, reply in zip(letter.recipients, final, strict=True)}


class Msmtp(_Client):
    """msmtp, which gives the message up for all where it is refused for one."""

    def send(self, letter: Letter) -> Verdicts:
        options = [f"--dsn-notify={value}" for value in _values("NOTIFY", letter.rcpt)]
        options += [f"--dsn-return={value}" for value in _values("RET", letter.mail)]
        sent = run_msmtp(self.port, *letter[:3], *options, seconds=LONG)
        reply = "250" if sent.status == 0 else sent.refusal
        return dict.fromkeys(letter.recipients, (_status(reply), reply))


SENDERS: Mapping[str, Callable[[Path, int], Sender]] = {
    "Postfix": Postfix,
    "Exim": Exim,
    "OpenSMTPD": OpenSmtpd,
    "OpenSMTPD's smtp": OpenSmtpdsSmtp,
    "smtplib": Smtplib,
    "swaks": Swaks,
    "msmtp": Msmtp,
}

GIVE_UP = {"OpenSMTPD's smtp", "msmtp"}
"""Those who send nothing at all where one of several recipients is refused."""

"""BDAT (RFC 3030) from Exim and from a client by hand, and to every destination that offers CHUNKING."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.directories import make_writable
from support.dovecot import Dovecot
from support.exchange import Message, running_exchange
from support.exim import EximClient, EximDestination
from support.mailboxes import MAILBOXES, domain_of
from support.moxy_commands import written
from support.moxy_process import running
from support.ports import LOOPBACK
from support.postfix import PostfixDestination
from support.processes import PATIENCE
from support.senders import stuffed

pytestmark = pytest.mark.interop

SENDER = "sender@sender.test"
ANN = "ann@one.test"
BODY = b".dots\r\n..\r\n.\r\n\xe9\xff octets\r\n" + b"x" * 998 + b"\r\n\r\n"


def send_by_bdat(port: int, recipients: Sequence[str], chunks: Sequence[bytes]) -> None:
    """A whole transaction, its chunks without waiting in between (RFC 3030 §4.2)."""
    with smtplib.SMTP(LOOPBACK, port, "client.test", PATIENCE) as client:
        client.ehlo()
        assert client.has_extn("CHUNKING")
        assert client.mail(SENDER, ["BODY=8BITMIME"])[0] == 250
        for recipient in recipients:
            assert client.rcpt(recipient)[0] == 250
        for number, chunk in enumerate(chunks, 1):
            last = b" LAST" if number == len(chunks) else b""
            client.send(b"BDAT %d%s\r\n" % (len(chunk), last) + chunk)
        for _ in chunks:
            code, text = client.getreply()
            assert code == 250, text


def cut(content: bytes, size: int) -> list[bytes]:
    return [content[place : place + size] for place in range(0, len(content), size)]


def section(port: int, chunking: str, protocol: str = "smtp") -> str:
    return f'[destination.there]\nhosts = ["{LOOPBACK}:{port}"]\nprotocol = "{protocol}"\nchunking = "{chunking}"\n'


def test_chunks_arrive_bit_for_bit_everywhere(directory: Path) -> None:
    with running_exchange() as exchange:
        paths = [f"ann@{domain_of(name)}" for name in MAILBOXES]
        for size in (1, 7, 1_000_000):
            message = Message(BODY)
            send_by_bdat(exchange.moxy.port, paths, cut(message.content, size))
            for name in MAILBOXES:
                assert exchange.wait_for(name, "ann", message) == message.stored


def by_bdat(command: str) -> bool:
    """Does this say so of a connection with one message? (A summary of Postfix, at the end of each connection.)"""
    (summary,) = re.findall(r"disconnect from \S+ (ehlo=1 mail=1 .*)", command)
    assert ("bdat=" in summary) is not (" data=" in summary)
    return "bdat=" in summary


@pytest.mark.parametrize(
    ("chunking", "in_chunks", "out_in_chunks"),
    [("as-received", True, True), ("as-received", False, False), ("always", False, True), ("never", True, False)],
)
def test_postfix_gets_chunks_as_the_setting_says(
    directory: Path, chunking: str, in_chunks: bool, out_in_chunks: bool
) -> None:
    with PostfixDestination(directory, "one.test", ["ann"]) as postfix:
        message = Message(BODY)
        with running(*written(directory, "one.test there\n", section(postfix.port, chunking))) as moxy:
            if in_chunks:
                send_by_bdat(moxy.port, [ANN], [message.content])
            else:
                with smtplib.SMTP(LOOPBACK, moxy.port, "client.test") as client:
                    client.sendmail(SENDER, [ANN], message.content, ["BODY=8BITMIME"])
            assert postfix.wait_for_mail("ann").endswith(message.stored)
        postfix.wait_for_log("disconnect from", times=2)  # the first was ours, to see it greet
        assert by_bdat(postfix.log()) is out_in_chunks


def test_exim_sends_chunks_and_gets_them(directory: Path) -> None:
    with EximDestination(directory, "one.test", ["ann"]) as destination:
        with running(*written(directory, "one.test there\n", section(destination.port, "as-received"))) as moxy:
            client = EximClient(directory, moxy.port, "sender.test")
            message = Message(BODY)
            taken = client.take(SENDER, [ANN], stuffed(message.content))
            client.attempt(taken)
            assert client.verdicts()[taken][ANN][0] == "sent"
            (stored,) = destination.wait_for_mail("ann")
            assert stored.endswith(message.stored)
        assert re.search(r" => ann@one.test .* K ", client.log())  # its sign of CHUNKING
        assert re.search(r" <= sender@sender.test .* K ", destination.log())


def test_dovecot_gets_chunks(directory: Path) -> None:
    raw = directory / "raw"
    raw.mkdir()
    make_writable(raw)
    with Dovecot(directory, {ANN: True}, sections=f"lmtp_rawlog_dir = {raw}\n") as dovecot:
        lmtp = section(dovecot.port, "as-received", "lmtp")
        with running(*written(directory, "one.test there\n", lmtp)) as moxy:
            message = Message(BODY)
            send_by_bdat(moxy.port, [ANN], cut(message.content, 500))
            (stored,) = dovecot.delivered(ANN)
            assert stored.endswith(message.stored)
        received = b"".join(file.read_bytes() for file in raw.glob("*.in"))
        assert re.search(rb"BDAT \d+ LAST\r\n", received)
        assert b"DATA\r\n" not in received

"""Postfix as the destination: what it answers reaches the client, and what the client sent reaches its mailboxes."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.moxy_process import HOST_NAME, Moxy, running_moxy
from support.ports import LOOPBACK
from support.postfix import PostfixDestination

pytestmark = pytest.mark.interop

SENDER = "sender@sender.test"

CONTENT = (
    b"From: sender@sender.test\r\n"
    b"Subject: every octet counts\r\n"
    b"X-Folded: one\r\n\ttwo\r\n"
    b"\r\n"
    b".a line that begins with a dot\r\n"
    b"..and one with two\r\n"
    b".\r\n"
    b"\r\n"
    b"blanks at the end  \t\r\n"
    b"\xc3\xa9\xe9\x80\xff and a line of 900 octets:\r\n" + b"x" * 900 + b"\r\n\r\n\r\n"
)


@contextmanager
def postfix_behind_moxy(directory: Path, *users: str, extra: str = "") -> Iterator[tuple[Moxy, PostfixDestination]]:
    with (
        PostfixDestination(directory, "one.test", list(users)) as postfix,
        running_moxy(directory, f"one.test {LOOPBACK}:{postfix.port}\n", extra) as moxy,
    ):
        yield moxy, postfix


def connect(moxy: Moxy) -> smtplib.SMTP:
    return smtplib.SMTP(LOOPBACK, moxy.port, local_hostname="client.test")


def test_a_message_is_delivered_bit_for_bit_below_the_trace_field(directory: Path) -> None:
    with postfix_behind_moxy(directory, "ann") as (moxy, postfix):
        with connect(moxy) as client:
            client.sendmail(SENDER, ["ann@one.test"], CONTENT, ["BODY=8BITMIME"])
        stored = postfix.wait_for_mail("ann")
        sent = CONTENT.replace(b"\r\n", b"\n")  # a mailbox keeps lines with LF
        assert stored.endswith(b"\n" + sent)
        above = stored[: -len(sent)]
        by = re.findall(rb"^\s+by (\S+)|^Received:.* by (\S+)", above, re.MULTILINE)
        assert [first or second for first, second in by] == [b"destination.test", HOST_NAME.encode()]


def test_the_record_has_the_size_the_client_sent(directory: Path) -> None:
    log_format = 'log_format "%msize octets from <%sender> to %rcpts"\n'
    with postfix_behind_moxy(directory, "ann", extra=log_format) as (moxy, _):
        with connect(moxy) as client:
            client.sendmail(SENDER, ["ann@one.test"], CONTENT)
        expected = [f"{len(CONTENT)} octets from <{SENDER}> to ann@one.test"]
        moxy.wait_until(lambda: moxy.records() == expected, f"{expected} in the filelog")


def test_an_unknown_user_is_refused_in_postfixs_own_words(directory: Path) -> None:
    with postfix_behind_moxy(directory, "ann") as (moxy, _), connect(moxy) as client:
        client.ehlo()
        client.mail(SENDER)
        code, text = client.rcpt("nobody-here@one.test")
        assert code == 550
        assert text.startswith(b"5.1.1 <nobody-here@one.test>: Recipient address rejected: User unknown")
        assert client.rcpt("ann@one.test")[0] == 250


def test_known_users_have_the_message_where_others_of_the_same_transaction_were_refused(directory: Path) -> None:
    with postfix_behind_moxy(directory, "ann", "bob") as (moxy, postfix):
        with connect(moxy) as client:
            refused = client.sendmail(SENDER, ["ann@one.test", "unknown@one.test", "bob@one.test"], CONTENT)
        assert {path: code for path, (code, _) in refused.items()} == {"unknown@one.test": 550}
        assert postfix.wait_for_mail("ann")
        assert postfix.wait_for_mail("bob")


def test_the_null_reverse_path_passes(directory: Path) -> None:
    with postfix_behind_moxy(directory, "ann") as (moxy, postfix):
        with connect(moxy) as client:
            client.sendmail("", ["ann@one.test"], CONTENT)
        assert postfix.wait_for_mail("ann").startswith(b"Return-Path: <>\n")


def test_the_location_of_the_destination_stays_hidden(directory: Path) -> None:
    with postfix_behind_moxy(directory, "ann") as (moxy, _), connect(moxy) as client:
        seen = [client.ehlo()[1], client.mail(SENDER)[1], client.rcpt("unknown@one.test")[1]]
        seen += [client.rcpt("ann@one.test")[1], client.data(CONTENT)[1]]
        assert b"destination.test" not in b"\n".join(seen)
        assert HOST_NAME.encode() in seen[0]

"""Postfix as the client: it takes a message in, hands it on through Moxy, and its own log tells what became of it."""

from __future__ import annotations

import smtplib
from pathlib import Path

import pytest

from support.moxy_process import HOST_NAME, running_moxy
from support.ports import LOOPBACK
from support.postfix import PostfixClient
from support.smtpsink import SmtpSink

pytestmark = pytest.mark.interop

SENDER = "sender@sender.test"
CONTENT = b"From: sender@sender.test\r\nSubject: through Postfix\r\n\r\nHello.\r\n"


def submit(postfix: PostfixClient, *recipients: str) -> None:
    with smtplib.SMTP(LOOPBACK, postfix.port) as client:
        assert client.sendmail(SENDER, recipients, CONTENT) == {}


def test_mail_for_two_domains_reaches_each_of_them_and_the_queue_becomes_empty(directory: Path) -> None:
    with (
        SmtpSink(directory, keep=True) as one,
        SmtpSink(directory, keep=True) as two,
        running_moxy(directory, f"one.test {one.address}\ntwo.test {two.address}\n") as moxy,
        PostfixClient(directory, moxy.port, "sender.test") as postfix,
    ):
        for _ in range(5):
            submit(postfix, "ann@one.test")
            submit(postfix, "bob@two.test")
        postfix.wait_for_log("status=sent", times=10)
        postfix.wait_for_empty_queue()
        assert [message.forward_paths for message in one.messages()] == [["ann@one.test"]] * 5
        assert [message.forward_paths for message in two.messages()] == [["bob@two.test"]] * 5
        moxy.wait_until(lambda: len(moxy.records()) == 10, "10 records")


def test_one_message_for_both_domains_becomes_one_copy_for_each(directory: Path) -> None:
    with (
        SmtpSink(directory, keep=True) as one,
        SmtpSink(directory, keep=True) as two,
        running_moxy(directory, f"one.test {one.address}\ntwo.test {two.address}\n") as moxy,
        PostfixClient(directory, moxy.port, "sender.test") as postfix,
    ):
        submit(postfix, "ann@one.test", "bob@two.test", "ada@one.test")
        postfix.wait_for_log("status=sent", times=3)
        postfix.wait_for_empty_queue()
        assert [sorted(message.forward_paths) for message in one.messages()] == [["ada@one.test", "ann@one.test"]]
        assert [message.forward_paths for message in two.messages()] == [["bob@two.test"]]


def test_moxys_trace_field_stands_above_those_of_the_client(directory: Path) -> None:
    with (
        SmtpSink(directory, keep=True) as sink,
        running_moxy(directory, f"one.test {sink.address}\n") as moxy,
        PostfixClient(directory, moxy.port, "sender.test") as postfix,
    ):
        submit(postfix, "ann@one.test")
        postfix.wait_for_empty_queue()
        (message,) = sink.messages()
        assert message.content.startswith(b"Received: from client.test ")
        ours, theirs = message.content.split(b"\r\nReceived: ", 1)
        assert f"by {HOST_NAME}".encode() in ours
        assert b"with ESMTP" in ours
        assert b"for <ann@one.test>" in ours
        assert b"by client.test (Postfix)" in theirs


@pytest.mark.parametrize(
    ("refused", "reply", "stage"),
    [
        ("RCPT", "550 5.1.1 There is no such person", "RCPT TO"),
        (".", "554 5.6.0 That content is not wanted", "end of DATA"),
    ],
)
def test_a_refusal_bounces_with_the_words_of_the_destination(
    directory: Path, refused: str, reply: str, stage: str
) -> None:
    with (
        SmtpSink(directory, refuse=refused, reply=reply) as sink,
        running_moxy(directory, f"one.test {sink.address}\n") as moxy,
        PostfixClient(directory, moxy.port, "sender.test") as postfix,
    ):
        submit(postfix, "ann@one.test")
        postfix.wait_for_log("status=bounced")
        postfix.wait_for_empty_queue()
        assert f"said: {reply} (in reply to {stage} command)" in postfix.log()


def test_a_temporary_refusal_leaves_the_message_in_the_queue_with_the_words_of_the_destination(directory: Path) -> None:
    reply = "452 4.2.2 The mailbox is full today"
    with (
        SmtpSink(directory, refuse="RCPT", reply=reply) as sink,
        running_moxy(directory, f"one.test {sink.address}\n") as moxy,
        PostfixClient(directory, moxy.port, "sender.test") as postfix,
    ):
        submit(postfix, "ann@one.test")
        postfix.wait_for_log("status=deferred")
        assert f"said: {reply}" in postfix.log()
        assert "ann@one.test" in postfix.queue()


def test_each_recipient_has_the_verdict_of_its_own_destination(directory: Path) -> None:
    with (
        SmtpSink(directory, refuse="RCPT", reply="550 5.1.1 There is no such person") as refusing,
        SmtpSink(directory, keep=True) as accepting,
        running_moxy(directory, f"one.test {refusing.address}\ntwo.test {accepting.address}\n") as moxy,
        PostfixClient(directory, moxy.port, "sender.test") as postfix,
    ):
        submit(postfix, "ann@one.test", "bob@two.test", "eve@elsewhere.test")
        postfix.wait_for_log("status=bounced", times=2)
        postfix.wait_for_log("status=sent")
        postfix.wait_for_empty_queue()
        verdicts = {line.split("to=<")[1].split(">")[0]: line for line in postfix.log().splitlines() if "to=<" in line}
        assert "550 5.1.1 There is no such person" in verdicts["ann@one.test"]
        assert "status=sent" in verdicts["bob@two.test"]
        assert "550 5.7.1" in verdicts["eve@elsewhere.test"]
        assert [message.forward_paths for message in accepting.messages()] == [["bob@two.test"]]


def test_mail_for_a_dead_destination_stays_in_the_queue(directory: Path) -> None:
    with SmtpSink(directory) as sink:
        dead = sink.address
    with (
        running_moxy(directory, f"one.test {dead}\n") as moxy,
        PostfixClient(directory, moxy.port, "sender.test") as postfix,
    ):
        submit(postfix, "ann@one.test")
        postfix.wait_for_log("status=deferred")
        assert "said: 451 4.4" in postfix.log()
        assert "ann@one.test" in postfix.queue()

"""swaks as the client: SMTP as people try it by hand."""

from __future__ import annotations

import email
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.moxy_process import HOST_NAME, Moxy, running_moxy
from support.smtpsink import Received, SmtpSink
from support.swaks import RCPT_REFUSED, replies, run_swaks

pytestmark = pytest.mark.interop


@dataclass(frozen=True)
class Stage:
    """Moxy before a sink for one.test and a sink for two.test."""

    moxy: Moxy
    one: SmtpSink
    two: SmtpSink

    def swaks(self, *options: str, status: int = 0) -> str:
        """Run swaks with these options; what it shows of the dialogue."""
        return run_swaks(self.moxy.port, "--from", "sender@sender.test", *options, status=status)

    def received(self) -> Received:
        """The one message at the sink for one.test."""
        (message,) = self.one.messages()
        return message


@pytest.fixture
def stage(directory: Path) -> Iterator[Stage]:
    with (
        SmtpSink(directory, keep=True) as one,
        SmtpSink(directory, keep=True) as two,
        running_moxy(directory, f"one.test {one.address}\ntwo.test {two.address}\n") as moxy,
    ):
        yield Stage(moxy, one, two)


def test_a_plain_message_passes(stage: Stage) -> None:
    dialogue = stage.swaks("--to", "ann@one.test", "--header", "Subject: plain", "--body", "Hello.")
    assert f"220 {HOST_NAME}" in dialogue
    message = stage.received()
    assert (message.reverse_path, message.forward_paths) == ("sender@sender.test", ["ann@one.test"])
    assert b"\r\nSubject: plain\r\n" in message.content
    assert b"\r\n\r\nHello.\r\n" in message.content


def test_a_pipelined_transaction_is_answered_in_order(stage: Stage) -> None:
    dialogue = stage.swaks("--pipeline", "--to", "ann@one.test,bob@two.test,eve@elsewhere.test,ada@one.test")
    codes = [reply[:3] for reply in replies(dialogue)]
    assert codes[-8:] == ["250", "250", "250", "550", "250", "354", "250", "221"]
    assert stage.received().forward_paths == ["ann@one.test", "ada@one.test"]


def test_a_client_that_says_helo_is_served_and_traced_as_such(stage: Stage) -> None:
    dialogue = stage.swaks("--protocol", "SMTP", "--to", "ann@one.test")
    assert "-> HELO client.test" in dialogue
    trace = stage.received().content.split(b"\r\nDate:")[0]
    assert b"with SMTP" in trace
    assert b"from client.test" in trace


def test_recipients_of_two_domains_get_a_copy_each(stage: Stage) -> None:
    stage.swaks("--to", "ann@one.test,bob@two.test,ada@one.test")
    assert stage.received().forward_paths == ["ann@one.test", "ada@one.test"]
    assert [message.forward_paths for message in stage.two.messages()] == [["bob@two.test"]]


def test_an_attachment_arrives_whole(stage: Stage, tmp_path: Path) -> None:
    octets = bytes(range(256)) * 1_000
    attachment = tmp_path / "octets.bin"
    attachment.write_bytes(octets)
    stage.swaks("--to", "ann@one.test", "--attach", f"@{attachment}")
    *_, attached = email.message_from_bytes(stage.received().content).walk()
    assert attached.get_payload(decode=True) == octets


@pytest.mark.parametrize("last", ["CONNECT", "FIRST-HELO", "MAIL", "RCPT"])
def test_a_client_that_quits_early_is_let_go_and_leaves_no_message(stage: Stage, last: str) -> None:
    dialogue = stage.swaks("--to", "ann@one.test", "--quit-after", last)
    assert "<-  221" in dialogue
    assert stage.one.messages() == []


@pytest.mark.parametrize("last", ["MAIL", "RCPT", "DATA"])
def test_a_client_that_vanishes_leaves_no_message(stage: Stage, last: str) -> None:
    stage.swaks("--to", "ann@one.test", "--drop-after-send", last)
    stage.swaks("--to", "ada@one.test")
    assert stage.one.count() == 1
    assert stage.received().forward_paths == ["ada@one.test"]


@pytest.mark.parametrize(
    "body",
    [b".\r\nafter", b"..\r\n..", b".leading\r\n..dots\r\n...more", b"\xc3\xa9\xe9\xff", b"", b"\r\n\r\n\r\nafter"],
    ids=["dot", "dots", "leading", "8-bit", "empty", "lines"],
)
def test_content_passes_bit_for_bit(stage: Stage, tmp_path: Path, body: bytes) -> None:
    content = b"Subject: bits\r\n\r\n" + body + b"\r\n"
    data = tmp_path / "message"
    data.write_bytes(content)
    stage.swaks("--to", "ann@one.test", "--data", f"@{data}")
    received = stage.received().content
    below_trace = received[received.index(b"\r\nSubject:") + 2 :]
    assert below_trace.rstrip(b"\r\n") == content.rstrip(b"\r\n")  # swaks itself adds lines at the end


def test_a_domain_without_a_destination_is_refused(stage: Stage) -> None:
    dialogue = stage.swaks("--to", "eve@elsewhere.test", status=RCPT_REFUSED)
    assert "550 5.7.1" in dialogue


def test_the_null_reverse_path_passes(stage: Stage) -> None:
    stage.swaks("--from", "<>", "--to", "ann@one.test")
    assert stage.received().reverse_path == ""

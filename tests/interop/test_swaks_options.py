"""swaks with every option that changes what a relay sees: protocols, where it stops, and what it makes of a message.

Left out are those that act before a connection (`--dump`, `--copy-routing`), on the transcript only (`--hide-*`,
`--output`, ...), through a process in place of a socket (`--pipe`), or for login, which Moxy does not offer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.destination import Destination, Phase
from support.directories import make_writable
from support.moxy_commands import written
from support.moxy_process import Moxy, running
from support.ports import LOOPBACK, free_port
from support.processes import require_program, run_to_end
from support.scripted import scripted_destinations
from support.swaks import CONTENT_REFUSED, replies, run_swaks

pytestmark = pytest.mark.interop

NO = "554 5.7.1 not such content"
TO_BOTH = ["--from", "sender@sender.test", "--to", "ann@one.test,bob@two.test"]
TO_ANN = ["--from", "sender@sender.test", "--to", "ann@one.test"]


@contextmanager
def stage(directory: Path, sections: str = "") -> Iterator[tuple[Moxy, Destination, Destination]]:
    with scripted_destinations(2) as (one, two):
        table = f"one.test {one.address}\ntwo.test {two.address}\n"
        with running(*written(directory, table, sections)) as moxy:
            yield moxy, one, two


@pytest.fixture
def there(directory: Path) -> Iterator[tuple[Moxy, Destination]]:
    with stage(directory) as (moxy, one, _):
        yield moxy, one


@pytest.mark.parametrize("extra", [[], ["--pipeline"]], ids=["one by one", "pipelined"])
def test_prdr_gives_each_recipient_the_words_of_its_own_destination(directory: Path, extra: Sequence[str]) -> None:
    with stage(directory) as (moxy, one, two):
        two.answers[Phase.FINAL] = NO
        dialogue = run_swaks(moxy.port, *TO_BOTH, "--prdr", *extra)
        assert "-> MAIL FROM:<sender@sender.test> PRDR" in dialogue
        codes = [reply[:3] for reply in replies(dialogue)]
        assert codes[-5:] == ["353", "250", "554", "250", "221"]
        assert NO in dialogue
        assert [len(one.messages), len(two.messages)] == [1, 0]


@pytest.mark.parametrize("kind", ["TCP", "Unix"])
def test_lmtp_gives_each_recipient_the_words_of_its_own_destination(directory: Path, kind: str) -> None:
    sockets = directory / "sockets"
    sockets.mkdir()
    make_writable(sockets)
    port = free_port()
    endpoint, target = {
        "TCP": (f"{LOOPBACK}:{port}", ["--server", LOOPBACK, "--port", str(port)]),
        "Unix": (f"unix:{sockets}/lmtp", ["--socket", f"{sockets}/lmtp"]),
    }[kind]
    section = f'[listener.boxes]\nlisten = ["{endpoint}"]\nprotocol = "lmtp"\nsocket_mode = "0666"\n'
    with stage(directory, section) as (_, one, two):
        two.answers[Phase.FINAL] = NO
        options = ["--protocol", "LMTP", "--lhlo", "client.test"]
        done = run_to_end([require_program("swaks"), *target, *TO_BOTH, *options])
        assert done.returncode == 0, done.stdout
        assert "-> LHLO client.test" in done.stdout
        assert [reply[:3] for reply in replies(done.stdout)][-4:] == ["354", "250", "554", "221"]
        assert [len(one.messages), len(two.messages)] == [1, 0]


STOPS = [
    *[("--quit-after", point) for point in ("CONNECT", "BANNER", "FIRST-HELO", "HELO", "MAIL", "RCPT")],
    *[("--drop-after", point) for point in ("CONNECT", "BANNER", "FIRST-HELO", "HELO", "MAIL", "RCPT", "DATA")],
    *[("--drop-after-send", point) for point in ("FIRST-HELO", "HELO", "MAIL", "RCPT", "DATA")],
]


@pytest.mark.parametrize("option", ["--quit-after", "--drop-after", "--drop-after-send"])
def test_who_stops_early_leaves_no_message_and_moxy_goes_on(there: tuple[Moxy, Destination], option: str) -> None:
    moxy, one = there
    for each, point in STOPS:
        if each == option:
            run_swaks(moxy.port, *TO_ANN, option, point)
    run_swaks(moxy.port, *TO_ANN)
    assert len(one.messages) == one.ends_of_data == 1


@pytest.mark.parametrize("option", ["--drop-after", "--drop-after-send"])
def test_who_drops_after_the_dot_has_sent_a_message(there: tuple[Moxy, Destination], option: str) -> None:
    moxy, one = there
    run_swaks(moxy.port, *TO_ANN, option, "DOT")
    moxy.wait_until(lambda: one.messages, "the message")


def test_the_clients_own_name_and_address_are_traced(there: tuple[Moxy, Destination]) -> None:
    moxy, one = there
    for option in ("--helo", "--ehlo"):
        run_swaks(moxy.port, *TO_ANN, option, "[127.0.0.5]", "--local-interface", "127.0.0.5")
    run_swaks(moxy.port, *TO_ANN, "--local-port", str(free_port()))
    traces = [message.content.split(b"\r\n")[0] for message in one.messages]
    assert [b"127.0.0.5" in trace for trace in traces] == [True, True, False]


def test_a_refusal_of_the_content_is_passed_on(there: tuple[Moxy, Destination]) -> None:
    moxy, one = there
    one.answers[Phase.FINAL] = NO
    assert f"<** {NO}" in run_swaks(moxy.port, *TO_ANN, status=CONTENT_REFUSED)


MADE = {
    "--body": (["--body", "one\\ntwo"], b"\r\n\r\none\r\ntwo\r\n"),
    "--header": (["--header", "Subject: theirs"], b"\r\nSubject: theirs\r\n"),
    "--h-": (["--h-Subject", "theirs"], b"\r\nSubject: theirs\r\n"),
    "--add-header": (["--add-header", "X-One: 1\\nX-Two: 2"], b"\r\nX-One: 1\r\nX-Two: 2\r\n"),
    "--data": (["--data", "Subject: x\\n\\n.hidden\\n..\\n"], b"Subject: x\r\n\r\n.hidden\r\n..\r\n"),
    "--no-strip-from": (["--data", "From me\\nSubject: x\\n\\nx\\n", "--no-strip-from"], b"From me\r\nSubject: x\r\n"),
    "--attach-type": (["--attach-type", "text/html", "--attach", "<p>"], b"Content-Type: text/html"),
    "--attach-name": (["--attach-name", "a.bin", "--attach", "x"], b'filename="a.bin"'),
    "--attach-body": (["--attach-body", "plain", "--attach-body", "other"], b"Content-Type: multipart/alternative"),
    "--timeout": (["--timeout", "5s"], b"This is a test mailing"),
    "--show-time-lapse": (["--show-time-lapse", "--show-raw-text"], b"This is a test mailing"),
    "--force-getpwuid": (["--force-getpwuid"], b"This is a test mailing"),
}


def test_dump_as_body_is_refused_for_its_bare_line_feeds(there: tuple[Moxy, Destination]) -> None:
    moxy, one = there
    dialogue = run_swaks(moxy.port, *TO_ANN, "--dump-as-body", "TRANSPORT", status=CONTENT_REFUSED)
    assert "<** 554 5.6.0 The message has a bare CR or LF" in dialogue
    assert one.messages == []


def test_what_swaks_makes_of_a_message_arrives(there: tuple[Moxy, Destination]) -> None:
    moxy, one = there
    for name, (options, expected) in MADE.items():
        run_swaks(moxy.port, *TO_ANN, *options)
        assert expected in one.messages.pop().below_trace, name

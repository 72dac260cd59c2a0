"""`moxy sink`, as a program: it receives, shows, counts, saves, refuses, and is nobody in particular."""

import json
import pwd
import signal
import smtplib
from pathlib import Path

import click
import pytest

from moxy.cli.sink import refusal
from support.directories import UNPRIVILEGED, is_root, make_writable
from support.moxy_commands import Command, Sink, moxy

ANN, BOB = "ann@client.test", "bob@one.test"


def deliver(sink, content, recipients=(BOB,)):
    client = smtplib.SMTP("127.0.0.1", sink.port)
    try:
        client.sendmail(ANN, recipients, content)
    finally:
        client.close()  # without QUIT: a sink that has had its messages says 421 first


def test_a_message_is_one_line_of_envelope_size_and_subject(directory):
    with Sink(directory, "--name", "one.test") as sink:
        deliver(sink, b"Subject: =?utf-8?q?sch=C3=B6n?=\r\n\r\nHi\r\n", [BOB, "eve@one.test"])
        sink.wait_for("schön")
        first, line = sink.text().splitlines()
        assert first == f"one.test: listening on 127.0.0.1:{sink.port}"
        assert line.startswith(f"one.test | from <{ANN}> to <{BOB}>, <eve@one.test>, ")
        assert line.endswith(" octets: schön")
        assert sink.stop() == 0
        assert sink.text().splitlines()[2].startswith("one.test: 1 message, ")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_quietly_while_a_client_is_connected(directory, how):
    with Sink(directory) as sink:
        client = smtplib.SMTP("127.0.0.1", sink.port)
        client.ehlo()
        assert sink.stop(how) == 0
        assert client.getreply()[0] == 421
        client.close()
        assert sink.text().splitlines()[1:] == ["sink: 0 messages, 0 octets"]


def test_it_ends_after_so_many_messages(directory):
    with Sink(directory, "--count", "2") as sink:
        deliver(sink, b"Subject: 1\r\n\r\n")
        deliver(sink, b"Subject: 2\r\n\r\n")
        assert sink.wait() == 0
        assert "sink: 2 messages, " in sink.text()


def test_json_is_one_object_a_line(directory):
    with Sink(directory, "--json", "--count", "1") as sink:
        deliver(sink, "Subject: \x1b[2Jschön\r\n\r\n".encode())
        sink.wait()
        (line,) = [line for line in sink.text().splitlines() if line.startswith("{")]
        message = json.loads(line)
        assert line.isascii()
        assert (message["reverse_path"], message["recipients"]) == (ANN, [BOB])
        assert message["subject"] == "\x1b[2Jschön"


def test_nothing_a_peer_sent_steers_the_terminal(directory):
    with Sink(directory) as sink:
        deliver(sink, b"Subject: =?utf-8?q?=1B[2J=0Asink_|_from_nobody?=\r\n\r\n", ['"\\|"@one.test'])
        sink.wait_for(" octets: ")
        assert "\x1b" not in sink.text()
        assert len(sink.text().splitlines()) == 2


def test_messages_are_saved_as_they_came(directory):
    saved = directory / "new"
    with Sink(directory, "--save", str(saved), "--count", "1") as sink:
        deliver(sink, b"Subject: x\r\n\r\n.dot\r\n")
        sink.wait()
    (file,) = saved.iterdir()
    assert file.read_bytes().startswith(b"Received: ")
    assert file.read_bytes().endswith(b"\r\nSubject: x\r\n\r\n.dot\r\n")


@pytest.mark.parametrize(("phase", "code"), [("rcpt", 550), ("data", 451), ("final", 552)])
def test_it_plays_a_server_that_refuses(directory, phase, code):
    with Sink(directory, "--refuse", phase, f"{code} {str(code)[0]}.1.1 Not today") as sink:
        with pytest.raises((smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)) as caught:
            deliver(sink, b"Subject: x\r\n\r\n")
        if phase == "rcpt":
            assert caught.value.recipients == {BOB: (code, b"5.1.1 Not today")}
        else:
            assert caught.value.smtp_code == code


@pytest.mark.skipif(not is_root(), reason="only root can become somebody else")
def test_root_becomes_nobody_before_anything_is_received(directory):
    with Sink(directory) as sink:
        status = Path(f"/proc/{sink.pid}/status").read_text()
        nobody = str(pwd.getpwnam(UNPRIVILEGED).pw_uid)
        fields = dict(line.split(":", 1) for line in status.splitlines())
        assert fields["Uid"].split() == [nobody] * 4
        assert fields["Groups"].split() == []


def test_a_port_in_use_is_one_clear_line(directory):
    with Sink(directory) as sink:
        second = moxy("sink", "--listen", f"127.0.0.1:{sink.port}")
        assert second.returncode == 1
        assert second.stderr.decode() == f"moxy: cannot listen on 127.0.0.1:{sink.port}: Address already in use\n"


def test_an_unknown_user_is_one_clear_line():
    result = moxy("sink", "--listen", "127.0.0.1:0", "--runas", "no-such-user")
    assert result.returncode == 1
    assert result.stderr.decode() == "moxy: runas: there is no user `no-such-user` on this machine\n"


def test_a_place_to_save_in_that_cannot_be_made_is_one_clear_line(directory):
    (directory / "file").write_text("")
    result = moxy("sink", "--listen", "127.0.0.1:0", "--save", str(directory / "file" / "new"))
    assert result.returncode == 1
    assert result.stderr.decode().count("\n") == 1


@pytest.mark.parametrize("text", ["250 OK", "no", "550 a\r\n250 b", "", "999 x"])
def test_a_refusal_must_be_one(text):
    with pytest.raises(click.BadParameter):
        refusal(text)


def test_a_refusal_is_written_as_on_the_wire():
    assert refusal("550 5.1.1 No such user").wire == b"550 5.1.1 No such user\r\n"


def test_it_speaks_lmtp_and_listens_on_a_unix_socket(directory):
    place = f"unix:{make_writable(directory)}/sink.sock"
    with Command(directory, "sink", "--lmtp", "--listen", place, "--refuse", "rcpt", "550 5.1.1 Not today") as sink:
        sink.wait_for(f"listening on {place}")
        sent = moxy("send", "--lmtp", "--server", place, "--to", BOB)
        assert sent.returncode == 1
        assert "LMTP Moxy sink" in sent.stdout.decode()
        assert "5.1.1 Not today" in sent.stderr.decode()
        assert sink.stop() == 0
    assert not (directory / "sink.sock").exists()

"""`moxy send`, as a program: what it shows, what it counts, how it ends."""

import errno
import os
import pty
import socket
import subprocess

import pytest
from click.testing import CliRunner

from moxy.cli import send as command
from moxy.cli.send import EXAMPLES, Tally
from moxy.cli.sending import Outcome
from moxy.smtp.reply import Reply
from support.moxy_commands import Sink, arguments, environment, moxy
from support.ports import free_port


def send(sink, *options, stdin=b""):
    return moxy("send", "--server", f"127.0.0.1:{sink.port}", "--to", "bob@one.test", *options, stdin=stdin)


def saved(directory):
    (file,) = (directory / "saved").iterdir()
    return file.read_bytes()


def test_one_message_is_sent_and_its_dialogue_shown(directory):
    with Sink(directory) as sink:
        result = send(sink, "--to", "eve@one.test", "--from", "ann@client.test", "--subject", "schön")
        lines = result.stdout.decode().splitlines()
        assert result.returncode == 0
        assert "C: RCPT TO:<eve@one.test>" in lines
        assert lines[-1] == "accepted for 2 of 2 recipients"
        sink.wait_for("from <ann@client.test> to <bob@one.test>, <eve@one.test>")
        sink.wait_for(": schön")


def test_what_is_refused_is_told_and_ends_it_with_1(directory):
    with Sink(directory, "--refuse", "rcpt", "550 5.1.1 No such user") as sink:
        result = send(sink, "--quiet")
        assert result.returncode == 1
        assert result.stdout == b""
        assert result.stderr == b"refused: bob@one.test: 550 5.1.1 No such user\n"


def test_many_messages_end_in_totals(directory):
    with Sink(directory) as sink:
        result = send(sink, "--count", "30", "--concurrency", "3", "--per-connection", "4", "--size", "10k")
        assert result.returncode == 0
        assert result.stdout.startswith(b"30 messages in ")
        assert result.stdout.endswith(b"; 30 accepted for every recipient\n")
        assert sink.stop() == 0
        assert "sink: 30 messages, " in sink.text()


def test_refusals_of_many_are_counted_by_their_code(directory):
    with Sink(directory, "--refuse", "final", "452 4.3.1 Full") as sink:
        result = send(sink, "--count", "3")
        assert result.returncode == 1
        assert result.stdout.decode().splitlines()[1] == "refused, 452: 3"
        assert result.stderr == b"refused: bob@one.test: 452 4.3.1 Full (3 times)\n"


def test_a_file_is_sent_as_it_is(directory):
    (directory / "message.eml").write_bytes(b"Subject: x\n\n.dot\nlast")
    with Sink(directory, "--save", str(directory / "saved")) as sink:
        assert send(sink, "--file", str(directory / "message.eml")).returncode == 0
    assert saved(directory).endswith(b"\r\nSubject: x\r\n\r\n.dot\r\nlast\r\n")


def test_the_text_can_be_read_from_standard_input(directory):
    with Sink(directory, "--save", str(directory / "saved")) as sink:
        assert send(sink, "--body", "-", stdin=b"from afar").returncode == 0
    assert saved(directory).endswith(b"\r\n\r\nfrom afar\r\n")


def test_the_null_reverse_path_can_be_sent(directory):
    with Sink(directory) as sink:
        assert send(sink, "--from", "").returncode == 0
        sink.wait_for("from <> to")


def test_the_dialogue_of_many_is_shown_when_asked_for(directory):
    with Sink(directory) as sink:
        assert send(sink, "--count", "2", "--show").stdout.count(b"C: MAIL FROM") == 2
        assert b"C: " not in send(sink, "--no-show").stdout


def test_a_server_that_is_not_there_is_one_clear_line():
    port = free_port()
    result = moxy("send", "--server", f"127.0.0.1:{port}", "--to", "a@b.test", "--count", "5", "--concurrency", "3")
    assert result.returncode == 1
    assert result.stdout == b""
    assert result.stderr.decode() == f"moxy: cannot connect to 127.0.0.1:{port}: {os.strerror(errno.ECONNREFUSED)}\n"


def test_a_server_that_goes_away_is_told():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        client = subprocess.Popen(
            arguments("send", "--server", place, "--to", "a@b.test", "--quiet"),
            stderr=subprocess.PIPE,
            env=environment(),
        )
        listener.accept()[0].close()
        _, errors = client.communicate(timeout=20)
    assert client.returncode == 1
    assert errors == b"refused: a@b.test: the connection was lost\n"


@pytest.mark.parametrize(
    "wrong",
    [
        ["--to", "bob@"],
        ["--from", "a b@c"],
        ["--server", "host:port"],
        ["--subject", "a\nb"],
        ["--size", "much"],
        ["--count", "0"],
        ["--helo", "a b"],
        ["--file", "/no/such/file"],
    ],
)
def test_wrong_usage_ends_with_2_and_names_the_option(wrong):
    result = moxy("send", "--to", "bob@one.test", *wrong)
    assert result.returncode == 2
    assert wrong[0] in result.stderr.decode()
    assert b"Traceback" not in result.stderr


def test_on_a_terminal_there_is_a_progress_bar(directory):
    with Sink(directory) as sink:
        ours, theirs = pty.openpty()
        words = ["send", "--server", f"127.0.0.1:{sink.port}", "--to", "bob@one.test", "--count", "3"]
        client = subprocess.Popen(
            arguments(*words), stdout=theirs, stderr=theirs, env=environment() | {"TERM": "xterm"}
        )
        os.close(theirs)
        output = b""
        while block := _read(ours):
            output += block
        os.close(ours)
        assert client.wait(20) == 0
        assert b"3/3" in output
        assert b"3 messages in " in output


def _read(terminal):
    try:
        return os.read(terminal, 65_536)
    except OSError as error:  # how Linux tells that nobody holds the other end
        if error.errno != errno.EIO:
            raise
        return b""


def test_the_tally_quotes_only_a_few_refusals():
    tally = Tally()
    for number in range(EXAMPLES + 3):
        tally.count(Outcome((("a@b.c", Reply(550, "", f"no {number}")),)))
    assert len(tally.refusals) == EXAMPLES
    assert tally.codes == {"550": EXAMPLES + 3}


@pytest.mark.parametrize(
    "words", [["--ca", "x.pem"], ["--tls", "starttls", "--server", "unix:/run/s"], ["--tls", "ssl"]]
)
def test_options_of_tls_that_do_not_fit_are_mistakes(words):
    assert CliRunner().invoke(command.send, ["--to", "a@one.test", *words]).exit_code == 2

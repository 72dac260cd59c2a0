"""A real Moxy, a real rsyslogd and the tools: what went through is told by each of them, and told the same.

The hostile senders are those whom SMTP allows: a quoted local part may hold nearly anything, and Moxy takes it.
"""

from __future__ import annotations

import json
import os
import signal
import smtplib
from pathlib import Path

import pytest

from support.directories import is_root, make_writable
from support.gdbmtool import gdbmtool
from support.moxy_commands import Sink, moxy
from support.moxy_process import running
from support.ports import LOOPBACK, free_port
from support.syslogd import Rsyslogd

pytestmark = pytest.mark.interop

MESSAGE = b"Subject: counted\r\n\r\nhello\r\n"

FORGERS = [
    "\"a> [192.0.2.66] to [evil:1] for 'x'\"@example.org",
    '"%n%s%date%msize"@example.org',
    "\"99999 bytes from <x@x> [192.0.2.66] to [evil:1] for 'w@w'\"@example.org",
    "o'brien@example.org",
    "",
]
"""Reverse-paths that want to be something else in a log."""


@pytest.fixture
def daemon(directory: Path):
    home = directory / "syslog"
    home.mkdir()
    with Rsyslogd(home) as daemon:
        daemon.socket.chmod(0o777)
        yield daemon


def configured(directory: Path, sink: Sink, daemon: Rsyslogd):
    """A configuration with every log there is, for `sink`."""
    home = directory / "log"
    home.mkdir()
    make_writable(home)
    port = free_port()
    (directory / "moxy.db").write_text(f"one.test {LOOPBACK}:{sink.port}\n")
    configuration = directory / "moxy.toml"
    runas = 'runas = "nobody"\n' if is_root() else ""
    configuration.write_text(
        f'hostname = "mx.moxy.test"\nsyslog_socket = "{daemon.socket}"\n{runas}'
        f'[listener.mx]\nlisten = ["{LOOPBACK}:{port}"]\n[routes.table]\nkind = "file"\npath = "moxy.db"\n'
        '[operator_log]\nto = "syslog"\n'
        '[log.both]\nkind = "sys_and_gdbmlog"\npath = "log/totals"\n'
        '[log.lines]\nkind = "filelog"\npath = "log/lines"\n'
    )
    return configuration, port


def analyzed(configuration: Path, log: Path, *options: str):
    """What moxylogalyze says of a log."""
    result = moxy("logalyze", "-c", str(configuration), "--json", *options, str(log))
    assert result.returncode == 0, result.stderr.decode()
    return json.loads(result.stdout)


def test_syslog_and_files_tell_the_same_whatever_senders_are_called(directory: Path, daemon: Rsyslogd) -> None:
    many = [f"user-{number}-with-a-rather-long-name@one.test" for number in range(400)]
    with Sink(directory) as sink, running(*configured(directory, sink, daemon)) as moxy:
        with smtplib.SMTP(LOOPBACK, moxy.port) as client:
            client.ehlo()
            for sender in FORGERS:
                assert client.docmd(f"MAIL FROM:<{sender}>")[0] == 250, sender
                client.rcpt("bob@one.test")
                assert client.data(MESSAGE)[0] == 250
            client.sendmail("ann@example.org", many, MESSAGE)
        moxy.wait_until(lambda: len(daemon.mail()) >= len(FORGERS) + 1, "the lines in syslog")
        moxy.wait_until(lambda: len((directory / "log" / "lines").read_text().splitlines()) > len(FORGERS), "the lines")
    messages = len(FORGERS) + 1
    octets = messages * len(MESSAGE)
    configuration = directory / "moxy.toml"
    for log in (directory / "log" / "lines", daemon.home / "mail.log"):
        rows = analyzed(configuration, log, "--listby", "dest")
        assert rows["total"] == {"octets": octets, "messages": messages}
        clients = analyzed(configuration, log, "--listby", "ip")
        assert [row for row in clients.values() if isinstance(row, list)] == [
            [{"client": LOOPBACK, "octets": octets, "messages": messages}]
        ]
    totals = gdbmtool(directory / "log" / "totals", "list", options=("-r",))
    assert totals.splitlines() == [f"{LOOPBACK}:{sink.port} {octets} {messages}"]
    assert max(len(line) for line in daemon.mail()) < 8192
    assert any(line.split(",")[-1].startswith("+") for line in daemon.mail()), "a long line names but some recipients"


def test_what_moxy_says_of_itself_is_told_apart_from_the_mail(directory: Path, daemon: Rsyslogd) -> None:
    with Sink(directory) as sink, running(*configured(directory, sink, daemon)) as moxy:
        os.kill(moxy.pid, signal.SIGHUP)
        moxy.wait_until(lambda: any("reloaded" in line for line in daemon.others()), "the reload in syslog")
        moxy.wait_until(lambda: len(moxy.workers()) == 1, "the new worker alone")
        (worker,) = moxy.workers()
        with smtplib.SMTP(LOOPBACK, moxy.port) as client:
            client.sendmail("ann@example.org", "bob@one.test", MESSAGE)
        (line,) = daemon.wait_for_mail(1)
        assert f"moxy[{worker}]: " in line
    assert f"moxy[{moxy.pid}]: " in next(line for line in daemon.others() if "ready" in line)
    assert "daemon.info moxy" in "\n".join(daemon.kinds())

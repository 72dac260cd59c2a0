"""A real rsyslogd writes what we tell it: every line, once, in order, octet for octet, and nobody's forgeries."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from moxy.accounting import operatorlog
from moxy.accounting.record import Outcome, Record
from moxy.accounting.syslog import SyslogLog
from moxy.accounting.textformat import LineFormat
from moxy.net.syslog import Facility, SyslogSocket
from support.syslogd import Rsyslogd

pytestmark = pytest.mark.interop

FORMAT = LineFormat("%msize bytes from <%sender> [%shost] to [%dhost] for '%rcpts'", "%T")

TRADITIONAL = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ "
ISO_8601 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d \S+ "

HOSTILE = [
    "\n",
    "\r\n",
    "\0",
    "\t",
    "\x1b[2J\x1b]0;title\x07",
    "\x7f",
    "\x85",
    "\u2028",
    "\u202eetouq\u200f",
    "\udcff",
    "%n%s%d%n",
    "%msg%\\n",
    "#012",
    "\n<22>Nov  1 12:00:00 moxy[1]: 9 bytes from <x> [y] to [z] for 'w'",
]


def record(sender: str, recipients: list[str] | None = None, size: int = 1) -> Record:
    to = recipients or ["ann@example.net"]
    return Record(0.0, "s", "t", "192.0.2.1", 25, "h", sender, "mail:25", to, size, Outcome.DELIVERED)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Rsyslogd]:
    with Rsyslogd(tmp_path) as daemon:
        yield daemon


@pytest.fixture
def log(daemon: Rsyslogd) -> Iterator[SyslogLog]:
    log = SyslogLog(SyslogSocket(daemon.socket), FORMAT)
    yield log
    log.close()


def texts(lines: list[str]) -> list[str]:
    """What follows the daemon's stamp and our tag."""
    return [line.partition(f" moxy[{os.getpid()}]: ")[2] for line in lines]


def assert_form(line: str, stamp: str, rest: str) -> None:
    assert re.fullmatch(stamp + re.escape(rest), line), line


def test_a_delivery_arrives_as_mail_info_octet_for_octet(daemon: Rsyslogd, log: SyslogLog) -> None:
    sent = record('"100% #1, \\\\ café"@example.org')
    log.record(sent)
    (line,) = daemon.wait_for_mail(1)
    assert_form(line, TRADITIONAL, f"moxy[{os.getpid()}]: {FORMAT.render(sent)}")
    assert daemon.kinds() == [f"mail.info moxy {os.getpid()}"]
    assert not daemon.others()


def test_of_10_000_lines_none_is_lost_or_misplaced_though_the_daemon_is_restarted(tmp_path: Path) -> None:
    sent: list[str] = []

    def burst(log: SyslogLog) -> None:
        for _ in range(1000):
            sent.append(f"{len(sent)}@example.org")
            log.record(record(sent[-1]))

    async def work() -> None:
        loop = asyncio.get_running_loop()
        log = SyslogLog(SyslogSocket(tmp_path / "log"), FORMAT, loop.call_later)
        for _ in range(2):
            with Rsyslogd(tmp_path) as daemon:
                for _ in range(4):
                    burst(log)
                    await asyncio.to_thread(daemon.wait_for_mail, len(sent))
            burst(log)  # to nobody
        with Rsyslogd(tmp_path) as daemon:
            lines = await asyncio.to_thread(daemon.wait_for_mail, len(sent))
        log.close()
        assert texts(lines) == [FORMAT.render(record(sender)) for sender in sent]
        assert log.dropped == 0

    asyncio.run(work())
    assert len(sent) == 10_000


def test_no_address_writes_a_line_of_its_own(daemon: Rsyslogd, log: SyslogLog) -> None:
    addresses = [f'"a{text}b"@example.org' for text in HOSTILE]
    sent = [record(address, [address, "ann@example.net"], size) for size, address in enumerate(addresses)]
    for each in sent:
        log.record(each)
    log.record(record("last"))
    log.close()  # which waits while the daemon is busy
    lines = daemon.wait_for_mail(len(sent) + 1)
    assert texts(lines)[:-1] == [FORMAT.render(each) for each in sent]
    assert all(line.isprintable() for line in lines)
    assert daemon.kinds() == [f"mail.info moxy {os.getpid()}"] * len(lines)
    assert not daemon.others()


def test_a_line_with_very_many_recipients_arrives_whole(daemon: Rsyslogd, log: SyslogLog) -> None:
    log.record(record("joe@example.org", [f"recipient{number}@example.net" for number in range(30_000)], 17))
    (text,) = texts(daemon.wait_for_mail(1))
    assert text.startswith("17 bytes from <joe@example.org> [192.0.2.1] to [mail:25] for 'recipient0@example.net,")
    *named, others = text.removesuffix("'").partition("for '")[2].split(",")
    assert len(named) + int(others.removeprefix("+")) == 30_000


def test_rsyslog_writes_a_tab_of_the_format_in_its_own_way(daemon: Rsyslogd) -> None:
    log = SyslogLog(SyslogSocket(daemon.socket), LineFormat("%msize\t%sender", "%T"))
    log.record(record("joe@example.org"))
    assert texts(daemon.wait_for_mail(1)) == ["1#011joe@example.org"]
    log.close()


def test_the_operator_s_log_arrives_with_its_severities(daemon: Rsyslogd) -> None:
    before = structlog.get_config()
    operatorlog.configure("debug", "human", sys.stderr, SyslogSocket(daemon.socket, facility=Facility.DAEMON))
    try:
        log = structlog.get_logger("moxy.test")
        log.debug("first", said="a\n<2>Nov  1 12:00:00 moxy[1]: b")
        try:
            raise ValueError("bad\n<2>Nov  1 12:00:00 moxy[1]: c")
        except ValueError:
            log.exception("second")
        log.critical("last")
    finally:
        structlog.configure(**before)
    lines = daemon.wait_until(lambda: daemon.others() if "last" in "".join(daemon.others()) else [], "all of the log")
    assert not daemon.mail()
    for line, text in zip(lines, texts(lines), strict=True):
        assert_form(line, ISO_8601, f"moxy[{os.getpid()}]: {text}")
    kinds = [kind.split()[0] for kind in daemon.kinds()]
    assert kinds == ["daemon.debug", *["daemon.err"] * (len(lines) - 2), "daemon.crit"]
    marked = [text for text in texts(lines) if text.startswith("  | ")]
    assert len(marked) == len(lines) - 3


def test_what_comes_with_controls_is_escaped_by_rsyslog(daemon: Rsyslogd) -> None:
    """Not from us; but this is how others' lines look to who reads the file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.connect(str(daemon.socket))
        other.send(b"<22>Nov  1 12:00:00 moxy[%d]: a\nb\0c\x1bd\xff\x7f" % os.getpid())
    assert texts(daemon.wait_for_mail(1)) == ["a#012b#000c#033d\udcff\x7f"]

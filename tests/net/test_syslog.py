"""The syslog client: the right octets on the daemon's socket; no wait and no error, whatever the daemon does."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.net.syslog import LEAST_OCTETS, MESSAGE_OCTETS, RECONNECT_SECONDS, Facility, Severity, SyslogSocket
from support.syslogd import BareSyslogd

NOVEMBER = 1_793_534_400.9  # 2026-11-01 12:00:00 UTC


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def syslog(path, clock):
    syslog = SyslogSocket(path, clock=clock)
    yield syslog
    syslog.close()


@pytest.fixture
def greenwich(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def said(text):
    return SyslogSocket().message(Severity.INFORMATIONAL, text, NOVEMBER)


def text_of(message):
    return message.partition(b"]: ")[2]


def has_small_buffer(syslog):
    """From now on: the least that Linux allows, some 4 KiB."""
    syslog._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)


# What is sent


@pytest.mark.parametrize(
    ("facility", "severity", "priority"),
    [
        (Facility.MAIL, Severity.INFORMATIONAL, 22),
        (Facility.MAIL, Severity.CRITICAL, 18),
        (Facility.USER, Severity.DEBUG, 15),
        (Facility.DAEMON, Severity.WARNING, 28),
        (Facility.LOCAL0, Severity.ERROR, 131),
        (Facility.LOCAL7, Severity.DEBUG, 191),
    ],
)
def test_a_message_has_the_form_that_local_daemons_read(greenwich, facility, severity, priority):
    message = SyslogSocket(facility=facility).message(severity, "what happened", NOVEMBER)
    assert message == f"<{priority}>Nov  1 12:00:00 moxy[{os.getpid()}]: what happened".encode()


def test_months_have_their_english_names(greenwich):
    syslog = SyslogSocket()
    months = [syslog.message(Severity.DEBUG, "", NOVEMBER + 30 * 86400 * number)[4:7] for number in range(12)]
    assert b" ".join(months) == b"Nov Dec Dec Jan Mar Mar Apr May Jun Jul Aug Sep"
    assert syslog.message(Severity.DEBUG, "", NOVEMBER - 86400).startswith(b"<23>Oct 31 ")
    assert syslog.message(Severity.DEBUG, "", NOVEMBER + 100 * 86400).startswith(b"<23>Feb  9 ")


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("100% %s %n #012", b"100% %s %n #012"),
        ("café", "café".encode()),
        ("a\tb", b"a\tb"),
        ("a\r\n<22>Nov  1 12:00:00 moxy[1]: b", b"a  <22>Nov  1 12:00:00 moxy[1]: b"),
        ("a\0b\x1b[2J\x7f", b"a b [2J "),
        ("\udcff", b"\\udcff"),
        ("", b""),
    ],
)
def test_a_message_is_one_line_whatever_its_text(text, octets):
    assert text_of(said(text)) == octets


@given(st.text(st.characters()))
def test_no_text_leaves_a_control_or_anything_but_utf_8(text):
    message = said(text).decode()
    assert not any((ord(character) < 32 and character != "\t") or ord(character) == 127 for character in message)


@given(st.integers(0, 3), st.sampled_from(["x", "é", "€", "😀"]))
def test_a_long_message_loses_its_end_between_two_characters(offset, character):
    message = said("-" * offset + character * MESSAGE_OCTETS)
    assert MESSAGE_OCTETS - 3 <= len(message) <= MESSAGE_OCTETS
    assert message.decode().rstrip(".").endswith(character)
    assert message.endswith(b"...")


def test_the_longest_message_stays_whole():
    room = MESSAGE_OCTETS - len(said(""))
    assert text_of(said("x" * room)) == b"x" * room


# To whom, and what if nobody is there


def test_a_message_arrives_as_it_was_made(path, syslog):
    with BareSyslogd(path) as daemon:
        message = said("hello")
        assert syslog.send(message)
        assert syslog.error is None
        assert daemon.received() == [message]


def test_without_a_daemon_nothing_is_taken_and_it_is_asked_for_about_once_a_second(path, syslog, clock):
    assert not syslog.send(b"1")
    assert isinstance(syslog.error, FileNotFoundError)
    with BareSyslogd(path) as daemon:
        clock.now = RECONNECT_SECONDS / 2
        assert not syslog.send(b"2")
        clock.now = RECONNECT_SECONDS
        assert syslog.send(b"3")
        assert syslog.error is None
        assert daemon.received() == [b"3"]


def test_a_daemon_that_was_restarted_meanwhile_gets_the_very_next_message(path, syslog, clock):
    with BareSyslogd(path):
        assert syslog.send(b"1")
    clock.now = RECONNECT_SECONDS
    with BareSyslogd(path) as daemon:
        assert syslog.send(b"2")
        assert daemon.received() == [b"2"]


def test_a_daemon_that_went_away_is_found_when_it_comes_back(path, syslog, clock):
    with BareSyslogd(path):
        assert syslog.send(b"1")
    clock.now = 5.0
    assert not syslog.send(b"2")
    clock.now += RECONNECT_SECONDS
    with BareSyslogd(path) as daemon:
        assert syslog.send(b"3")
        assert daemon.received() == [b"3"]


def test_a_daemon_that_does_not_read_makes_nobody_wait(path, syslog):
    with BareSyslogd(path) as daemon:
        taken = 0
        while syslog.send(b"%d" % taken):
            taken += 1
        assert isinstance(syslog.error, BlockingIOError)
        assert not syslog.wait(0.001)
        assert daemon.received(1) == [b"0"]
        assert syslog.wait(20)
        assert syslog.send(b"more")
        assert daemon.received() == [b"%d" % number for number in range(1, taken)] + [b"more"]


def test_there_is_nothing_to_wait_for_where_there_is_no_daemon(syslog):
    assert not syslog.send(b"1")
    assert not syslog.wait(20)


def test_who_closes_may_send_again(path, syslog, clock):
    with BareSyslogd(path) as daemon:
        assert syslog.send(b"1")
        syslog.close()
        syslog.close()
        assert not syslog.wait(20)
        clock.now = RECONNECT_SECONDS
        assert syslog.send(b"2")
        assert daemon.received() == [b"1", b"2"]


def test_a_message_too_long_for_the_kernel_goes_out_shortened(path, syslog):
    with BareSyslogd(path) as daemon:
        assert syslog.send(b"1")
        has_small_buffer(syslog)
        assert syslog.send(said("x" * MESSAGE_OCTETS))
        _, message = daemon.received()
        assert LEAST_OCTETS <= len(message) < MESSAGE_OCTETS
        assert message.endswith(b"xxx...")


@pytest.mark.parametrize("name", ["x" * 200, "missing/log", ".", "file"])
def test_a_path_that_is_no_daemon_s_is_an_answer_and_no_exception(tmp_path, name):
    (tmp_path / "file").write_text("")
    syslog = SyslogSocket(tmp_path / name)
    assert not syslog.send(b"1")
    assert isinstance(syslog.error, OSError)


def test_a_process_without_descriptors_left_hears_no(path, syslog, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", refuse)
    assert not syslog.send(b"1")
    assert syslog.error.errno == errno.EMFILE


def test_threads_may_share_a_socket_while_daemons_come_and_go(path):
    syslog = SyslogSocket(path, clock=itertools.count().__next__)
    raised = []
    stop = threading.Event()

    def work():
        try:
            while not stop.is_set():
                syslog.send(b"x")
        except Exception as error:  # noqa: BLE001 - whatever it is
            raised.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        with BareSyslogd(path) as daemon:
            while not daemon.received():
                assert not raised
    stop.set()
    for thread in threads:
        thread.join()
    syslog.close()
    assert not raised


# A daemon with a stream socket


class StreamDaemon:
    """A daemon whose socket takes connections, as syslog-ng's may."""

    def __init__(self, path):
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()

    def accept(self):
        return self._listener.accept()[0]

    def end(self):
        self._listener.close()


@pytest.fixture
def stream_daemon(path):
    daemon = StreamDaemon(path)
    yield daemon
    daemon.end()


def test_on_a_stream_messages_end_with_nul(syslog, stream_daemon):
    assert syslog.send(b"1")
    assert syslog.send(b"2")
    with stream_daemon.accept() as connection:
        assert connection.recv(100) == b"1\x002\x00"


def test_a_stream_that_breaks_is_made_anew(syslog, stream_daemon, clock):
    assert syslog.send(b"1")
    stream_daemon.accept().close()
    assert not syslog.send(b"2")
    clock.now = RECONNECT_SECONDS
    assert syslog.send(b"3")
    with stream_daemon.accept() as connection:
        assert connection.recv(100) == b"3\x00"


def test_on_a_stream_no_message_is_followed_into_its_middle(syslog, stream_daemon, clock):
    message = said("x" * MESSAGE_OCTETS)
    assert syslog.send(b"1")
    has_small_buffer(syslog)
    assert not syslog.send(message)
    assert isinstance(syslog.error, BlockingIOError)
    clock.now = RECONNECT_SECONDS
    assert syslog.send(message)
    with stream_daemon.accept() as cut, stream_daemon.accept() as whole:
        assert message.startswith(cut.recv(10_000).removeprefix(b"1\x00"))
        assert whole.recv(10_000) == message + b"\x00"

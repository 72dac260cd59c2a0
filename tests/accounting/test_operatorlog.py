"""The operator's log: one event is one line, in the style that was asked for, and writing it never raises."""

import io
import json
import os
from datetime import datetime

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from moxy.accounting import operatorlog
from moxy.net.syslog import Facility, SyslogSocket
from support.syslogd import BareSyslogd


@pytest.fixture(autouse=True)
def configuration():
    """Leave structlog as it was."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Broken(io.StringIO):
    def write(self, text):
        raise BrokenPipeError("the reader is gone")


def written(style, event="event", stream=None, level="info", **values):
    stream = stream or io.StringIO()
    operatorlog.configure(level, style, stream)
    structlog.get_logger("moxy.test").info(event, **values)
    return stream.getvalue()


def test_json_is_one_object_a_line_with_time_level_and_name():
    event = json.loads(written("json", "table_kept", file="moxy.db", mistakes=2))
    moment = datetime.fromisoformat(event.pop("timestamp"))
    assert moment.utcoffset().total_seconds() == 0
    assert event == {"event": "table_kept", "file": "moxy.db", "mistakes": 2, "level": "info", "logger": "moxy.test"}


@pytest.mark.parametrize(
    ("style", "stream", "human"),
    [
        ("auto", io.StringIO, False),
        ("auto", Terminal, True),
        ("human", io.StringIO, True),
        ("json", Terminal, False),
    ],
)
def test_auto_is_human_on_a_terminal_and_json_elsewhere(style, stream, human):
    line = written(style, stream=stream())
    assert line.startswith("{") is not human


def test_only_a_terminal_gets_colours():
    assert "\x1b" in written("human", stream=Terminal())
    assert "\x1b" not in written("human")


def test_an_unnamed_logger_is_moxy_s():
    stream = io.StringIO()
    operatorlog.configure("info", "json", stream)
    structlog.get_logger().info("event")
    assert json.loads(stream.getvalue())["logger"] == "moxy"


def test_what_weighs_less_than_the_level_is_not_written():
    stream = io.StringIO()
    operatorlog.configure("warning", "json", stream)
    log = structlog.get_logger()
    for level in operatorlog.LEVELS:
        getattr(log, level)("event")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == ["warning", "error"]


@pytest.mark.parametrize(("level", "style"), [("loud", "json"), ("info", "pretty")])
def test_unknown_words_are_refused(level, style):
    with pytest.raises(ValueError, match="expected"):
        operatorlog.configure(level, style)


@pytest.mark.parametrize("style", ["human", "json"])
@given(text=st.text())
def test_whatever_a_peer_says_an_event_is_one_line_without_control_characters(style, text):
    line = written(style, text, said=text, among=[text], error=OSError(text))
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert not any(ord(character) < 32 for character in line[:-1])


def test_people_see_the_escaped_octets():
    assert "said=x\\x1b[31m\\x0ay" in written("human", said="x\x1b[31m\ny", number=3)


@pytest.mark.parametrize("style", ["human", "json"])
def test_a_traceback_cannot_pose_as_an_event(style):
    stream = io.StringIO()
    operatorlog.configure("info", style, stream)
    try:
        raise ValueError("bad\n2026-01-01 [info] all is well\x1b[2J")
    except ValueError:
        structlog.get_logger().exception("failed")
    first, *others = stream.getvalue().splitlines()
    assert "failed" in first
    assert all(line.startswith("  | ") for line in others)
    assert "ValueError: bad" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("style", ["human", "json"])
def test_a_log_that_nobody_reads_costs_nothing(style):
    written(style, stream=Broken())
    closed = io.StringIO()
    operatorlog.configure("info", style, closed)
    closed.close()
    structlog.get_logger().info("event")


def test_loggers_in_use_can_still_be_captured():
    stream = io.StringIO()
    operatorlog.configure("info", "json", stream)
    log = structlog.get_logger()
    log.info("used")
    operatorlog.configure("info", "json", stream)
    with structlog.testing.capture_logs() as captured:
        log.info("captured")
    assert [event["event"] for event in captured] == ["captured"]


def test_loggers_in_use_follow_to_another_place_style_and_level():
    first, second = io.StringIO(), io.StringIO()
    operatorlog.configure("error", "json", first)
    log = structlog.get_logger("moxy.test")
    log.info("too little")
    log.error("used")
    operatorlog.configure("info", "human", second)
    log.info("followed")
    assert [json.loads(line)["event"] for line in first.getvalue().splitlines()] == ["used"]
    assert "followed" in second.getvalue()
    assert not second.getvalue().startswith("{")


# To syslog


@pytest.fixture
def daemon(tmp_path):
    with BareSyslogd(tmp_path / "log") as daemon:
        yield daemon


def to_syslog(path, style="auto", level="debug"):
    """A logger that speaks to the daemon at `path`, and the stream beside it."""
    stream = Terminal()
    operatorlog.configure(level, style, stream, SyslogSocket(path, facility=Facility.DAEMON))
    return structlog.get_logger("moxy.test"), stream


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 31), ("info", 30), ("warning", 28), ("error", 27), ("critical", 26)]
)
def test_an_event_has_its_severity_in_syslog_and_goes_nowhere_else(daemon, level, priority):
    log, stream = to_syslog(daemon.path)
    getattr(log, level)("event")
    (message,) = daemon.received()
    assert message.startswith(b"<%d>" % priority)
    assert b" moxy[%d]: [%s" % (os.getpid(), level.encode()) in message
    assert stream.getvalue() == ""


@pytest.mark.parametrize("style", ["auto", "human"])
def test_people_read_syslog_without_colours_and_without_a_second_time(daemon, style):
    log, _ = to_syslog(daemon.path, style)
    log.warning("table_kept", file="moxy.db")
    (text,) = daemon.texts()
    assert text.split() == ["[warning", "]", "table_kept", "[moxy.test]", "file=moxy.db"]


def test_json_in_syslog_is_what_it_is_elsewhere(daemon):
    log, _ = to_syslog(daemon.path, "json")
    log.warning("table_kept", file="moxy.db")
    (text,) = daemon.texts()
    event = json.loads(text)
    assert datetime.fromisoformat(event.pop("timestamp"))
    assert event == {"event": "table_kept", "file": "moxy.db", "level": "warning", "logger": "moxy.test"}


def test_each_line_of_a_traceback_is_a_message_and_marked(daemon):
    log, _ = to_syslog(daemon.path)
    try:
        raise ValueError("bad\n<2>Nov  1 12:00:00 moxy[1]: all is well\x1b[2J")
    except ValueError:
        log.exception("failed")
    messages = daemon.received()
    assert all(message.startswith(b"<27>") and message.decode().isprintable() for message in messages)
    first, *others = [message.decode().partition("]: ")[2] for message in messages]
    assert "failed" in first
    assert len(others) > 3
    assert all(line.startswith("  | ") for line in others)
    assert others[-1].endswith("\\x1b[2J")


@pytest.mark.parametrize("style", ["human", "json"])
@given(text=st.text())
def test_whatever_a_peer_says_an_event_is_one_message(tmp_path_factory, style, text):
    path = tmp_path_factory.mktemp("syslog") / "log"
    with BareSyslogd(path) as daemon:
        log, stream = to_syslog(path, style)
        log.info(text, said=text, among=[text], error=OSError(text))
        (message,) = daemon.received()
    assert not any(ord(character) < 32 for character in message.decode())
    assert stream.getvalue() == ""


def test_where_there_is_no_daemon_standard_error_has_the_line(tmp_path):
    log, stream = to_syslog(tmp_path / "log")
    log.warning("table_kept", file="moxy.db")
    assert stream.getvalue().split() == ["[warning", "]", "table_kept", "[moxy.test]", "file=moxy.db"]


def test_a_daemon_that_stands_still_is_waited_for_once(daemon, monkeypatch):
    waits = []
    monkeypatch.setattr(SyslogSocket, "wait", lambda syslog, seconds: waits.append(seconds))
    log, stream = to_syslog(daemon.path)
    while len(stream.getvalue().splitlines()) < 3:
        log.info("event")
    assert waits == [operatorlog.PATIENCE_SECONDS]
    daemon.received()
    while len(stream.getvalue().splitlines()) < 6:
        log.info("event")
    assert waits == [operatorlog.PATIENCE_SECONDS] * 2


def test_a_daemon_that_is_only_busy_gets_every_line(daemon, monkeypatch):
    class ReadWhenWaitedFor(SyslogSocket):
        def wait(self, seconds):
            texts.extend(daemon.texts())
            return super().wait(20)

    texts = []
    stream = io.StringIO()
    operatorlog.configure("info", "json", stream, ReadWhenWaitedFor(daemon.path))
    for number in range(2000):
        structlog.get_logger().info("event", number=number)
    assert [json.loads(text)["number"] for text in texts + daemon.texts()] == list(range(2000))
    assert stream.getvalue() == ""


def test_where_there_is_neither_daemon_nor_stream_nothing_happens(tmp_path):
    log, stream = to_syslog(tmp_path / "log")
    stream.close()
    log.warning("event")


def test_a_log_that_went_to_syslog_can_come_back(daemon):
    log, stream = to_syslog(daemon.path)
    log.info("there")
    operatorlog.configure("info", "json", stream)
    log.info("here")
    assert len(daemon.received()) == 1
    assert json.loads(stream.getvalue())["event"] == "here"

"""The operator's log: one event is one line, in the style that was asked for, and writing it never raises."""

import io
import json
from datetime import datetime

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from moxy.accounting import operatorlog


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

"""The sink as a server: how it shows a message. (As programs: test_sink.py and test_demo.py.)"""

import json

import click
import pytest

from moxy.cli import receiving
from moxy.delivery.sink import SinkMessage
from moxy.errors import MoxyError
from support.directories import is_root

MESSAGE = SinkMessage(
    "T1", "192.0.2.1", "ann@a.test", ("bob@b.test", '"\x1b"@b.test'), 1234, b"Subject: a\x07b\r\n\r\n"
)


def test_people_get_one_line_with_nothing_a_terminal_obeys():
    line = click.unstyle(receiving.line(MESSAGE, "sink"))
    assert line == 'sink | from <ann@a.test> to <bob@b.test>, <"\\x1b"@b.test>, 1,234 octets: a\\x07b'


def test_a_message_without_subject_says_so():
    line = click.unstyle(receiving.line(SinkMessage("T1", "", "", ("bob@b.test",), 1, b"\r\n"), "sink"))
    assert line == "sink | from <> to <bob@b.test>, 1 octet: no subject"


def test_programs_get_json():
    line = receiving.as_json(MESSAGE)
    assert line.isprintable()
    assert json.loads(line) == {
        "id": "T1",
        "client": "192.0.2.1",
        "reverse_path": "ann@a.test",
        "recipients": ["bob@b.test", '"\x1b"@b.test'],
        "octets": 1234,
        "subject": "a\x07b",
    }


def test_root_becomes_nobody_unless_told_otherwise():
    user = receiving.unprivileged()
    assert (user.name if user is not None else None) == ("nobody" if is_root() else None)


def test_root_cannot_stay_root():
    with pytest.raises(MoxyError):
        receiving.unprivileged("root" if is_root() else "daemon")

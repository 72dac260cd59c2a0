"""The sections about logs."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from moxy.config.logs import FileLog, GdbmLog, Log, NoLog, SysAndGdbmLog, SyslogLog
from moxy.config.schema import Config

SECTION = TypeAdapter(Log)


@pytest.mark.parametrize(
    ("section", "model"),
    [
        ({"kind": "nolog"}, NoLog),
        ({"kind": "filelog", "path": "/a"}, FileLog),
        ({"kind": "syslog"}, SyslogLog),
        ({"kind": "gdbmlog", "path": "/a"}, GdbmLog),
        ({"kind": "sys_and_gdbmlog", "path": "/a", "facility": "local3"}, SysAndGdbmLog),
    ],
)
def test_the_kind_chooses_the_keys(section, model):
    assert type(SECTION.validate_python(section)) is model


def test_a_kind_has_only_its_own_keys():
    for section in ({"kind": "gdbmlog", "path": "/a", "format": "%msize"}, {"kind": "syslog", "path": "/a"}):
        with pytest.raises(ValidationError):
            SECTION.validate_python(section)


def test_the_line_is_the_originals_in_every_kind_that_has_one():
    lines = [FileLog(kind="filelog", path=Path("/a")), SyslogLog(kind="syslog"),
             SysAndGdbmLog(kind="sys_and_gdbmlog", path=Path("/a"))]  # fmt: skip
    for log in lines:
        assert log.format == "%date: %msize bytes from <%sender> [%shost] to [%dhost] for '%rcpts'"
        assert log.date_format == "%d/%m/%y %T %z"


def test_mail_is_the_facility_of_mail():
    assert SyslogLog(kind="syslog").facility == "mail"


def test_no_two_logs_share_a_file():
    with pytest.raises(ValidationError, match="already belongs to"):
        Config.model_validate(
            {
                "log": {
                    "a": FileLog(kind="filelog", path=Path("/x")),
                    "b": SyslogLog(kind="syslog"),
                    "c": GdbmLog(kind="gdbmlog", path=Path("/x")),
                }
            }
        )

"""The sections `[log.NAME]` and `[operator_log]` of the schema. As in `schema`, the text documents the key.

Keys that several kinds share are declared once and mixed.
"""

from typing import Annotated, Literal

from pydantic import Field, WrapValidator

from moxy.config.kinds import foreign_passes
from moxy.config.types import File, Line, Section


class _Lines(Section):
    """Keys of the logs that write a line for each message at each destination."""

    format: Line = "%date: %msize bytes from <%sender> [%shost] to [%dhost] for '%rcpts'"
    """The line: `%shost` the client's address, `%sender` the reverse-path, `%dhost` the destination's host:port,
    `%rcpts` the recipients with commas, `%msize` octets of the message, `%date` the local time.
    """

    date_format: Line = "%d/%m/%y %T %z"
    """How `%date` is written, in the letters of strftime."""


class _Syslog(Section):
    """Keys of the logs that go to the local syslog daemon."""

    facility: Literal[
        "mail", "daemon", "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"
    ] = "mail"
    """The facility under which the daemon sorts it (RFC 5424 §6.2.1). The severity is `info`."""


class FileLog(_Lines):
    """A line of text for each message at each destination."""

    path: File = Field(examples=["/var/log/moxy/moxy.log"])
    """The file, created if missing. A relative path starts where this file is."""

    kind: Literal["filelog"]
    """A text file."""


class SyslogLog(_Lines, _Syslog):
    """The same lines, given to the local syslog daemon, which decides where they go and adds the time of its own."""

    kind: Literal["syslog"]
    """The syslog daemon."""


class GdbmLog(Section):
    """Totals of octets and messages for each destination, in a GNU dbm file that is always up to date. `moxystats`
    shows them.
    """

    path: File = Field(examples=["/var/log/moxy/totals.gdbm"])
    """The file, created if missing; its directory should be writable for the user of `runas`. A relative path starts
    where this file is.
    """

    kind: Literal["gdbmlog"]
    """A GNU dbm file of totals."""


class SysAndGdbmLog(_Lines, _Syslog):
    """Both: lines to the syslog daemon, totals in a GNU dbm file."""

    path: File = Field(examples=["/var/log/moxy/both.gdbm"])
    """The file of totals, as in kind `gdbmlog`."""

    kind: Literal["sys_and_gdbmlog"]
    """The syslog daemon, and a GNU dbm file of totals."""


class NoLog(Section):
    """Nothing is written: saves space, and hides everything."""

    kind: Literal["nolog"]
    """No log."""


class OperatorLog(Section):
    """What Moxy tells whoever runs it: starts, stops, troubles. No line for each message."""

    to: Literal["auto", "stderr", "syslog"] = "auto"
    """Standard error or the local syslog daemon; `auto` is standard error, and syslog once Moxy is in the background
    with `-d`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least weight that is told. `debug` tells every dialogue, with clients and with destinations, line by line; of
    the messages only how many octets."""

    style: Literal["auto", "human", "json"] = "auto"
    """`human` lines, `json` objects, or `auto`: human on a terminal and in syslog, JSON elsewhere."""


LineLog = FileLog | SyslogLog | SysAndGdbmLog
DaemonLog = SyslogLog | SysAndGdbmLog
TotalsLog = GdbmLog | SysAndGdbmLog
"""The kinds by what they do: write lines, to the syslog daemon among others, and keep totals."""

Log = Annotated[
    FileLog | SyslogLog | GdbmLog | SysAndGdbmLog | NoLog, Field(discriminator="kind"), WrapValidator(foreign_passes)
]

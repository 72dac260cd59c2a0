"""From the configuration to the logs: the sinks of the accounting, and where the operator's log goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from structlog import get_logger

from moxy.accounting import Sink, operatorlog
from moxy.accounting.filelog import FILE_MODE, FileLog
from moxy.accounting.gdbmlog import GdbmLog
from moxy.accounting.syslog import SyslogLog
from moxy.accounting.textformat import LineFormat
from moxy.config import logs
from moxy.config.kinds import Foreign
from moxy.config.schema import Config
from moxy.errors import MoxyError
from moxy.net.syslog import Facility, SyslogSocket
from moxy.process.privileges import Identity

log = get_logger("moxy")

Later = Callable[[float, Callable[[], None]], object]
"""An event loop's `call_later`."""


def create_files(config: Config, user: Identity | None) -> None:
    """Make the log files that do not exist yet, empty and for `user`, while we may. Raises MoxyError."""
    for section in config.log.values():
        if isinstance(section, logs.FileLog | logs.TotalsLog):
            try:
                _create(section.path, user)
            except FileExistsError:
                pass
            except OSError as error:
                raise MoxyError(f"cannot open the log {section.path}: {error.strerror}") from error


def _create(path: Path, user: Identity | None) -> None:
    # O_EXCL follows no symbolic link: in a directory of theirs, others could have us make files anywhere.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        if user is not None:
            os.fchown(descriptor, user.uid, user.gid)
    finally:
        os.close(descriptor)


def open_sinks(config: Config, later: Later) -> list[Sink]:
    """Every log of the configuration, open. Raises MoxyError for one that cannot be used."""
    return [sink for section in config.log.values() for sink in _open(section, config, later)]


def _open(section: logs.Log | Foreign, config: Config, later: Later) -> Iterator[Sink]:
    if isinstance(section, Foreign):
        yield section.made(later)
    if isinstance(section, logs.DaemonLog):
        syslog = SyslogSocket(config.syslog_socket, facility=Facility[section.facility.upper()])
        yield SyslogLog(syslog, LineFormat(section.format, section.date_format), later)
    try:
        if isinstance(section, logs.FileLog):
            yield FileLog(section.path, LineFormat(section.format, section.date_format), later)
        if isinstance(section, logs.TotalsLog):
            yield GdbmLog(section.path, later)
    except OSError as error:
        raise MoxyError(f"cannot open the log {error.filename}: {error.strerror}") from error


def configure_operator_log(config: Config, *, detached: bool) -> None:
    """Send the operator's log where the configuration says. In each process anew: syslog is told its number."""
    section = config.operator_log
    syslog = None
    if _goes_to_syslog(section, detached):
        syslog = SyslogSocket(config.syslog_socket, facility=Facility.DAEMON)
    operatorlog.configure(section.level, section.style, syslog=syslog)


def warn_of_no_syslog(config: Config, *, detached: bool) -> None:
    """Tell, while somebody may still read it, that there is no daemon to take the operator's log."""
    if _goes_to_syslog(config.operator_log, detached) and not config.syslog_socket.is_socket():
        remedy = "start a syslog daemon, or set `to` in [operator_log]"
        log.warning("no_syslog_daemon", socket=str(config.syslog_socket), remedy=remedy)


def _goes_to_syslog(section: logs.OperatorLog, detached: bool) -> bool:
    return section.to == "syslog" or (section.to == "auto" and detached)

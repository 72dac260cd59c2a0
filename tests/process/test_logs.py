"""The logs of a configuration: their files, and what is made of each."""

from __future__ import annotations

import os
import stat

import pytest

from moxy.accounting.filelog import FileLog
from moxy.accounting.gdbmlog import GdbmLog
from moxy.accounting.syslog import SyslogLog
from moxy.config.load import loads
from moxy.errors import MoxyError
from moxy.process import logs
from moxy.process.privileges import identity
from support.directories import UNPRIVILEGED, is_root


def configured(directory, *kinds):
    sections = [
        f'[log.{kind}]\nkind = "{kind}"\n' + ("" if kind in ("nolog", "syslog") else f'path = "{kind}"\n')
        for kind in kinds
    ]
    return loads("".join(sections), str(directory / "moxy.toml"), "toml")


def later(seconds, callback):
    """Nothing is recorded here."""


@pytest.mark.parametrize(
    ("kind", "sinks"),
    [
        ("nolog", []),
        ("filelog", [FileLog]),
        ("syslog", [SyslogLog]),
        ("gdbmlog", [GdbmLog]),
        ("sys_and_gdbmlog", [SyslogLog, GdbmLog]),
    ],
)
def test_each_kind_is_what_its_name_says(directory, kind, sinks):
    opened = logs.open_sinks(configured(directory, kind), later)
    assert [type(sink) for sink in opened] == sinks
    for sink in opened:
        sink.close()


def test_all_logs_of_a_configuration_are_opened(directory):
    opened = logs.open_sinks(configured(directory, "filelog", "nolog", "gdbmlog"), later)
    assert [type(sink) for sink in opened] == [FileLog, GdbmLog]
    for sink in opened:
        sink.close()


def test_missing_files_are_made_so_that_not_everybody_reads_them(directory):
    logs.create_files(configured(directory, "filelog", "gdbmlog"), None)
    for name in ("filelog", "gdbmlog"):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o640


@pytest.mark.skipif(not is_root(), reason="only root can give files away")
def test_a_new_file_belongs_to_whom_moxy_becomes_and_an_old_one_stays_as_it_is(directory):
    user = identity(UNPRIVILEGED)
    config = configured(directory, "filelog", "gdbmlog", "syslog")
    logs.create_files(config, user)
    for name in ("filelog", "gdbmlog"):
        assert ((directory / name).stat().st_uid, (directory / name).stat().st_gid) == (user.uid, user.gid)
        os.chown(directory / name, 0, 0)
    logs.create_files(config, user)
    assert (directory / "filelog").stat().st_uid == 0


def test_a_log_that_cannot_be_made_or_opened_is_told(directory):
    config = configured(directory / "no", "filelog")
    for use in (lambda: logs.create_files(config, None), lambda: logs.open_sinks(config, later)):
        with pytest.raises(MoxyError, match=r"cannot open the log .*/no/filelog: No such file or directory"):
            use()


@pytest.mark.parametrize("kind", ["filelog", "gdbmlog"])
def test_no_file_is_made_where_a_symbolic_link_leads(directory, kind):
    """Else who owns the directory could have root make files anywhere."""
    elsewhere = directory / "elsewhere"
    (directory / kind).symlink_to(elsewhere)
    logs.create_files(configured(directory, kind), None)
    assert not elsewhere.exists()

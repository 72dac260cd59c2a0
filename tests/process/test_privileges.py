"""Whom Moxy becomes, and that there is no way back."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from moxy.errors import MoxyError
from moxy.process import privileges
from moxy.process.privileges import Identity, identity
from support.directories import UNPRIVILEGED, is_root
from support.moxy_commands import as_unprivileged
from support.moxy_process import running_moxy

NOBODY = pwd.getpwnam(UNPRIVILEGED)
needs_root = pytest.mark.skipif(not is_root(), reason="only root can become somebody else")


@pytest.mark.parametrize(
    ("runas", "expected"),
    [
        (UNPRIVILEGED, (NOBODY.pw_uid, NOBODY.pw_gid)),
        (str(NOBODY.pw_uid), (NOBODY.pw_uid, NOBODY.pw_gid)),
        (f"{UNPRIVILEGED}:daemon", (NOBODY.pw_uid, 1)),
        (f"{UNPRIVILEGED}:12345", (NOBODY.pw_uid, 12345)),
        ("54321:12345", (54321, 12345)),
    ],
)
def test_a_user_is_told_by_name_or_number_with_a_group_or_without(runas, expected):
    user = identity(runas)
    assert (user.uid, user.gid) == expected


@pytest.mark.parametrize(
    ("runas", "message"),
    [
        ("no-such-user", "there is no user `no-such-user`"),
        ("54321", "there is no user `54321`"),
        (f"{UNPRIVILEGED}:no-such-group", "there is no group `no-such-group`"),
        ("root", "root is no unprivileged user"),
        ("0", "root is no unprivileged user"),
        ("0:12345", "root is no unprivileged user"),
    ],
)
def test_who_cannot_be_become_is_told(runas, message):
    with pytest.raises(MoxyError, match=message):
        identity(runas)


@needs_root
def test_root_must_name_a_user():
    with pytest.raises(MoxyError, match="does not run as root: name an unprivileged user with `runas`"):
        privileges.required("")
    assert privileges.required(UNPRIVILEGED) == Identity(UNPRIVILEGED, NOBODY.pw_uid, NOBODY.pw_gid)


def test_others_need_no_user_and_cannot_become_another():
    def check():
        assert privileges.required("") is None
        assert privileges.required(str(os.geteuid())) is None
        with pytest.raises(MoxyError, match="only root can become `daemon`"):
            privileges.required("daemon")

    as_unprivileged(check)


@needs_root
def test_a_running_moxy_has_nothing_left_of_root(directory):
    with running_moxy(directory, "one.test 127.0.0.1:9\n") as moxy:
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{moxy.pid}/status").read_text().splitlines())
        assert fields["Uid"].split() == [str(NOBODY.pw_uid)] * 4
        assert fields["Gid"].split() == [str(NOBODY.pw_gid)] * 4
        assert fields["Groups"].split() == []
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(fields[capabilities], 16) == 0


@needs_root
def test_who_may_not_read_a_file_is_told_what_to_do(directory):
    path, missing = directory / "secret", directory / "missing"
    path.touch(0o600)
    assert privileges.remedy(path, UNPRIVILEGED) == ""

    def check():
        told = f"{path}: {UNPRIVILEGED} may not read it, and must: `chown {UNPRIVILEGED} {path}`"
        assert privileges.remedy(path, UNPRIVILEGED) == told
        assert privileges.remedy(path, "") == ""
        assert privileges.remedy(missing, UNPRIVILEGED) == ""

    as_unprivileged(check)


def test_there_is_no_way_back():
    def check():
        for become in (os.setuid, os.seteuid, os.setgid, os.setegid):
            with pytest.raises(PermissionError):
                become(0)
        with pytest.raises(PermissionError):
            os.setgroups([0])

    as_unprivileged(check)


def test_a_drop_that_fails_is_told():
    def check():
        with pytest.raises(MoxyError, match="cannot become `daemon`"):
            privileges.drop(Identity("daemon", 1, 1))

    as_unprivileged(check)

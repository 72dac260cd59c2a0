"""A route table made into a gdbm file and turned back: what is stored, and that nobody sees half of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.errors import ConfigError, MoxyError
from moxy.gdbm import Access, Damaged, GdbmFile, Locked
from moxy.routes import compiled as module
from moxy.routes.compiled import listed, stored_value, write_table
from moxy.routes.tabletext import read_entries
from support import gdbmtool
from support.directories import is_root
from support.moxy_commands import as_unprivileged


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "moxy.gdbm"


def entries(target: Path) -> dict[bytes, bytes]:
    with GdbmFile(target, Access.READ) as file:
        return dict(file.items())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def failing(error: BaseException) -> Iterator[tuple[str, str]]:
    """Entries that come to a bad end half way."""
    yield "a.org", "m:9"
    raise error


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("m:25", "m:25"),
        ("M.Example , [::1]:2 ,\tn", "M.Example,[::1]:2,n"),
        ("unix:/run/dovecot/lmtp , m", "unix:/run/dovecot/lmtp,m"),
        ("customers", "customers"),
    ],
)
def test_a_value_is_stored_as_it_is_spelled_without_blanks(text: str, stored: str) -> None:
    assert stored_value(text) == stored


@pytest.mark.parametrize("text", ["", "m:0", "m:25,", "m:25,m:25", "a b"])
def test_a_value_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        stored_value(text)


def test_what_was_written_is_read_by_gdbmtool(target: Path) -> None:
    write_table(target, [("a.org", "m:1"), ("j@b.org", "m:2,n:3")])
    assert gdbmtool.listed(target) == {"a.org": "m:1", "j@b.org": "m:2,n:3"}


# The place of the file


def test_a_new_file_has_the_usual_mode_less_the_umask(target: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_table(target, [])
    finally:
        os.umask(mask)
    assert mode(target) == 0o640


def test_mode_and_owner_of_the_old_file_are_kept(target: Path) -> None:
    write_table(target, [])
    target.chmod(0o604)
    if is_root():
        os.chown(target, 12, 34)
    old = target.stat()
    write_table(target, [("a.org", "m:1")])
    new = target.stat()
    assert (new.st_mode, new.st_uid, new.st_gid) == (old.st_mode, old.st_uid, old.st_gid)
    assert new.st_ino != old.st_ino


@pytest.mark.skipif(not is_root(), reason="only root can make a file of another user")
def test_an_owner_that_cannot_be_kept_is_told(directory: Path) -> None:
    target = directory / "moxy.gdbm"
    write_table(target, [("a.org", "m:1")])
    directory.chmod(0o777)

    def check() -> None:
        with pytest.raises(MoxyError, match="belongs to another user or group"):
            write_table(target, [])

    as_unprivileged(check)
    assert [path.name for path in directory.iterdir()] == ["moxy.gdbm"]
    assert entries(target) == {b"a.org": b"m:1"}


def test_a_symbolic_link_stays_and_its_target_is_replaced(target: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to("there/moxy.gdbm")
    write_table(link, [("a.org", "m:1")])
    assert link.is_symlink()
    assert entries(tmp_path / "there" / "moxy.gdbm") == {b"a.org": b"m:1"}


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_not_replaced(target: Path, make: object) -> None:
    make(target)
    with pytest.raises(MoxyError, match="is there, and no regular file"):
        write_table(target, [])
    assert [path.name for path in target.parent.iterdir()] == ["moxy.gdbm"]


def test_a_name_as_long_as_a_name_can_be_is_written(tmp_path: Path) -> None:
    target = tmp_path / ("ü" * 127)
    write_table(target, [("a.org", "m:1")])
    assert entries(target) == {b"a.org": b"m:1"}


def test_who_reads_the_old_file_goes_on_reading_it(target: Path) -> None:
    write_table(target, [("a.org", "m:1")])
    with GdbmFile(target, Access.READ) as file:
        write_table(target, [("a.org", "m:2")])
        assert file.fetch(b"a.org") == b"m:1"
    assert entries(target) == {b"a.org": b"m:2"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_whatever_goes_wrong_leaves_the_old_file_and_nothing_else(target: Path, error: BaseException) -> None:
    write_table(target, [("a.org", "m:1")])
    with pytest.raises(type(error)):
        write_table(target, failing(error))
    assert [path.name for path in target.parent.iterdir()] == ["moxy.gdbm"]
    assert entries(target) == {b"a.org": b"m:1"}


def test_the_file_is_on_the_disk_before_it_takes_the_place(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def noted(name: str, function: object) -> object:
        return lambda *arguments: (done.append(name), function(*arguments))[1]

    monkeypatch.setattr(GdbmFile, "close", noted("file", GdbmFile.close))
    monkeypatch.setattr(Path, "replace", noted("place", Path.replace))
    monkeypatch.setattr(module.os, "fsync", noted("directory", os.fsync))
    write_table(target, [])
    assert done == ["file", "place", "directory"]


# The way back


def test_entries_are_listed_by_key_as_lines(target: Path) -> None:
    write_table(target, [("b.org", "m:1"), ("a.org", "n:2,o:3"), ("#1@a.org", "m:4"), ('"# 1"@a.org', "m:5")])
    assert listed(target) == ['"# 1"@a.org m:5', '"#1"@a.org m:4', "a.org n:2,o:3", "b.org m:1"]


def test_a_file_of_a_c_program_is_listed_without_its_nuls(target: Path) -> None:
    gdbmtool.store(target, {"a.org": "m:1"}, nul=True)
    assert listed(target) == ["a.org m:1"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"", b"m:1"),
        (b"a b", b"m:1"),
        (b"#a.org", b"m:1"),
        (b"a.org", b"m:1\nb.org m:2"),
        (b"a.org", b"m:1 # why"),
        (b"a.org", b"\x1b[2J"),
        (b"\xff", b"m:1"),
        (b"a.org", b"\xff"),
    ],
)
def test_what_no_line_can_hold_is_told(target: Path, key: bytes, value: bytes) -> None:
    with GdbmFile(target, Access.NEW) as file:
        file.store(key, value)
        file.store(b"ok.org", b"m:1")
    with pytest.raises(ConfigError) as caught:
        listed(target)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{target}: ")
    assert str(problem).isprintable()


def test_what_is_no_gdbm_file_is_not_listed(target: Path) -> None:
    target.write_text("a.org m:1\n")
    with pytest.raises(Damaged):
        listed(target)
    with gdbmtool_writing(target), pytest.raises(Locked):
        listed(target)


def gdbmtool_writing(target: Path) -> gdbmtool.Holder:
    target.unlink()
    write_table(target, [])
    return gdbmtool.Holder(target)


LABEL = st.text("ab#-", min_size=1, max_size=4)
ADDRESS = st.builds(
    "{}@{}".format, LABEL | LABEL.map('"{} \\\\" x"'.format) | LABEL.map('"{}"'.format), st.just("A.org")
)
LINE = st.builds("{} {}\n".format, ADDRESS | LABEL.map("{}.org".format), st.sampled_from(["m", "m:1 , n:2", "[::1]:5"]))


@given(st.lists(LINE, max_size=20))
def test_what_is_listed_makes_the_same_file(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    target = tmp_path_factory.getbasetemp() / "round.gdbm"
    first, _ = read_entries([line.encode() for line in lines], "text", stored_value)
    write_table(target, first.items())
    text = listed(target)
    second, problems = read_entries([line.encode() for line in text], "text", stored_value)
    assert (second, problems) == (first, [])
    write_table(target, second.items())
    assert listed(target) == text

"""TotalsFile: nothing lost, nothing counted twice, and a whole file at every instant."""

import errno
import fcntl
import os
import random
import resource
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from moxy.accounting import totalsfile as module
from moxy.accounting.totals import Totals, key_of, read_totals
from moxy.accounting.totalsfile import TotalsFile
from moxy.gdbm import Access, Damaged, GdbmFile, Locked
from support.directories import is_root, make_writable, open_directory
from support.moxy_commands import as_unprivileged
from support.processes import GLANCE, require_program

ONE = Totals(10, 1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "totals.gdbm"


@pytest.fixture
def logged():
    with capture_logs() as events:
        yield events


def events(logged):
    return [event["event"] for event in logged]


def names(path):
    return sorted(entry.name for entry in path.parent.iterdir())


def add(path, **waiting):
    waiting = {f"{name}:25": totals for name, totals in waiting.items()}
    TotalsFile(path).add(waiting)
    assert waiting == {}


# The ordinary way


def test_totals_are_added_to_what_is_there_and_taken_out_of_what_waits(path):
    add(path, a=Totals(10, 1), b=Totals(5, 1))
    add(path, a=Totals(1, 2))
    assert read_totals(path) == {"a:25": Totals(11, 3), "b:25": Totals(5, 1)}
    assert names(path) == ["totals.gdbm"]


def test_gdbmtool_reads_what_was_added(path):
    add(path, a=Totals(4096, 3))
    listing = subprocess.run([require_program("gdbmtool"), "-r", path, "list"], capture_output=True, text=True)
    assert listing.stdout == "a:25 4096 3\n"


def test_what_gdbmtool_wrote_is_added_to(path):
    script = 'store a:25 100\nstore b:25 "7 1"\n'
    subprocess.run([require_program("gdbmtool"), "-n", path], input=script, text=True, check=True)
    add(path, a=ONE, b=ONE)
    assert read_totals(path) == {"a:25": Totals(110, 1), "b:25": Totals(17, 2)}


def test_a_missing_file_is_made_for_owner_and_group_only(path):
    before = os.umask(0)
    try:
        TotalsFile(path).add({"a:25": ONE})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert read_totals(path) == {"a:25": ONE}


def test_an_empty_file_counts_as_new(path, logged):
    path.touch()
    add(path, a=ONE)
    assert read_totals(path) == {"a:25": ONE}
    assert not logged


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_the_mode_of_the_file_is_kept(path, mode):
    add(path, a=ONE)
    path.chmod(mode)
    before = path.stat().st_ino
    add(path, a=ONE)
    assert path.stat().st_ino != before
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(not is_root(), reason="only root can give files away")
def test_the_owner_of_the_file_is_kept(path):
    add(path, a=ONE)
    os.chown(path, 65534, 12345)
    add(path, a=ONE)
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 12345)


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_leads_to_the_file_and_stays(path, there):
    target = path.with_name("elsewhere")
    path.symlink_to(target)
    if there:
        add(target, a=ONE)
    add(path, a=ONE)
    assert path.is_symlink()
    assert read_totals(target) == {"a:25": Totals(20, 2) if there else ONE}


def test_copies_left_by_killed_processes_are_removed_and_nothing_else(path):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    kept = [f".totals.gdbm.{os.getppid()}.new", ".totals.gdbm.x.new", ".other.gdbm.1.new", "totals.gdbm.1.new"]
    for name in [*kept, f".totals.gdbm.{child}.new", f".totals.gdbm.{os.getpid()}.new"]:
        path.with_name(name).write_text("left over")
    add(path, a=ONE)
    assert names(path) == sorted([*kept, "totals.gdbm"])


def test_a_total_that_cannot_be_read_is_told_and_begins_anew(path, logged):
    with GdbmFile(path, Access.NEW) as file:
        file.store(b"a:25", b"many\x1b[2J" + b"x" * 500)
    add(path, a=ONE, b=ONE)
    assert read_totals(path) == {"a:25": ONE, "b:25": ONE}
    assert events(logged) == ["accounting_total_unreadable"]
    assert logged[0]["destination"] == "a:25"
    assert len(logged[0]["value"]) < 150


# Others at the file


@contextmanager
def another_process(path, lock):
    """Holds a lock on the file: `lock` is a Python expression about `fcntl` and `file`."""
    program = f"import fcntl; file = open({str(path)!r}, 'r+b'); {lock}; print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    yield
    process.communicate(b"\n")


def test_readers_come_and_go_and_see_what_was_there_when_they_opened_the_file(path):
    add(path, a=ONE)
    with GdbmFile(path, Access.READ) as reader:
        add(path, a=ONE)
        assert reader.fetch(key_of("a:25")) == b"10 1"
    assert read_totals(path) == {"a:25": Totals(20, 2)}


@pytest.mark.parametrize(
    "lock",
    ["fcntl.flock(file, fcntl.LOCK_EX)", "fcntl.lockf(file, fcntl.LOCK_EX)"],
    ids=["a program that writes with libgdbm", "another process of Moxy"],
)
def test_a_file_that_another_process_writes_is_left_alone(path, lock):
    add(path, a=ONE)
    before = path.read_bytes()
    waiting = {"a:25": ONE}
    file = TotalsFile(path)
    with another_process(path, lock):
        with pytest.raises(Locked):
            file.add(waiting)
        assert waiting == {"a:25": ONE}
        assert path.read_bytes() == before
    file.add(waiting)
    assert read_totals(path) == {"a:25": Totals(20, 2)}


def is_written_by_another(path):
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_gdbmtool_writing_meanwhile_is_not_overwritten(path):
    add(path, a=ONE)
    tool = subprocess.Popen([require_program("gdbmtool"), path], stdin=subprocess.PIPE, text=True, bufsize=1)
    tool.stdin.write("store b:25 5\n")
    while not is_written_by_another(path):
        time.sleep(GLANCE)
    waiting = {"a:25": ONE}
    with pytest.raises(Locked):
        TotalsFile(path).add(waiting)
    tool.communicate("store c:25 6\n")
    TotalsFile(path).add(waiting)
    assert read_totals(path) == {"a:25": Totals(20, 2), "b:25": Totals(5), "c:25": Totals(6)}


def test_threads_take_turns(path):
    waiting = {"a:25": ONE}
    with module._turn, pytest.raises(Locked):
        TotalsFile(path).add(waiting)
    assert waiting == {"a:25": ONE}
    assert not path.exists()


def test_a_file_replaced_before_the_locks_were_had_is_not_even_copied(path, monkeypatch):
    add(path, a=ONE)
    theirs = path.with_name("theirs")
    add(theirs, a=Totals(7, 7))
    lockf = fcntl.lockf

    def replaced_meanwhile(descriptor, operation):
        theirs.replace(path)
        lockf(descriptor, operation)

    file, waiting = TotalsFile(path), {"a:25": ONE}
    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "lockf", replaced_meanwhile)
        patched.setattr(module, "_copy", None)
        with pytest.raises(Locked):
            file.add(waiting)
    file.add(waiting)
    assert read_totals(path) == {"a:25": Totals(17, 8)}


def test_a_file_renamed_while_its_copy_is_made_keeps_its_totals(path, monkeypatch):
    add(path, a=ONE)
    add_all = module._add_all

    def renamed_meanwhile(*arguments):
        path.rename(path.with_name("totals.1"))
        add_all(*arguments)

    file, waiting = TotalsFile(path), {"a:25": ONE}
    with monkeypatch.context() as patched:
        patched.setattr(module, "_add_all", renamed_meanwhile)
        with pytest.raises(Locked):
            file.add(waiting)
    assert names(path) == ["totals.1"]
    file.add(waiting)
    assert read_totals(path) == read_totals(path.with_name("totals.1")) == {"a:25": ONE}


# Damage


def flipped(octets):
    return bytes([octets[0] ^ 0xFF]) + octets[1:]


DAMAGES = {
    "text": lambda octets: b"12/04/01: 26138 bytes from <ann@example.org>\n" * 100,
    "random octets": lambda octets: random.Random(1).randbytes(len(octets)),
    "nothing but NUL": lambda octets: bytes(len(octets)),
    "one octet": lambda octets: octets[:1],
    "half": lambda octets: octets[: len(octets) // 2],
    "a wrong magic number": flipped,
}


@pytest.mark.parametrize("damaged", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(path, logged, damaged):
    add(path, a=ONE)
    octets = damaged(path.read_bytes())
    path.write_bytes(octets)
    add(path, a=Totals(3, 1), b=ONE)
    assert read_totals(path) == {"a:25": Totals(3, 1), "b:25": ONE}
    assert events(logged) == ["accounting_totals_damaged"]
    aside = Path(logged[0]["moved_to"])
    assert aside.name.startswith("totals.gdbm.damaged-2")
    assert aside.read_bytes() == octets
    assert len(names(path)) == 2


def test_damage_far_from_what_is_added_is_found_the_first_time(path, logged):
    TotalsFile(path).add({f"host-{number}:25": ONE for number in range(5000)})
    with path.open("r+b") as file:
        file.seek(path.stat().st_size * 3 // 4)
        file.write(bytes(5000))
    add(path, a=ONE)
    assert read_totals(path) == {"a:25": ONE}
    assert events(logged) == ["accounting_totals_damaged"]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_a_file_holds_totals_are_added_or_kept(data):
    with open_directory() as directory, capture_logs():
        path = directory / "totals.gdbm"
        TotalsFile(path).add({f"host-{number}:25": ONE for number in range(300)})
        octets = bytearray(path.read_bytes())
        position = data.draw(st.integers(0, len(octets) - 1))
        length = data.draw(st.integers(1, 600))
        octets[position : position + length] = data.draw(st.binary(max_size=length))
        path.write_bytes(octets)
        waiting = {"host-1:25": ONE, "new:25": ONE}
        TotalsFile(path).add(waiting)
        assert waiting == {}
        assert read_totals(path)["new:25"] == ONE


def test_a_damaged_file_never_takes_the_name_of_an_earlier_one(path, logged, monkeypatch):
    monkeypatch.setattr(module.time, "strftime", lambda form: "20261120T120000")
    for number in range(3):
        path.write_text(f"damage {number}")
        add(path, a=ONE)
    asides = [f"totals.gdbm.damaged-20261120T120000{suffix}" for suffix in ("", "-2", "-3")]
    assert names(path) == ["totals.gdbm", *asides]
    assert [path.with_name(name).read_text() for name in asides] == ["damage 0", "damage 1", "damage 2"]


def test_what_is_no_file_is_refused_and_left_where_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for path in (tmp_path / "pipe", tmp_path / "directory", Path("/dev/null")):
        file, waiting = TotalsFile(path), {"a:25": ONE}
        for refused in (file.check, lambda file=file, waiting=waiting: file.add(waiting)):
            with pytest.raises(OSError):
                refused()
        assert waiting == {"a:25": ONE}
    assert (tmp_path / "pipe").is_fifo()
    assert not stat.S_ISREG(Path("/dev/null").stat().st_mode)


def test_the_check_makes_the_file_and_takes_what_can_be_mended(path):
    TotalsFile(path).check()
    assert path.exists()
    path.write_text("damaged")
    TotalsFile(path).check()
    with another_process(path, "fcntl.flock(file, fcntl.LOCK_EX)"):
        TotalsFile(path).check()
    with pytest.raises(FileNotFoundError):
        TotalsFile(path.parent / "missing" / "totals.gdbm").check()


# Disks


@contextmanager
def files_no_larger_than(octets):
    """The system refuses to write beyond, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [1, 8 * 1024, 20 * 1024, 64 * 1024])
def test_a_full_disk_leaves_the_file_as_it_was_and_loses_nothing(path, room):
    add(path, a=ONE)
    before = path.read_bytes()
    file, waiting = TotalsFile(path), {f"host-{number}:25": ONE for number in range(2000)}
    for _ in range(3):
        with files_no_larger_than(room), pytest.raises(OSError) as caught:
            file.add(waiting)
        assert caught.value.errno == errno.EFBIG
        assert len(waiting) == 2000
        assert path.read_bytes() == before
        assert names(path) == ["totals.gdbm"]
    file.add(waiting)
    assert sum(totals.messages for totals in read_totals(path).values()) == 2001


def test_what_has_taken_the_files_name_is_never_counted_again(path, monkeypatch):
    add(path, a=ONE)
    unlink = Path.unlink

    def failing(self, missing_ok=False):
        if not self.exists():
            raise OSError(errno.EIO, "Input/output error")
        unlink(self, missing_ok)

    replace = Path.replace

    def last_success(self, target):
        replace(self, target)
        monkeypatch.setattr(Path, "unlink", failing)

    monkeypatch.setattr(Path, "replace", last_success)
    waiting = {"a:25": ONE}
    with pytest.raises(OSError, match="Input/output"):
        TotalsFile(path).add(waiting)
    assert waiting == {}
    assert read_totals(path) == {"a:25": Totals(20, 2)}


# Where no copy can be made


def test_in_a_directory_closed_to_us_totals_are_added_in_place_and_that_is_told_once(directory):
    path = directory / "totals.gdbm"
    path.touch(0o640)
    make_writable(path)
    directory.chmod(0o555)

    def check():
        before = path.stat().st_ino
        with capture_logs() as logged:
            file = TotalsFile(path)
            for _ in range(2):
                waiting = {"a:25": ONE, "b:25": ONE}
                file.add(waiting)
                assert waiting == {}
        assert read_totals(path) == {"a:25": Totals(20, 2), "b:25": Totals(20, 2)}
        assert path.stat().st_ino == before
        assert events(logged) == ["accounting_totals_in_place"]
        assert "Permission denied" in logged[0]["error"]

    as_unprivileged(check)
    directory.chmod(0o755)


@pytest.fixture
def mounted(monkeypatch):
    """Stands for a file that is a mount of its own, as containers have them: nothing can take its name."""

    def refused(self, target):
        raise OSError(errno.EBUSY, "Device or resource busy", str(target))

    monkeypatch.setattr(Path, "replace", refused)


def test_a_file_that_is_a_mount_is_added_to_in_place(path, mounted, logged):
    add(path, a=ONE)
    add(path, a=ONE)
    assert read_totals(path) == {"a:25": Totals(20, 2)}
    assert names(path) == ["totals.gdbm"]
    assert "busy" in logged[0]["error"]


def test_in_place_readers_are_waited_for(path, mounted):
    add(path, a=ONE)
    waiting = {"a:25": ONE}
    with GdbmFile(path, Access.READ), pytest.raises(Locked):
        TotalsFile(path).add(waiting)
    assert waiting == {"a:25": ONE}


def test_in_place_a_failure_in_the_middle_loses_nothing_and_counts_nothing_twice(path, mounted, monkeypatch):
    waiting = {f"{number}:25": ONE for number in range(10)}
    store, stored = GdbmFile.store, []

    def failing(self, key, value):
        if len(stored) == 4 + 10:  # the copy that was in vain has had its ten
            raise OSError(errno.ENOSPC, "No space left on device")
        stored.append(key)
        store(self, key, value)

    file = TotalsFile(path)
    with monkeypatch.context() as patched:
        patched.setattr(GdbmFile, "store", failing)
        with pytest.raises(OSError, match="No space"):
            file.add(waiting)
    assert len(waiting) == 6
    file.add(waiting)
    assert read_totals(path) == {f"{number}:25": ONE for number in range(10)}


def test_in_place_a_damaged_file_is_left_where_it_is(path, mounted, logged):
    path.write_text("damaged")
    waiting = {"a:25": ONE}
    with pytest.raises(Damaged):
        TotalsFile(path).add(waiting)
    assert waiting == {"a:25": ONE}
    assert path.read_text() == "damaged"
    assert names(path) == ["totals.gdbm"]
    assert events(logged) == ["accounting_totals_in_place"]

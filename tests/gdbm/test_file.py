"""GdbmFile: the real library and real files, sound and damaged."""

from __future__ import annotations

import os
import random
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moxy.gdbm import Access, Damaged, GdbmError, GdbmFile, Locked
from support.gdbmtool import Holder, fetch, gdbmtool, store

READING_OF_DAMAGED_FILES = Path(__file__).parents[1] / "support" / "gdbmdamage.py"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.db"


def made(path: Path, entries: dict[bytes, bytes]) -> None:
    with GdbmFile(path, Access.NEW) as file:
        for key, value in entries.items():
            file.store(key, value)


def contents(path: Path) -> dict[bytes, bytes]:
    with GdbmFile(path, Access.READ) as file:
        return dict(file.items())


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# A sound file


def test_what_was_stored_is_there_when_the_file_is_opened_again(path: Path) -> None:
    made(path, {b"a": b"1", b"b": b"2"})
    with GdbmFile(path, Access.READ) as file:
        assert file.fetch(b"a") == b"1"
        assert file.fetch(b"c") is None
        assert sorted(file.keys()) == [b"a", b"b"]
        assert sorted(file.items()) == [(b"a", b"1"), (b"b", b"2")]
        assert file.count() == 2
        assert file.first_key() in {b"a", b"b"}


def test_a_value_is_replaced(path: Path) -> None:
    made(path, {b"a": b"1", b"b": b"2"})
    with GdbmFile(path, Access.WRITE) as file:
        file.store(b"a", b"3")
        assert file.fetch(b"a") == b"3"
    assert contents(path) == {b"a": b"3", b"b": b"2"}


def test_an_empty_file_of_the_library_has_no_keys(path: Path) -> None:
    made(path, {})
    with GdbmFile(path, Access.READ) as file:
        assert (file.first_key(), list(file.keys()), file.count(), file.fetch(b"")) == (None, [], 0, None)


def test_new_empties_what_exists(path: Path) -> None:
    made(path, {b"a": b"1"})
    made(path, {b"b": b"2"})
    assert contents(path) == {b"b": b"2"}


@given(st.dictionaries(st.binary(max_size=40), st.binary(max_size=300), max_size=60))
def test_any_octets_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[bytes, bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.db"
    made(path, entries)
    assert contents(path) == entries


def test_files_of_gdbmtool_are_read_and_ours_by_gdbmtool(path: Path) -> None:
    store(path, {"a.org": "m:1", "b.org": "m:2"})
    assert contents(path) == {b"a.org": b"m:1", b"b.org": b"m:2"}
    with GdbmFile(path, Access.WRITE) as file:
        file.store(b"b.org", b"m:3")
    assert fetch(path, "b.org") == "m:3"
    gdbmtool(path, "upgrade")  # the extended format of libgdbm 1.21
    assert contents(path)[b"b.org"] == b"m:3"


# Locks


def test_readers_share_a_file_and_a_writer_has_it_alone(path: Path) -> None:
    made(path, {})
    with (
        GdbmFile(path, Access.READ),
        GdbmFile(path, Access.READ),
        pytest.raises(Locked, match=r"another process holds it"),
    ):
        GdbmFile(path, Access.WRITE)
    with GdbmFile(path, Access.WRITE), pytest.raises(Locked):
        GdbmFile(path, Access.READ)
    with GdbmFile(path, Access.WRITE), pytest.raises(Locked):
        GdbmFile(path, Access.NEW)


def test_a_file_that_is_locked_is_not_emptied(path: Path) -> None:
    made(path, {b"a": b"1"})
    with GdbmFile(path, Access.READ) as file:
        with pytest.raises(Locked):
            GdbmFile(path, Access.NEW)
        assert file.fetch(b"a") == b"1"


def test_without_a_lock_nobody_is_in_the_way(path: Path) -> None:
    made(path, {b"a": b"1"})
    with GdbmFile(path, Access.WRITE), GdbmFile(path, Access.READ, lock=False) as file:
        assert file.fetch(b"a") == b"1"


def test_gdbmtool_and_we_respect_each_others_locks(path: Path) -> None:
    made(path, {})
    with Holder(path, writing=True), pytest.raises(Locked):
        GdbmFile(path, Access.READ)
    with Holder(path, writing=False):
        GdbmFile(path, Access.READ).close()
        with pytest.raises(Locked):
            GdbmFile(path, Access.WRITE)
    with GdbmFile(path, Access.WRITE), pytest.raises(AssertionError, match="Can't be writer"):
        store(path, {"a": "1"})


# What is refused


def test_a_missing_file_is_an_error_of_the_system(path: Path) -> None:
    for access in (Access.READ, Access.WRITE):
        with pytest.raises(FileNotFoundError) as caught:
            GdbmFile(path, access)
        assert caught.value.filename == str(path)
    assert not path.exists()


def test_what_is_no_gdbm_file_is_called_so(path: Path) -> None:
    path.write_text("example.org mail.example.org:25\n" * 1000)
    with pytest.raises(Damaged, match=r"some.db: no gdbm file, or a damaged one: Bad magic number"):
        GdbmFile(path, Access.READ)
    path.write_bytes(b"")
    with pytest.raises(Damaged, match="Empty database"):
        GdbmFile(path, Access.READ)


def test_a_pipe_is_refused_at_once(path: Path) -> None:
    os.mkfifo(path)
    for access in Access:
        with pytest.raises(Damaged, match="no regular file"):
            GdbmFile(path, access)


def test_who_only_reads_cannot_write(path: Path) -> None:
    made(path, {b"a": b"1"})
    with GdbmFile(path, Access.READ) as file, pytest.raises(GdbmError, match="Reader can't store"):
        file.store(b"a", b"2")


def test_a_closed_file_says_so_and_may_be_closed_again(path: Path) -> None:
    made(path, {b"a": b"1"})
    file = GdbmFile(path, Access.READ)
    file.close()
    file.close()
    for use in (lambda: file.fetch(b"a"), file.count, file.first_key, lambda: list(file.keys())):
        with pytest.raises(ValueError, match="is closed"):
            use()


def test_nothing_stays_open_whatever_was_wrong(path: Path) -> None:
    before = open_descriptors()
    made(path, {b"a": b"1"})
    sound = path.read_bytes()
    for octets in (b"", b"x", b"x" * 5000, sound[:20], sound[:5000], sound + b"x"):
        path.write_bytes(octets)
        with pytest.raises(Damaged):
            GdbmFile(path, Access.READ)
    path.write_bytes(sound)
    with GdbmFile(path, Access.WRITE):
        for access in Access:
            with pytest.raises(Locked):
                GdbmFile(path, access)
    assert open_descriptors() == before


# Damage


def test_a_file_that_is_cut_short_while_it_is_read_is_damaged_and_not_our_end(path: Path) -> None:
    made(path, {b"%d" % number: b"v" * 100 for number in range(2000)})
    with GdbmFile(path, Access.READ) as file:
        os.truncate(path, 8192)
        with pytest.raises(Damaged, match="Unexpected end of file"):
            dict(file.items())


def test_a_header_that_ends_nowhere_does_not_fill_the_disk(path: Path) -> None:
    made(path, {b"a": b"1"})
    with path.open("r+b") as file:
        file.seek(32)
        file.write(struct.pack("q", 1 << 40))
    with pytest.raises(Damaged, match="not closed properly, or cut short"):
        GdbmFile(path, Access.WRITE)


def test_a_walk_through_a_damaged_file_ends(path: Path) -> None:
    made(path, {b"%d" % number: b"" for number in range(30)})
    octets = path.read_bytes()
    bucket = 2 * struct.unpack_from("i", octets, 4)[0]  # behind header and directory, a block each
    count_place = next(
        place for place in range(bucket, bucket + 200, 4) if struct.unpack_from("i", octets, place) == (30,)
    )
    for count in (29, 31):
        path.write_bytes(octets[:count_place] + struct.pack("i", count) + octets[count_place + 4 :])
        with GdbmFile(path, Access.READ) as file, pytest.raises(Damaged, match=f"count {count} keys"):
            list(file.keys())


def test_a_walk_that_goes_in_circles_ends(path: Path) -> None:
    """libgdbm looks for the last key to find the next one; here it comes upon the other place of that key."""
    made(path, {b"one": b"", b"two": b"", b"six": b""})
    with GdbmFile(path, Access.READ) as file:
        first, second, third = file.keys()
    octets = path.read_bytes()
    here, there = (octets.index(key) - 4 for key in (first, second))  # an element: hash, key's start, place, sizes
    path.write_bytes(octets[:there] + octets[here : here + 24] + octets[there + 24 :])
    with GdbmFile(path, Access.READ) as file, pytest.raises(Damaged, match="count 3 keys"):
        _ = [file.fetch(third) for _ in file.keys()]  # noqa: SIM118 - no dict; it keeps the last place from being known


def test_a_full_disk_is_an_error_of_the_system(path: Path) -> None:
    made(path, {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = GdbmFile(path, Access.WRITE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            file.store(b"a", b"v" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        file.close()


@pytest.mark.parametrize("access", [Access.READ, Access.WRITE])
def test_no_damage_ends_the_process_or_keeps_it_busy(path: Path, access: Access) -> None:
    """In a process of its own: what must not happen would end the tests too."""
    made(path, {b"d%d.example.org" % number: b"mail%d:25" % number for number in range(300)})
    arguments = [sys.executable, "-P", str(READING_OF_DAMAGED_FILES), str(path), access.name, "300"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    damaged, sound = map(int, result.stdout.split())
    assert damaged + sound == 300
    assert damaged > 100


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.builds(lambda seed: random.Random(seed).randbytes(9000), st.integers(0, 10_000)))
def test_any_octets_are_an_error_or_a_file(tmp_path_factory: pytest.TempPathFactory, octets: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "octets.db"
    path.write_bytes(octets)
    with pytest.raises(Damaged):
        GdbmFile(path, Access.READ)

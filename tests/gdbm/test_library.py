"""libgdbm as ctypes sees it: what its errors become, and where it is missing."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from moxy.gdbm import library as module
from moxy.gdbm.library import Damaged, Datum, GdbmError, LibraryMissing, Locked, failure, library, octets, taken

PATH = Path("some.db")


@pytest.fixture
def unloaded() -> Iterator[None]:
    """A process that has not loaded the library yet."""
    library.cache_clear()
    yield
    library.cache_clear()


@pytest.mark.usefixtures("unloaded")
def test_a_missing_library_is_told_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAME", "libgdbm-that-is-nowhere.so.6")
    with pytest.raises(
        LibraryMissing, match=r"gdbm files need libgdbm-that-is-nowhere.so.6.*: apt-get install libgdbm6$"
    ):
        library()


@pytest.mark.usefixtures("unloaded")
def test_another_library_of_that_name_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAME", "libc.so.6")
    with pytest.raises(LibraryMissing):
        library()


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        ("Can't be reader", Locked, "some.db: another process holds it"),
        ("Can't be writer", Locked, "some.db: another process holds it"),
        ("Block size error", Damaged, "some.db: no gdbm file, or a damaged one: Block size error"),
        ("File seek error", Damaged, "some.db: no gdbm file, or a damaged one: File seek error"),
        ("Bad magic number", Damaged, "some.db: no gdbm file, or a damaged one: Bad magic number"),
        ("Empty database", Damaged, "some.db: no gdbm file, or a damaged one: Empty database"),
        ("Byte-swapped file", Damaged, "some.db: no gdbm file, or a damaged one: Byte-swapped file"),
        ("Unexpected end of file", Damaged, "some.db: no gdbm file, or a damaged one: Unexpected end of file"),
        ("Database needs recovery", Damaged, "some.db: no gdbm file, or a damaged one: Database needs recovery"),
        ("Malformed bucket header", Damaged, "some.db: no gdbm file, or a damaged one: Malformed bucket header"),
        ("Malformed avail_block", Damaged, "some.db: no gdbm file, or a damaged one: Malformed avail_block"),
        ("Malformed hash table", Damaged, "some.db: no gdbm file, or a damaged one: Malformed hash table"),
        ("Invalid directory entry", Damaged, "some.db: no gdbm file, or a damaged one: Invalid directory entry"),
        (
            "Malformed bucket hash entry",
            Damaged,
            "some.db: no gdbm file, or a damaged one: Malformed bucket hash entry",
        ),
        ("Malloc error", GdbmError, "some.db: Malloc error"),
        ("Reader can't store", GdbmError, "some.db: Reader can't store"),
    ],
)
def test_an_error_of_libgdbms_is_one_of_few_kinds(words: str, kind: type[GdbmError], text: str) -> None:
    numbers = {library().gdbm_strerror(number).decode(): number for number in range(45)}
    error = failure(PATH, numbers[words], 0)
    assert type(error) is kind
    assert str(error) == text


def test_what_the_system_refuses_is_an_error_of_the_system() -> None:
    error = failure(PATH, 4, errno.ENOSPC)
    assert isinstance(error, OSError)
    assert (error.errno, error.filename) == (errno.ENOSPC, "some.db")


def test_a_place_that_no_file_can_have_comes_from_a_damaged_one() -> None:
    assert type(failure(PATH, 5, errno.EINVAL)) is Damaged


def test_octets_may_be_any_and_none_at_all() -> None:
    value = octets(b"a\0b")
    assert (value.dsize, octets(b"").dsize) == (3, 0)
    assert taken(Datum(None, 0)) is None

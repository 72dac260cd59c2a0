"""Totals: two numbers and a key, as they stand in a GNU dbm file, ours or another's."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.accounting import totals as module
from moxy.accounting.totals import Totals, destination_of, key_of, read_totals
from moxy.gdbm import Access, Damaged, GdbmFile, Locked
from support.processes import require_program

NUMBERS = st.integers(0, 10**30 - 1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "totals.gdbm"


def written(path, entries):
    with GdbmFile(path, Access.NEW) as file:
        for key, value in entries.items():
            file.store(key, value)
    return path


@pytest.mark.parametrize(
    ("value", "totals"),
    [
        (b"4096 3", Totals(4096, 3)),
        (b"0 0", Totals()),
        (b"4096 3\0", Totals(4096, 3)),
        (b"4096", Totals(4096, 0)),
        (b"4096\0", Totals(4096, 0)),
        (b"  4096\t3\n", Totals(4096, 3)),
        (b"9" * 30, Totals(10**30 - 1, 0)),
    ],
)
def test_what_others_may_have_written_is_understood(value, totals):
    assert Totals.parse(value) == totals


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"\0", b" ", b"many", b"1 2 3", b"-1 2", b"1.5 2", b"1_0 2", b"0x10 2", b"1\0 2", b"1 2\0\0"),
        *("\u0663 1".encode(), b"\xff", b"9" * 31, b"9" * 100_000),
    ],
)
def test_anything_else_is_a_value_error(value):
    with pytest.raises(ValueError, match="two numbers"):
        Totals.parse(value)


@given(NUMBERS, NUMBERS)
def test_a_value_reads_back_the_same(octets, messages):
    assert Totals.parse(Totals(octets, messages).value()) == Totals(octets, messages)


@given(st.binary(max_size=80))
def test_any_octets_are_totals_or_a_value_error(value):
    try:
        totals = Totals.parse(value)
    except ValueError:
        return
    assert Totals.parse(totals.value()) == totals


def test_totals_add_up():
    assert Totals(10, 1) + Totals(5, 2) == Totals(15, 3)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_every_destination_has_a_key_that_names_it(destination):
    assert destination_of(key_of(destination)) == destination


@pytest.mark.parametrize("destination", ["\udcff:25", "mail\ud800:25"], ids=ascii)
def test_even_a_text_without_a_utf_8_form_has_a_key(destination):
    assert destination_of(key_of(destination)).endswith(":25")


def test_a_key_of_any_octets_has_a_name():
    assert destination_of(b"\xff\xfe:25\0") == "\\xff\\xfe:25"


# A file


def test_all_totals_of_a_file_are_read_and_both_spellings_of_a_key_are_one(path):
    written(path, {b"a:25": b"10 1", b"b:25": b"7", b"a:25\0": b"5 2\0"})
    assert read_totals(path) == {"a:25": Totals(15, 3), "b:25": Totals(7, 0)}


def test_an_entry_that_cannot_be_read_is_named_and_left_out(path):
    written(path, {b"a:25": b"10 1", b"bad:25": b"many"})
    named = []
    assert read_totals(path, lambda *entry: named.append(entry)) == {"a:25": Totals(10, 1)}
    assert named == [("bad:25", b"many")]
    assert read_totals(path) == {"a:25": Totals(10, 1)}


def test_an_empty_file_holds_no_totals(path):
    path.touch()
    assert read_totals(path) == {}


def test_a_missing_file_is_an_os_error(path):
    with pytest.raises(FileNotFoundError):
        read_totals(path)


def test_what_is_no_gdbm_file_is_damaged(path):
    path.write_text("a:25 10 1\n")
    with pytest.raises(Damaged):
        read_totals(path)


def test_a_reader_waits_for_a_writer(path, monkeypatch):
    writer = GdbmFile(written(path, {b"a:25": b"10 1"}), Access.WRITE)
    naps = []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            writer.close()

    monkeypatch.setattr(module.time, "sleep", nap)
    assert read_totals(path) == {"a:25": Totals(10, 1)}
    assert len(naps) == 3


def test_a_writer_that_stays_is_told(path, monkeypatch):
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.02)
    with GdbmFile(written(path, {b"a:25": b"10 1"}), Access.WRITE), pytest.raises(Locked):
        read_totals(path)


def test_gdbmtool_shows_them_as_they_are(path):
    written(path, {key_of("mail.example.org:25"): Totals(4096, 3).value()})
    listing = subprocess.run([require_program("gdbmtool"), "-r", path, "list"], capture_output=True, text=True)
    assert listing.stdout == "mail.example.org:25 4096 3\n"

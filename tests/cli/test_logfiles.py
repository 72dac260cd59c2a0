"""Reading the lines of log files."""

import bz2
import gzip
import io
import lzma
import os
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.cli import logfiles
from moxy.cli.logfiles import LINE_LIMIT, TOO_LONG, LogFileError, lines, octets_in

TEXT = b"one\ntwo\r\n\nthree"
LINES = [b"one\n", b"two\r\n", b"\n", b"three"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "moxy.log"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_file_is_unpacked_whatever_its_name(path, pack):
    path.write_bytes(pack(TEXT))
    assert list(lines(str(path))) == LINES


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_files_put_together_are_read_to_the_end(path, pack):
    path.write_bytes(pack(b"one\nt") + pack(b"wo\n"))
    assert list(lines(str(path))) == [b"one\n", b"two\n"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input_is_read_and_left_open(monkeypatch, pack):
    stream = io.TextIOWrapper(io.BytesIO(pack(TEXT)))
    monkeypatch.setattr(sys, "stdin", stream)
    assert list(lines("-")) == LINES
    assert not stream.buffer.closed


def test_a_pipe_is_read_as_it_comes(path):
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(TEXT,))
    writer.start()
    assert list(lines(str(path))) == LINES
    writer.join()


def test_an_endless_line_is_held_to_the_limit_and_told(path):
    whole = b"x" * (LINE_LIMIT - 1) + b"\n"
    path.write_bytes(whole + b"x" * (3 * LINE_LIMIT) + b"\nnext\n" + b"y" * (LINE_LIMIT + 1))
    assert list(lines(str(path))) == [whole, TOO_LONG, b"next\n", TOO_LONG]


def test_a_line_that_ends_just_beyond_the_limit_takes_no_other_with_it(path):
    path.write_bytes(b"x" * LINE_LIMIT + b"\nnext\n")
    assert list(lines(str(path))) == [TOO_LONG, b"next\n"]


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (gzip.compress(TEXT)[:-9], "Compressed file ended"),
        (gzip.compress(TEXT)[:10] + b"\xff" * 40, "invalid"),
        (gzip.compress(TEXT) + b"garbage", "Not a gzipped file"),
        (bz2.compress(TEXT)[:-3], "Compressed file ended"),
        (b"BZhello", "Invalid data stream"),
        (lzma.compress(TEXT)[:-3], "Compressed file ended"),
        (b"\xfd7zXZ\x00garbage" * 9, "Corrupt|corrupt|format"),
    ],
    ids=["gzip cut", "gzip spoilt", "gzip and more", "bz2 cut", "bz2 spoilt", "xz cut", "xz spoilt"],
)
def test_a_damaged_file_is_an_error_with_its_name(path, packed, reason):
    path.write_bytes(packed)
    with pytest.raises(LogFileError, match=f"moxy.log: cannot be read: .*({reason})"):
        list(lines(str(path)))


def test_what_stood_before_the_damage_is_read(path):
    path.write_bytes(gzip.compress(b"line\n" * 200_000, 0)[:800_000])
    read = []
    with pytest.raises(LogFileError):
        read.extend(lines(str(path)))
    assert len(read) > 100_000


@pytest.mark.parametrize(
    ("name", "reason"), [("missing", "No such file or directory"), (".", "Is a directory"), ("a\0b", "null")]
)
def test_a_file_that_cannot_be_opened_is_an_error(tmp_path, name, reason):
    with pytest.raises(LogFileError, match=reason):
        list(lines(str(tmp_path / name)))


def test_progress_is_told_in_octets_of_the_file(path):
    path.write_bytes(gzip.compress(TEXT * 1000))
    told = []
    list(lines(str(path), told.append))
    assert sum(told) == path.stat().st_size == octets_in([str(path), "-", str(path) + "missing", "a\0b"])


@given(st.lists(st.binary(max_size=9)), st.booleans())
def test_lines_put_together_are_the_file(tmp_path_factory, parts, packed):
    path = tmp_path_factory.getbasetemp() / "lines.log"
    text = b"\n".join([b"x", *parts])  # so that no first octets look like those of a packed file
    path.write_bytes(gzip.compress(text) if packed else text)
    assert list(logfiles.lines(str(path))) == text.splitlines(True) or b"".join(lines(str(path))) == text

"""The end of data, the audit of line ends and dot-stuffing, each against a naive reference and under every cut."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.smtp.content import END_OF_DATA, ChunkReader, EndOfDataFinder, LineEndAudit, Stuffer, Unstuffer
from support.cutting import cut, cut_places, every_cut, in_two, octets

ALPHABET = (b"\r", b"\n", b".", b"a")
LONGEST = 6
"""Octets of the streams tried exhaustively: 5,461 streams, 149,797 ways to cut them."""

ENDED = [
    # what follows the 354, the content, what follows the content
    (b".\r\n", b"", b""),
    (b"a\r\n.\r\n", b"a\r\n", b""),
    (b"\r\n.\r\n", b"\r\n", b""),
    (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
    (b".\r\n.\r\n", b"", b".\r\n"),
    (b"a\r\n..\r\n.\r\n", b"a\r\n..\r\n", b""),
    (b"..\r\n.\r\n", b"..\r\n", b""),
    (b"a\r\r\n.\r\n", b"a\r\r\n", b""),
    (b"\r\r\n.\r\n", b"\r\r\n", b""),
]

SMUGGLED = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n"]
SMUGGLED += [b"\r\0\n.\r\n", b"\r\n.\r\0\n", b"\0\n.\r\n", b"\r\0.\r\n"]
"""What some server somewhere has taken for the end of data, and is not: none of it without a bare CR or LF."""

NO_LONE_DOT = [b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n. \r\n", b"\r\n..\r\n"]
"""Lines of a dot and more, with proper line ends: content like any other."""

streams = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"a", b"\0", b"\xff", b"text ", b"\r\n.\r\n", b"x" * 300])
).map(b"".join)
plain_contents = st.lists(st.sampled_from([b"\r\n", b".", b"..", b"a", b"\r\n.", b"text "])).map(b"".join)


def split(stream: bytes) -> tuple[bytes, bytes] | None:
    """The reference: content and rest, or None while the content goes on (RFC 5321 §4.1.1.4)."""
    wire = b"\r\n" + stream
    end = wire.find(b"\r\n.\r\n")
    return None if end < 0 else (wire[2 : end + 2], wire[end + 5 :])


def decided(stream: bytes) -> bytes:
    """What of an unended stream is content whatever comes next: all but a CR or a beginning final dot at its end."""
    wire = b"\r\n" + stream
    for held in (b".\r", b"."):
        if wire.endswith(b"\r\n" + held):
            return stream[: -len(held)]
    return stream.removesuffix(b"\r")


def unstuffed(content: bytes) -> bytes:
    """The reference: content without the first dot of every line that begins with one (RFC 5321 §4.5.2)."""
    return (b"\r\n" + content).replace(b"\r\n.", b"\r\n")[2:]


def find(pieces: Iterable[bytes]) -> tuple[bytes, bytes | None, int]:
    """Content, what follows its end (None: no end), octets; checks at every piece that nothing came out too early."""
    finder = EndOfDataFinder()
    fed = content = b""
    rest = None
    for piece in pieces:
        fed += piece
        if rest is not None:
            rest += piece
            continue
        passed, rest = finder.feed(piece)
        content += passed
        assert rest is not None or content == decided(fed)
        assert finder.octets == len(unstuffed(content))
    return content, rest, finder.octets


def is_clean(pieces: Iterable[bytes]) -> bool:
    """What the audit says of the content that comes out of the finder, as in a session."""
    finder, audit = EndOfDataFinder(), LineEndAudit()
    for piece in pieces:
        passed, rest = finder.feed(piece)
        if not audit.clean(passed):
            return False
        if rest is not None:
            break
    return True


def has_bare_line_end(content: bytes) -> bool:
    """The reference: a CR without LF, or an LF without CR (RFC 5321 §2.3.8)."""
    return re.search(rb"\r(?!\n)|(?<!\r)\n", content) is not None


def cuts_around(middle: bytes) -> Iterator[list[bytes]]:
    """A message with `middle` in it and a command behind: in two pieces, cut around one octet, and in single octets."""
    stream = b"Subject: a\r\n\r\nfirst" + middle + b"MAIL FROM:<a@b.test>\r\n"
    yield from in_two(stream)
    for place in range(len(stream)):
        yield cut(stream, [place, place + 1])
    yield octets(stream)


def check(stream: bytes, pieces: list[bytes]) -> None:
    """The finder and the audit against their references, for one stream in one cut."""
    expected = split(stream)
    content, rest = expected or (decided(stream), None)
    assert find(pieces) == (content, rest, len(unstuffed(content)))
    assert is_clean(pieces) is not has_bare_line_end(content)


@pytest.mark.parametrize(("stream", "content", "rest"), ENDED)
def test_only_a_dot_alone_on_its_line_ends_content(stream, content, rest):
    for pieces in every_cut(stream):
        assert find(pieces)[:2] == (content, rest)


@pytest.mark.parametrize("length", range(LONGEST + 1))
def test_every_short_stream_in_every_cut_is_split_and_audited_like_the_reference(length):
    for letters in product(ALPHABET, repeat=length):
        stream = b"".join(letters)
        for pieces in every_cut(stream):
            check(stream, pieces)


@given(streams, cut_places)
def test_long_streams_are_split_and_audited_like_the_reference(stream, places):
    check(stream, cut(stream, places))


@given(streams)
def test_octet_by_octet_is_like_the_reference(stream):
    check(stream, octets(stream))


@pytest.mark.parametrize("early", [b".", b".\r", b"a\r\n.", b"a\r\n.\r"])
def test_what_may_be_the_final_dot_is_held_back(early):
    for pieces in every_cut(early):
        assert find(pieces)[:2] == (early.partition(b".")[0], None)


@pytest.mark.parametrize("smuggled", SMUGGLED)
def test_smuggled_ends_never_end_content_and_are_always_flagged(smuggled):
    for pieces in cuts_around(smuggled):
        assert find(pieces)[1] is None
        assert not is_clean(pieces)


@pytest.mark.parametrize("line", NO_LONE_DOT)
def test_a_line_of_more_than_a_dot_never_ends_content(line):
    for pieces in cuts_around(line):
        assert find(pieces)[1] is None
        assert is_clean(pieces)


def test_the_audit_says_so_as_soon_as_a_bare_line_end_is_seen():
    audit = LineEndAudit()
    assert audit.clean(b"a\r\nb\r\n")
    assert audit.clean(b"")
    assert not audit.clean(b"c\n")
    assert not audit.clean(b"d\r\n")


@given(plain_contents, cut_places, cut_places)
def test_unstuffing_undoes_stuffing_in_every_cut_of_both(content, places, other_places):
    stuffer, unstuffer = Stuffer(), Unstuffer()
    wire = b"".join(stuffer.feed(piece) for piece in cut(content, places))
    assert b"".join(unstuffer.feed(piece) for piece in cut(wire, other_places)) == content


@given(plain_contents, cut_places)
def test_stuffed_content_ends_where_it_ends(content, places):
    content += b"\r\n"
    wire = Stuffer().feed(content) + END_OF_DATA
    assert find(cut(wire + b"NOOP\r\n", places)) == (wire[:-3], b"NOOP\r\n", len(content))


@given(streams, cut_places)
def test_unstuffing_in_every_cut_is_like_the_reference(stream, places):
    unstuffer = Unstuffer()
    assert b"".join(unstuffer.feed(piece) for piece in cut(stream, places)) == unstuffed(stream)


@given(st.binary() | streams, cut_places, cut_places)
def test_unstuffing_undoes_stuffing_whatever_the_octets(content, places, other_places):
    stuffer, unstuffer = Stuffer(), Unstuffer()
    wire = b"".join(stuffer.feed(piece) for piece in cut(content, places))
    assert b"".join(unstuffer.feed(piece) for piece in cut(wire, other_places)) == content


def test_a_block_without_anything_to_replace_is_not_copied():
    block = b"a line\r\nand another one\r\n"
    for machine in (Stuffer(), Unstuffer()):
        assert machine.feed(block) is block


# -- chunks


def read_chunks(chunks: list[bytes], places: Iterable[int]) -> tuple[list[bytes], ChunkReader]:
    """What a reader passes of the chunks, each cut at the places."""
    reader = ChunkReader()
    passed: list[bytes] = []
    for number, chunk in enumerate(chunks, 1):
        reader.begin(len(chunk), last=number == len(chunks))
        passed += [reader.feed(piece) for piece in cut(chunk, places) or [b""]]
        assert reader.left == 0
    return passed, reader


@given(streams, cut_places, cut_places)
def test_chunks_are_stuffed_and_counted_wherever_they_are_cut(content, chunk_places, places):
    passed, reader = read_chunks(cut(content, chunk_places) or [b""], places)
    assert b"".join(passed) == Stuffer().feed(content)
    assert reader.octets == len(content)
    assert reader.whole_lines is (not content or content.endswith(b"\r\n"))
    if b"\r\r" not in content:
        assert all(block[-1:] != b"\r" for block in passed[:-1]), "a CR whose LF may have been still to come"


@given(plain_contents, cut_places, cut_places)
def test_what_was_read_in_chunks_never_ends_by_itself(content, chunk_places, places):
    wire = b"".join(read_chunks(cut(content + b"\r\n", chunk_places), places)[0])
    assert find([wire]) == (wire, None, len(content) + 2)


@pytest.mark.parametrize("machine", [Stuffer, Unstuffer])
def test_an_empty_block_changes_nothing(machine):
    stuffer = machine()
    assert stuffer.feed(b"") == b""
    assert stuffer.feed(b"..a") == (b"...a" if machine is Stuffer else b".a")

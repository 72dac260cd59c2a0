"""Fuzz replies: any octets in any cut are the same replies, up to one ReplyError, and whatever is made of them is safe.

Safe is: nobody's words leave their line, no line has more than 512 octets, and it reads back as what it is. What is not
yet a reply never takes more memory than one reply may.
"""

from __future__ import annotations

import re
from random import Random

from fuzzing import main, noise, pieces

from moxy.smtp.extension import Extensions
from moxy.smtp.limits import REPLY_LINE
from moxy.smtp.replies import closing
from moxy.smtp.reply import (
    LINES_LIMIT,
    PARSED_LINE_LIMIT,
    PARSED_REPLY_LIMIT,
    Phase,
    Replies,
    Reply,
    ReplyError,
    ReplyParser,
    pass_on,
)

WORDS = [b"250", b"250 ", b"250-", b"354 ", b"421 ", b"550-", b"550 ", b"451", b"220 mx.test ESMTP\r\n", b"250 OK\r\n"]
WORDS += [
    b"5.1.1",
    b"5.1.1 ",
    b"2.0.0 ",
    b"4.1000.1 ",
    b"text",
    b"x" * 490,
    b"-",
    b"\t",
    "é\u2028\x85".encode(),
    b"\r\n",
]
WORDS += [b"250-SIZE 99999999999999999999999\r\n", b"250-LIMITS RCPTMAX=5 MAILMAX=0\r\n", b"250-AUTH PLAIN\r\n"]
HIDDEN = re.compile("mx\\.test|text")
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def read(stream: list[bytes]) -> tuple[list[Reply], bool]:
    """The replies in it, and whether it then turned out to be none."""
    parser = ReplyParser()
    found: list[Reply] = []
    last = b""  # line, of which the end has not come
    try:
        for piece in stream:
            parser.feed(piece)
            while (reply := parser.next()) is not None:
                found.append(reply)
            last = (last + piece).rpartition(b"\n")[2]
            assert len(last) <= PARSED_LINE_LIMIT
            assert parser.pending <= PARSED_REPLY_LIMIT + PARSED_LINE_LIMIT + 4
    except ReplyError as error:
        told = str(error)
        assert len(told) < 300
        return found, True
    return found, False


def check_safe(reply: Reply) -> None:
    lines = reply.wire.decode().split("\r\n")
    assert lines.pop() == ""
    assert 1 <= len(lines) <= LINES_LIMIT
    for line, mark in zip(lines, "-" * (len(lines) - 1) + " ", strict=True):
        assert line.startswith(f"{reply.code}{mark}")
        assert len(line.encode()) + 2 <= REPLY_LINE
        assert not UNSAFE.search(line)
    assert not UNSAFE.search(str(reply))
    again, broken = read([reply.wire])
    assert [other.wire for other in again] == [reply.wire]
    assert not broken


def derived(reply: Reply) -> list[Reply]:
    """All that may be told to a client of this reply."""
    made = [reply.in_ascii(), reply.replaced(HIDDEN, "\r\n250 x" * 100), Reply(reply.code, reply.status, *reply.lines)]
    made += [pass_on(reply, phase) for phase in Phase]
    return [*made, closing("moxy.test", reply)]


def case(random: Random) -> None:
    stream = noise(random, WORDS, random.choice([5, 10, 10, 30] * 5 + [300]))
    whole, broken = read([stream])
    found, broken_too = read(pieces(random, stream))
    assert broken is broken_too
    assert found == whole
    for reply in found:
        check_safe(reply)
        for other in derived(reply):
            check_safe(other)
        extensions = Extensions.of(reply)
        assert 0 <= extensions.size < 10**20
        assert 0 <= extensions.recipients < 10**6
    if found:
        assert Replies(found, found[-1]).wire == b"".join([reply.wire for reply in found])


if __name__ == "__main__":
    main(case)

"""Fuzz the sender: whatever a destination says, in whatever cut, it gives its replies in order or one ReplyError.

Which of both may depend on the cut: an answer that comes before its question is none.
"""

from __future__ import annotations

from random import Random

from fuzzing import main, noise, pieces

from moxy.smtp.reply import ReplyError, ReplyParser
from moxy.smtp.sender import Sender

WORDS = [
    b"220 mx.test ESMTP\r\n",
    b"250 OK\r\n",
    b"250-a\r\n",
    b"250-PIPELINING\r\n250 SIZE 10\r\n",
    b"354 Go\r\n",
    b"550",
]
WORDS += [
    b"421 4.3.2 bye\r\n",
    b"550 5.1.1 no\r\n",
    b"451-4.4.1 a\r\n451 4.4.1 b\r\n",
    b"250 ",
    b"2",
    b"999 x\r\n",
    b"OK",
]
GREETING = b"220 mx.test\r\n250-mx.test\r\n250 PIPELINING\r\n250 OK\r\n250 OK\r\n"
ASKED = [b"EHLO a.test", b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@d.test>", b"DATA"]


def told(stream: list[bytes]) -> list[bytes]:
    """The replies that the sender gives out, up to an error if there is one."""
    sender = Sender()
    for line in ASKED:
        sender.command(line)
    found: list[bytes] = []
    for piece in stream:
        try:
            sender.receive(piece)
            while (reply := sender.next_reply()) is not None:
                found.append(reply.wire)
                assert 200 <= reply.code < 600
                assert len(found) + sender.awaited >= 1 + len(ASKED)
        except ReplyError:
            break
    return found


def said(stream: bytes) -> list[bytes]:
    """The replies that stand in the stream."""
    parser = ReplyParser()
    parser.feed(stream)
    found: list[bytes] = []
    try:
        while (reply := parser.next()) is not None:
            found.append(reply.wire)
    except ReplyError:
        pass
    return found


def case(random: Random) -> None:
    stream = random.choice([b"", GREETING]) + noise(random, WORDS)
    all_of_it = said(stream)
    for cut in (pieces(random, stream), [stream]):
        found = told(cut)
        assert found == all_of_it[: len(found)]


if __name__ == "__main__":
    main(case)

"""Fuzz the sender: whatever a destination says, it gives replies in order or one ReplyError, in every cut the same."""

from __future__ import annotations

from random import Random

from fuzzing import main, noise, pieces

from moxy.smtp.reply import ReplyError
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


def told(stream: list[bytes]) -> tuple[list[bytes], str]:
    """The replies, and the error that ended them if one did."""
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
        except ReplyError as error:
            return found, str(error)
    return found, ""


def case(random: Random) -> None:
    stream = random.choice([b"", GREETING]) + noise(random, WORDS)
    assert told(pieces(random, stream)) == told([stream])


if __name__ == "__main__":
    main(case)

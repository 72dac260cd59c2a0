"""Fuzz the content machines: the end of data, the audit and stuffing agree with naive references in every cut."""

from __future__ import annotations

import re
from random import Random

from fuzzing import main, noise, pieces

from moxy.smtp.content import EndOfDataFinder, LineEndAudit, Stuffer, Unstuffer

WORDS = [b"a", b"text ", b"\r\n", b".", b"..", b"\r\n.", b"\r\n..\r\n", b"x" * 1000]


def check_end(random: Random, stream: bytes) -> None:
    wire = b"\r\n" + stream
    end = wire.find(b"\r\n.\r\n")
    finder, audit = EndOfDataFinder(), LineEndAudit()
    content, rest, clean = b"", None, True
    for piece in pieces(random, stream):
        if rest is not None:
            rest += piece
            continue
        passed, rest = finder.feed(piece)
        content += passed
        clean = clean and audit.clean(passed)
    if end < 0:
        assert rest is None
        assert stream.startswith(content)
        assert len(stream) - len(content) <= 2
    else:
        assert (content, rest) == (wire[2 : end + 2], wire[end + 5 :])
    assert clean is (re.search(rb"\r(?!\n)|(?<!\r)\n", content) is None)
    assert finder.octets == len((b"\r\n" + content).replace(b"\r\n.", b"\r\n")) - 2


def check_stuffing(random: Random, content: bytes) -> None:
    stuffer, unstuffer = Stuffer(), Unstuffer()
    wire = b"".join([stuffer.feed(piece) for piece in pieces(random, content)])
    assert not re.search(rb"(?:^|\r\n)\.(?!\.)", wire)
    assert b"".join([unstuffer.feed(piece) for piece in pieces(random, wire)]) == content


def case(random: Random) -> None:
    stream = noise(random, WORDS)
    check_end(random, stream)
    check_stuffing(random, stream)


if __name__ == "__main__":
    main(case)

"""Every dialogue of tests/dialogues, played in all ways: by hand and over sockets, whole, in octets, cut anywhere."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
import uvloop

from moxy.smtp import replies
from moxy.smtp.command import Bdat, Command, EndOfChunk, EndOfData, Invalid, LastChunk, Mail, Rcpt
from moxy.smtp.receiver import ContentFault, Receiver
from moxy.smtp.reply import Replies, Reply, ReplyParser
from support.cutting import cut, octets
from support.dialogue import Dialogue, Line, all_dialogues, read
from support.stage import Cutter, perform

DIALOGUES = all_dialogues()
SEEDS = range(20)
"""Different cuts tried by hand; over sockets there is one."""


def whole(stream: bytes) -> list[bytes]:
    return [stream]


def anywhere(random: Random) -> Cutter:
    """Cuts a stream at random places: now and then none, now and then many."""

    def cutter(stream: bytes) -> list[bytes]:
        return cut(stream, {random.randrange(len(stream)) for _ in range(random.choice([0, 1, 3, 10]))})

    return cutter


class ByHand:
    """A receiver answered from the script: what it decides itself must be what the script says."""

    def __init__(self, script: bytes, *, lmtp: bool) -> None:
        self._script = ReplyParser()
        self._script.feed(script)
        self._lmtp = lmtp
        self.begin_anew()

    def begin_anew(self) -> None:
        """A session of which nothing is known."""
        self._accepted = 0  # recipients of the transaction
        self._fault: Reply | None = None
        self.receiver = Receiver(lmtp=self._lmtp)

    def take(self, octets: bytes) -> bytes:
        self.receiver.receive(octets)
        while (event := self.receiver.next_event()) is not None:
            if isinstance(event, ContentFault):
                self._fault = event.reply
            elif isinstance(event, Bdat):
                self.receiver.answer(event, replies.START_MAIL_INPUT)  # the script has no word for it
            elif not isinstance(event, bytes) and (reply := self._script.next()) is not None:
                checked = self._checked(event, reply)
                is_end = isinstance(event, EndOfData | LastChunk)
                self.receiver.answer(event, self._each(checked) if is_end else checked)
        return self.receiver.take_output()

    def _each(self, first: Reply) -> Reply | Replies:
        """All that the script has in answer to a final dot: for LMTP, or after a 353 (PRDR), it is several replies."""
        prdr = first.code == replies.PRDR_BEGINS.code
        count = self._accepted + 2 if prdr else self._accepted if self._lmtp and self._accepted else 1
        every = [first, *(self._script.next() or first for _ in range(count - 1))]
        return Replies(every, every[-1])

    def _checked(self, command: Command, reply: Reply) -> Reply:
        if isinstance(command, Mail):
            self._accepted = 0
        if isinstance(command, Rcpt) and reply.positive:
            self._accepted += 1
        if isinstance(command, Invalid) and reply.code != replies.CLOSING_CODE:
            assert reply == command.deserved
        if isinstance(command, EndOfData | EndOfChunk | LastChunk) and self._fault is not None:
            assert reply == self._fault
            self._fault = self._fault if isinstance(command, EndOfChunk) else None
        return reply


def exchanges(dialogue: Dialogue) -> list[tuple[list[Line], list[Line]]]:
    """What the client says at once, and what Moxy says to it before the client speaks again; upstreams left out."""
    found: list[tuple[list[Line], list[Line]]] = []
    for speaker, lines in dialogue.turns():
        if speaker == "C":
            found.append((lines, []))
        elif speaker == "S" and found:
            found[-1][1].extend(lines)
    return found


def play_by_hand(dialogue: Dialogue, cutter: Cutter) -> None:
    said = exchanges(dialogue)
    expected = [b"".join(line.wire for line in lines if not line.closes) for _, lines in said]
    by_hand = ByHand(b"".join(expected), lmtp=dialogue.lmtp)
    for (lines, answers), output in zip(said, expected, strict=True):
        if lines[0].secures:
            assert by_hand.receiver.secures, "TLS was not accepted"
            by_hand.begin_anew()
        elif not lines[0].closes:
            pieces = cutter(b"".join(line.wire for line in lines))
            assert b"".join(by_hand.take(piece) for piece in pieces) == output, lines[0].place
        if answers and answers[-1].closes:
            assert by_hand.receiver.closed
    if not said[-1][0][0].closes:
        assert not by_hand.receiver.waiting, "the script lacks a reply"


@pytest.fixture(params=DIALOGUES, ids=lambda dialogue: dialogue.name)
def dialogue(request: pytest.FixtureRequest) -> Dialogue:
    return request.param


def test_by_hand(dialogue):
    play_by_hand(dialogue, whole)


def test_by_hand_octet_by_octet(dialogue):
    play_by_hand(dialogue, octets)


def test_by_hand_cut_anywhere(dialogue):
    for seed in SEEDS:
        play_by_hand(dialogue, anywhere(Random(seed)))


LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
CUTTERS = [whole, octets, anywhere(Random(0))]


@pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("cutter", CUTTERS, ids=["whole", "octets", "anywhere"])
def test_over_sockets(dialogue, new_loop, cutter):
    perform(dialogue, new_loop, cutter)


# -- the notation


NOTATION = r"""# what it shows

Listener: lmtp
Limits: domains=2
Offer: DSN MT-PRIORITY
Route: a.test U U2
Route: b.test nobody
C: a\r\0\xff\\
C:
C: no end\c
V2: (closes)
R: aborted U2
"""


def test_the_notation_is_read_as_described(tmp_path):
    file = tmp_path / "sample.txt"
    file.write_text(NOTATION)
    dialogue = read(file)
    assert dialogue.routes == {"a.test": ["U", "U2"], "b.test": ["nobody"]}
    assert dialogue.upstreams() == {"U", "U2"}
    assert dialogue.lmtp
    assert dialogue.bounds == {"domains": 2}
    assert dialogue.offer == {"DSN", "MT-PRIORITY"}
    assert [line.text for line in dialogue.lines] == [b"a\r\0\xff\\", b"", b"no end", b"(closes)"]
    assert [line.wire for line in dialogue.lines[:3]] == [b"a\r\0\xff\\\r\n", b"\r\n", b"no end"]
    assert [(speaker, len(lines)) for speaker, lines in dialogue.turns()] == [("C", 3), ("V2", 1)]
    assert dialogue.lines[-1].place == "sample.txt:11"
    assert dialogue.records == [("aborted", "U2")]


@pytest.mark.parametrize("line", ["X: a", "C:a", "hello", "Route: a.test", "Route: a.test V", "R: gone U"])
def test_what_is_not_in_the_notation_is_an_error(tmp_path, line):
    file = tmp_path / "sample.txt"
    file.write_text(f"# bad\n{line}\n")
    with pytest.raises(ValueError, match=r"sample\.txt:2: not understood"):
        read(file)


def test_dots_stand_for_any_text():
    line = Line("U", b"by mx with ESMTP id ...;", "here")
    assert line.matches(b"by mx with ESMTP id 42;")
    assert not line.matches(b"by mx with ESMTP id 42")
    assert not Line("S", b"250 OK", "here").matches(b"250 OK.")


BROKEN = {
    "another word": "S: 220 mx.moxy.test ESMTP Moxy\nC: NOOP\nS: 250 2.0.0 Fine\n",
    "a word too many": "S: 220 mx.moxy.test ESMTP Moxy\nC: NOOP\n",
    "a word too few": "S: 220 mx.moxy.test ESMTP Moxy\nC: QUIT\nS: 221 2.0.0 mx.moxy.test Goodbye\nS: 250 2.0.0 OK\n",
    "too early": "C: NOOP\nS: 220 mx.moxy.test ESMTP Moxy\nS: 250 2.0.0 OK\n",
    "not recorded": "S: 220 mx.moxy.test ESMTP Moxy\nR: delivered U\n",
    "not closed": "S: 220 mx.moxy.test ESMTP Moxy\nC: NOOP\nC: NOOP\nS: 250 2.0.0 OK\nS: (closes)\n",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_player_notices_what_the_script_does_not_say(tmp_path, text):
    file = tmp_path / "broken.txt"
    file.write_text(text)
    with pytest.raises(AssertionError):
        perform(read(file), asyncio.new_event_loop, whole)

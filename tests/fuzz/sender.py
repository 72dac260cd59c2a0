"""Fuzz the sender: whatever a destination says, in whatever cut, it gives its replies in order or one ReplyError.

Which of both may depend on the cut: an answer that comes before its question is none. What is written is what was
asked, in order: nothing behind a command that must stand alone, no command inside content or a chunk. What was said in
clear is forgotten with STARTTLS, or an error. In AUTH a server that says anything learns no secret that it must not.
"""

from __future__ import annotations

from random import Random

from fuzzing import main, noise, pieces
from naive import stuffed

from moxy.smtp import sasl
from moxy.smtp.reply import Reply, ReplyError, ReplyParser
from moxy.smtp.sender import ENDS_GROUP, Sender

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
ALONE = [b"EHLO a.test", b"NOOP", b"DATA", b"STARTTLS", b"AUTH PLAIN"]
EASY = [b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@d.test>", b"RSET"]
ANSWERS = [b"250 OK\r\n", b"250-mx.test\r\n250-PIPELINING\r\n250 PRDR\r\n", b"250-mx.test\r\n250 CHUNKING\r\n"]
ANSWERS += [b"220 2.0.0 go\r\n", b"353 each\r\n", b"354 go\r\n", b"334 \r\n", b"235 in\r\n", b"550 5.1.1 no\r\n"]
ANSWERS += [b"451 x\r\n", b"334 cj1u\r\n", b"334 " + b"A" * 488 + b"\r\n"]
LIKELY = {b"EHLO": ANSWERS[1], b"STAR": b"220 go\r\n", b".PRD": b"353 each\r\n", b"DATA": b"354 go\r\n"}
LIKELY |= {b"AUTH": b"334 \r\n"}
SECRET = "s3same"
SALTED = b"r=nonceMORE,s=c2FsdA==,i=%d"


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


class Dialogue:
    """A session in which both sides take turns, the destination mostly when it is asked."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.sender = Sender()
        self.fed = b""
        self.found: list[bytes] = []
        self._asked: list[bytes] = []  # what is to be written, in order
        self._written = b""
        self._open = False  # was content open before the reply that came last?
        self._prdr = 0  # replies behind a 353
        self._plain: bytes | None = None  # the content of the message in chunks
        self._chunked = b""
        self._verbs: list[bytes] = [b"220?"]  # asked, and not answered

    def step(self) -> None:
        """Say something, hear something. Raises ReplyError."""
        if self.sender.content_open:
            self._content()
        elif b"DATA" not in self._verbs:
            self._ask()
        self._look_at_output()
        self._hear()
        self._look_at_output()

    def _ask(self) -> None:
        chance, sender = self._random.random(), self.sender
        if chance < 0.2 and not sender.awaited:
            self._plain = self._chunked = b""
            sender.begin_chunks()
            return
        line = self._random.choice(ALONE + EASY * 2)
        if line == b"STARTTLS" and sender.awaited:
            return
        sender.command(line)
        self._expect(line + b"\r\n", line[:4])

    def _expect(self, octets: bytes, *verbs: bytes) -> None:
        self._asked.append(octets)
        self._verbs += verbs
        assert self.sender.awaited == len(self._verbs)

    def _content(self) -> None:
        wire = self._random.choice([b"text\r\n", b"..dot\r\n", b"RSET\r\n", b"", b"x" * 100 + b"\r\n", b"..\r\n..\r\n"])
        if self._plain is None:
            self.sender.content(wire)
            self._asked.append(wire)
            if self._random.random() < 0.5:
                self._end(b".\r\n")
            return
        self.sender.gather(wire)
        self._plain += wire
        if self._random.random() < 0.3 and self.sender.gathered:
            self._chunk(b"BDAT %d\r\n", b"BDAT")
            self.sender.chunk()
        elif self._random.random() < 0.3 and not self.sender.awaited:
            self._chunk(b"BDAT %d LAST\r\n")
            self._end(b"")

    def _chunk(self, command: bytes, *verbs: bytes) -> None:
        """All that is not yet in a chunk, as a naive reader unstuffs it."""
        assert self._plain is not None
        whole = (b"\r\n" + self._plain).replace(b"\r\n.", b"\r\n")[2:]
        assert stuffed(whole) == self._plain
        octets = whole[len(self._chunked) :]
        assert self.sender.gathered == len(octets)
        self._chunked = whole
        self._asked.append(command % len(octets) + octets)
        self._verbs += verbs

    def _end(self, dot: bytes) -> None:
        recipients, prdr = self._random.randint(1, 3), self._random.random() < 0.3
        self.sender.end_of_data(recipients, prdr=prdr)
        self._plain = None
        self._prdr = recipients + 1
        self._expect(dot, *([b".PRD"] if prdr else [b"."] * recipients))

    def _hear(self) -> None:
        answers = [self._answer_to(verb) for verb in self._verbs[: self._random.randrange(5)]]
        answers += self._random.choices([[], ANSWERS[:1], [b"250 in clear"]], [18, 1, 1])[0]  # nobody asked for it
        stream = b"".join(answers) + (noise(self._random, WORDS, 3) if self._random.random() < 0.1 else b"")
        for piece in pieces(self._random, stream):
            self.fed += piece
            self.sender.receive(piece)
            self._open = self.sender.content_open
            while (reply := self.sender.next_reply()) is not None:
                self._answered(reply)
                self._look_at_output()
                self._open = self.sender.content_open

    def _answer_to(self, verb: bytes) -> bytes:
        return LIKELY.get(verb, ANSWERS[0]) if self._random.random() < 0.7 else self._random.choice(ANSWERS)

    def _answered(self, reply: Reply) -> None:
        """The next command's reply, or in open content, or with 421, one of its own."""
        self.found.append(reply.wire)
        verb = self._verbs.pop(0) if self._verbs else b""
        if verb == b"":
            assert self._open or reply.code == 421
            assert not self.sender.content_open
            self._plain = None
        elif verb == b".PRD" and reply.code == 353:
            self._verbs[:0] = [b"."] * self._prdr
        elif verb == b"BDAT" and reply.code >= 300:
            self._plain = None
        assert self.sender.awaited == len(self._verbs)
        if verb == b"STAR" and reply.code == 220:
            self._begin_tls()
        elif verb == b"AUTH" and reply.code == 334 and not self._verbs:
            self.sender.respond(b"DATA")  # no command, whatever it looks like
            self._expect(b"DATA\r\n", b"AUTH")

    def _begin_tls(self) -> None:
        """What came in clear behind the 220 is never believed."""
        parser = ReplyParser()
        parser.feed(self.fed)
        heard = [parser.next() for _ in self.found]
        assert [reply.wire for reply in heard if reply] == self.found
        silent = not self._verbs and not parser.pending
        try:
            self.sender.secured()
        except ReplyError:
            assert not silent
            raise
        assert silent
        assert "PIPELINING" not in self.sender.extensions
        assert not self.sender.extensions.words("AUTH")

    def _look_at_output(self) -> None:
        """What has left is the beginning of what was asked, and no more than may leave before it is answered."""
        self._written += self.sender.take_output()
        asked = b"".join(self._asked)
        assert asked.startswith(self._written)
        waiting = self._verbs[: len(self._verbs) - self._queued(asked)]
        assert not any(verb in ENDS_GROUP for verb in waiting[:-1])
        if not self.sender.extensions.pipelining:
            assert all(verb in (b".", b".PRD", b"BDAT") for verb in waiting[1:])

    def _queued(self, asked: bytes) -> int:
        """How many of the commands asked have not left."""
        return asked[len(self._written) :].count(b"\r\n")


def authenticate(random: Random) -> None:
    """An exchange with a server that says anything: what is answered, or a SaslError, and no success without proof."""
    name = random.choice(list(sasl.MECHANISMS))
    machine = sasl.begin(name, "ann=,é", SECRET, "nonce")
    words = [SALTED % random.choice([1, 4096, 4096, 4097, 10**9]), b"v=", b"e=other-error", b"m=x,", b",", b"r=nonce"]
    for _ in range(4):
        text = sasl.response(noise(random, words, 3)).decode()
        if random.random() < 0.1:
            text = noise(random, WORDS).decode("latin-1")
        try:
            answer = machine.answer(sasl.challenge(text))
        except sasl.SaslError as error:
            told = str(error)
            assert SECRET not in told
            break
        assert b"\n" not in sasl.response(answer)
        assert name in sasl.PLAINTEXT or SECRET.encode() not in answer
    assert name != "SCRAM-SHA-256" or not machine.complete


def case(random: Random) -> None:
    stream = random.choice([b"", GREETING]) + noise(random, WORDS)
    all_of_it = said(stream)
    for cut in (pieces(random, stream), [stream]):
        found = told(cut)
        assert found == all_of_it[: len(found)]
    dialogue = Dialogue(random)
    try:
        for _ in range(random.choice([5, 20])):
            dialogue.step()
    except ReplyError:
        pass
    assert dialogue.found == said(dialogue.fed)[: len(dialogue.found)]
    if random.random() < 0.2:
        authenticate(random)


if __name__ == "__main__":
    main(case)

"""Fuzz the receiver: whatever a client sends, in whatever cut, it says what a naive reader of the whole stream reads.

Each command is the one that comes next and gets one reply, in order; content is what the client sent as content, and
nothing of it is obeyed, wanted or not; what follows STARTTLS is given to nobody.
"""

from __future__ import annotations

from random import Random

from fuzzing import main, noise, pieces
from naive import NaiveReceiver

from moxy.smtp import replies
from moxy.smtp.command import (
    LMTP_VERBS,
    SMTP_VERBS,
    XCLIENT_VERB,
    Bdat,
    Command,
    Data,
    EndOfChunk,
    EndOfData,
    Hello,
    Invalid,
    LastChunk,
    Mail,
    Quit,
    Rcpt,
    StartTls,
    XClient,
)
from moxy.smtp.receiver import ContentFault, Receiver
from moxy.smtp.reply import Replies, Reply

WORDS = [
    b"EHLO a.test\r\n",
    b"HELO b\r\n",
    b"MAIL FROM:<a@b.test>",
    b"MAIL FROM:<> SIZE=10\r\n",
    b"RCPT TO:<a@b.test>\r\n",
    b"RCPT TO:<a b>\r\n",
]
WORDS += [
    b"LHLO c.test\r\n",
    b" PRDR\r\n",
    b" SMTPUTF8\r\n",
    b" RET=HDRS ENVID=a+20b\r\n",
    b" NOTIFY=NEVER ORCPT=rfc822;a@b\r\n",
    "RCPT TO:<é@bücher.test>\r\n".encode(),
    b"DATA\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY a\r\n",
    b"QUIT\r\n",
    b" BODY=8BITMIME\r\n",
    b" BODY=BINARYMIME\r\n",
    b"STARTTLS\r\n",
    b"XCLIENT ADDR=192.0.2.1 NAME=a.test\r\n",
    b"text\r\n",
    b"\r\n.\r\n",
]
WORDS += [b"BDAT ", b"BDAT 0\r\n", b"BDAT 0 LAST\r\n", b"BDAT 99999999999999999999\r\n", b" LAST\r\n"]
HELLO = b"EHLO a.test\r\nLHLO a.test\r\n"
"""Of SMTP or LMTP: either greeting is a mistake to the other's receiver, and no more."""
RECIPIENTS = b"RCPT TO:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"
TRANSACTION = HELLO + b"MAIL FROM:<a@b.test>\r\n" + RECIPIENTS
STARTS = [b"", HELLO, TRANSACTION, TRANSACTION + b"DATA\r\n"]
STARTS += [TRANSACTION + b"RCPT TO:<a b>\r\nDATA\r\ntext\r\n.\r\n"]
STARTS += [HELLO + b"MAIL FROM:<> BODY=BINARYMIME\r\n" + RECIPIENTS]
COMMAND_LINE = 128
SIZE = 500
CLOSING = replies.closing("a.test", replies.INTERNAL_ERROR.with_code(replies.CLOSING_CODE))
GOOD = {Data: replies.START_MAIL_INPUT, Bdat: replies.START_MAIL_INPUT, Quit: replies.BYE}
REFUSABLE = (Hello, Mail, Rcpt, Data, Bdat, EndOfData, EndOfChunk, LastChunk, StartTls, XClient)


def chunk(random: Random) -> bytes:
    """A chunk that looks like commands, as a rule of the size that it says."""
    octets = noise(random, WORDS, 5)
    size = max(0, len(octets) + random.choice([0, 0, 0, 0, 0, 1, -1]))
    return b"BDAT %d%s\r\n%s" % (size, random.choice([b"", b" LAST"]), octets)


def answer_to(random: Random, command: Command) -> Reply | Replies:
    chance = random.random()
    if isinstance(command, Invalid):
        return command.deserved
    if chance < 0.01:
        return CLOSING
    refused = isinstance(command, REFUSABLE) and chance < 0.1
    reply = replies.INTERNAL_ERROR if refused else GOOD.get(type(command), replies.OK)
    if isinstance(command, EndOfData | LastChunk) and random.random() < 0.3:
        return Replies([replies.PRDR_BEGINS, replies.OK, reply], reply)
    return reply


class Watch:
    """A session, and what must be true of it."""

    def __init__(self, random: Random, stream: bytes) -> None:
        self._random = random
        self._lmtp = random.random() < 0.5
        self.receiver = Receiver(lmtp=self._lmtp, size=SIZE, command_line=COMMAND_LINE)
        self._naive = NaiveReceiver(stream, {}, command_line=COMMAND_LINE, size=SIZE)
        self._trust(random.random() < 0.5)
        self._waiting: list[Command] = []
        self._replies: list[bytes] = []
        self._content = b""
        self._open = self._faulty = False  # may content come; must none come any more?
        self._secures = False

    def _trust(self, trusted: bool) -> None:
        (self.receiver.trust if trusted else self.receiver.distrust)()
        self._naive.verbs = (LMTP_VERBS if self._lmtp else SMTP_VERBS) | (XCLIENT_VERB if trusted else {})

    def feed(self, piece: bytes) -> None:
        self.receiver.receive(piece)
        while (event := self.receiver.next_event()) is not None or self._waiting:
            if event is None:
                self._answer_all()
            elif isinstance(event, bytes | ContentFault):
                assert self._open
                assert not self._faulty
                self._faulty = isinstance(event, ContentFault)
                self._content += event if isinstance(event, bytes) else b""
            else:
                self._command(event)
        assert self.receiver.take_output() == b"".join(self._replies)
        self._replies.clear()
        assert self.receiver.closed or self.receiver.unread <= COMMAND_LINE
        assert self.receiver.secures is self._secures
        if self._open:
            assert self._naive.may_hold(self._content)

    def _command(self, command: Command) -> None:
        if isinstance(command, EndOfData):
            self._judge(command, *self._naive.end_of_data())
        elif isinstance(command, EndOfChunk | LastChunk):
            self._judge(command, *self._naive.end_of_chunk())
        else:
            assert not self._open
            expected = self._naive.command(unread=self.receiver.unread)
            assert command == expected
        self._waiting.append(command)

    def _judge(self, end: Command, expected: Command, content: bytes, fit: bool) -> None:
        """Content that was passed whole is what a naive reader would have read, and only what is fit passes."""
        assert type(end) is type(expected)
        assert self._open or self._naive.unwanted
        assert fit is not (self._faulty or self._naive.unwanted)
        if fit:
            assert self._content == content
            assert end == expected
        self._open = False

    def _answer_all(self) -> None:
        """Answer those that wait, not always in order; note the replies in the order of the commands."""
        for command in self._waiting:
            assert len(self._waiting) == 1 or isinstance(command, Rcpt | Invalid)
        answers = [(command, answer_to(self._random, command)) for command in self._waiting]
        for command, answer in self._random.sample(answers, len(answers)):
            if isinstance(command, Bdat):
                command.binary = self._naive.binary
            self.receiver.answer(command, answer)
        self._waiting.clear()
        for command, answer in answers:
            self._answered(command, answer)
            if answer.code == replies.CLOSING_CODE:
                break  # our last words

    def _answered(self, command: Command, answer: Reply | Replies) -> None:
        accepted = answer.code < 400
        if not isinstance(command, Bdat) or answer.code == replies.CLOSING_CODE:
            self._replies.append(answer.wire)
        if answer.code == replies.CLOSING_CODE:
            return
        if isinstance(command, Bdat) and not self._naive.in_chunks:
            self._content, self._faulty = b"", False
        self._naive.answered(command, accepted=accepted)
        if isinstance(command, Data) and accepted:
            self._content, self._faulty, self._open = b"", False, True
        elif isinstance(command, Bdat):
            self._open = not self._naive.unwanted
        elif isinstance(command, StartTls):
            self._secures = accepted
        elif isinstance(command, XClient) and accepted:
            self._trust(self._random.random() < 0.5)


def case(random: Random) -> None:
    words = WORDS + [chunk(random) for _ in range(12)]
    stream = random.choice(STARTS) + noise(random, words)
    watch = Watch(random, stream)
    for piece in pieces(random, stream):
        if watch.receiver.closed:
            watch.receiver.receive(piece)
            assert watch.receiver.next_event() is None
            assert watch.receiver.take_output() == b""
        else:
            watch.feed(piece)


if __name__ == "__main__":
    main(case)

"""Fuzz the receiver: whatever a client sends, each command gets one reply, in order, and content never leaks.

The stream is cut by a naive reader of its own kind: nothing after a final dot may be read as content, nothing before
it as a command.
"""

from __future__ import annotations

from random import Random

from fuzzing import main, noise, pieces

from moxy.smtp import replies
from moxy.smtp.command import Command, Data, EndOfData, Hello, Invalid, Mail, Quit, Rcpt
from moxy.smtp.receiver import Content, ContentFault, Receiver
from moxy.smtp.reply import Replies, Reply

WORDS = [
    b"EHLO a.test\r\n",
    b"HELO b\r\n",
    b"MAIL FROM:<a@b.test>",
    b"MAIL FROM:<> SIZE=10\r\n",
    b"RCPT TO:<a@b.test>\r\n",
]
WORDS += [
    b"LHLO c.test\r\n",
    b" PRDR\r\n",
    b"DATA\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY a\r\n",
    b"QUIT\r\n",
    b"BODY=8BITMIME",
    b"text\r\n",
    b"\r\n.\r\n",
]
TRANSACTION = b"EHLO a.test\r\nLHLO a.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n"
"""Of SMTP or LMTP: either greeting is a mistake to the other's receiver, and no more."""
COMMAND_LINE = 128
SIZE = 500


def answer_to(random: Random, command: Command) -> Reply:
    if isinstance(command, Invalid):
        return command.deserved
    good = {Data: replies.START_MAIL_INPUT, Quit: replies.BYE}.get(type(command), replies.OK)
    refusable = isinstance(command, Hello | Mail | Rcpt | Data | EndOfData)
    return replies.INTERNAL_ERROR if refusable and random.random() < 0.1 else good


class Watch:
    """A session, and what must be true of it."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.receiver = Receiver(lmtp=random.random() < 0.5, size=SIZE, command_line=COMMAND_LINE)
        self._waiting: list[Command] = []
        self._replies: list[bytes] = []
        self._content: bytes | None = None  # None: commands are expected
        self._faulty = False

    def feed(self, piece: bytes) -> None:
        self.receiver.receive(piece)
        while (event := self.receiver.next_event()) is not None or self._waiting:
            if event is None:
                self._answer_one()
            elif isinstance(event, Content):
                assert self._content is not None
                assert not self._faulty
                self._content += event.block
            elif isinstance(event, ContentFault):
                assert self._content is not None
                assert not self._faulty
                self._faulty = True
            else:
                self._command(event)
        assert self.receiver.take_output() == b"".join(self._replies)
        self._replies.clear()
        assert self.receiver.closed or self.receiver.unread <= COMMAND_LINE

    def _command(self, command: Command) -> None:
        assert isinstance(command, EndOfData) is (self._content is not None)
        if isinstance(command, EndOfData):
            self._judge(command)
        self._waiting.append(command)

    def _judge(self, end: EndOfData) -> None:
        """Content that was passed whole is what a naive reader would have read."""
        content = self._content
        assert content is not None
        if not self._faulty:
            assert (b"\r\n" + content).find(b"\r\n.\r\n") < 0
            assert content[-2:] in (b"", b"\r\n")
            assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")
            assert end.octets == len(content) - (b"\r\n" + content).count(b"\r\n.") <= SIZE
        self._content = None

    def _answer_one(self) -> None:
        """Answer one of those that wait, not always the first; note the replies in the order of the commands."""
        order = self._random.sample(self._waiting, len(self._waiting))
        for command in self._waiting:
            assert len(self._waiting) == 1 or isinstance(command, Rcpt | Invalid)
        answers: dict[int, Reply | Replies] = {}
        for command in self._waiting:
            answers[id(command)] = answer = answer_to(self._random, command)
            if isinstance(command, EndOfData) and self._random.random() < 0.3:
                answers[id(command)] = Replies([replies.PRDR_BEGINS, replies.OK, answer], answer)
        for command in order:
            self.receiver.answer(command, answers[id(command)])
            if isinstance(command, Data) and 300 <= answers[id(command)].code < 400:
                self._content, self._faulty = b"", False
        self._replies += [answers[id(command)].wire for command in self._waiting]
        self._waiting.clear()


def case(random: Random) -> None:
    stream = random.choice([b"", TRANSACTION]) + noise(random, WORDS)
    watch = Watch(random)
    for piece in pieces(random, stream):
        watch.feed(piece)
        if watch.receiver.closed:
            assert watch.receiver.next_event() is None
            return


if __name__ == "__main__":
    main(case)

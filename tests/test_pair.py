"""Our client's side against our server's side: what the one means is what the other understands, in every cut."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.smtp import replies
from moxy.smtp.address import ForwardPath, ReversePath
from moxy.smtp.command import Command, Data, EndOfData, Hello, Invalid, Mail, Quit, Rcpt
from moxy.smtp.content import Stuffer, Unstuffer
from moxy.smtp.extension import Offer
from moxy.smtp.receiver import Receiver
from moxy.smtp.reply import Reply
from moxy.smtp.sender import Sender
from support.cutting import cut, cut_places

QUOTED = '"a b>"@[IPv6:2001:db8::1]'


@dataclass
class Server:
    """A server that takes every message, but for recipients named nobody."""

    offer: Offer
    receiver: Receiver = field(default_factory=Receiver)
    commands: list[Command] = field(default_factory=list)
    content: bytes = b""

    def take(self, octets: bytes) -> bytes:
        self.receiver.receive(octets)
        while (event := self.receiver.next_event()) is not None:
            if isinstance(event, bytes):
                self.content += event
            else:
                assert isinstance(event, Command)
                self.commands.append(event)
                self.receiver.answer(event, self._answer(event))
        return self.receiver.take_output()

    def _answer(self, command: Command) -> Reply:
        if isinstance(command, Invalid):
            return command.deserved
        if isinstance(command, Hello):
            return self.offer.ehlo_reply("mx.test")
        if isinstance(command, Rcpt) and command.path.local == "nobody":
            return Reply(550, "1.1", "no", "such", "person")
        return {Data: replies.START_MAIL_INPUT, Quit: replies.BYE}.get(type(command), replies.OK)


@dataclass
class Pair:
    """A client and a server, and a network between them that cuts as it likes."""

    server: Server
    places: set[int] = field(default_factory=set)
    sender: Sender = field(default_factory=Sender)
    replies: list[Reply] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sender.receive(replies.greeting("mx.test", "").wire)
        self.replies += iter(self.sender.next_reply, None)

    def run(self, *lines: bytes) -> None:
        """Ask these commands, and carry octets to and fro until neither has more to say."""
        for line in lines:
            self.sender.command(line)
        silent = False
        while not silent:
            to_server = self.sender.take_output()
            to_client = b"".join([self.server.take(piece) for piece in cut(to_server, self.places)])
            for piece in cut(to_client, self.places):
                self.sender.receive(piece)
                self.replies += iter(self.sender.next_reply, None)
            silent = not (to_server or to_client)

    def send(self, content: bytes) -> None:
        """Send content, which ends in CRLF, and its dot."""
        stuffer = Stuffer()
        for piece in cut(content, self.places):
            self.sender.content(stuffer.feed(piece))
        self.sender.end_of_data()
        self.run()


def codes(pair: Pair) -> list[int]:
    return [reply.code for reply in pair.replies]


@pytest.mark.parametrize("reverse_path", ["joe@a.test", "", QUOTED, '"\\""@a.test'])
def test_a_path_arrives_as_it_was_sent(reverse_path):
    pair = Pair(Server(Offer()))
    pair.run(b"EHLO client.test", f"MAIL FROM:<{reverse_path}> SIZE=10 BODY=8BITMIME".encode())
    assert pair.server.commands[1:] == [Mail(ReversePath.parse(reverse_path), size=10, body="8BITMIME")]


def test_both_agree_on_what_is_offered():
    pair = Pair(Server(Offer(size=12345)))
    pair.run(b"EHLO client.test")
    extensions = pair.sender.extensions
    assert (extensions.pipelining, extensions.eight_bit, extensions.size) == (True, True, 12345)
    assert "ENHANCEDSTATUSCODES" in extensions


@given(st.lists(st.sampled_from([b".", b"..", b"\r\n", b"a", b"line\r\n", b"\xff\0"]), max_size=40), cut_places)
def test_any_content_arrives_bit_for_bit(parts, places):
    content = b"".join(parts) + b"\r\n"
    pair = Pair(Server(Offer()), places)
    pair.run(b"EHLO client.test", b"MAIL FROM:<>", b"RCPT TO:<nobody@b.test>", b"RCPT TO:<ann@b.test>", b"DATA")
    pair.send(content)
    pair.run(b"QUIT")
    assert codes(pair) == [220, 250, 250, 550, 250, 354, 250, 221]
    assert pair.replies[3] == Reply(550, "1.1", "no", "such", "person")
    assert Unstuffer().feed(pair.server.content) == content
    assert EndOfData(len(content)) in pair.server.commands
    assert pair.server.receiver.closed


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), cut_places)
def test_message_after_message_stays_in_step(counts, places):
    pair = Pair(Server(Offer()), places)
    pair.run(b"EHLO client.test")
    for count in counts:
        before = len(pair.replies)
        pair.run(b"MAIL FROM:<joe@a.test>", *[b"RCPT TO:<ann@b.test>"] * count, b"DATA")
        if count:
            pair.send(b"text\r\n" * count)
            assert codes(pair)[before:] == [250] * (count + 1) + [354, 250]
        else:
            assert codes(pair)[before:] == [250, 554]
            pair.run(b"RSET")
    assert pair.sender.awaited == len(pair.server.receiver.waiting) == 0
    recipients = [command for command in pair.server.commands if isinstance(command, Rcpt)]
    assert recipients == [Rcpt(ForwardPath.parse("ann@b.test"))] * sum(counts)

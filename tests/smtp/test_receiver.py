"""The server's side of a session, driven by hand: events in order, one reply each, and no cut that matters."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moxy.smtp import limits, replies
from moxy.smtp.address import ForwardPath, ReversePath
from moxy.smtp.command import (
    Bdat,
    Command,
    Data,
    EndOfChunk,
    EndOfData,
    Hello,
    Invalid,
    LastChunk,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    XClient,
)
from moxy.smtp.content import Stuffer
from moxy.smtp.receiver import ContentFault, Event, Receiver
from moxy.smtp.reply import Replies, Reply, ReplyParser
from moxy.smtp.state import State
from support.cutting import cut, cut_places, in_two, octets

HELLO = b"EHLO client.test\r\n"
MAIL = b"MAIL FROM:<joe@a.test>\r\n"
RCPT = b"RCPT TO:<ann@b.test>\r\n"
REFUSED_RCPT = b"RCPT TO:<nobody@b.test>\r\n"
OPEN = HELLO + MAIL + RCPT
CONTENT = OPEN + b"DATA\r\n"

SIZE = 100
"""Octets of the largest message, in the sessions of these tests."""

GOOD = {Hello: 250, Mail: 250, Rcpt: 250, Data: 354, Bdat: 354, Quit: 221, StartTls: 220}


def answer_to(command: Command) -> Reply:
    """A reply as a kind server would give it: everything is fine, but for recipients named nobody."""
    if isinstance(command, Invalid):
        return command.deserved
    if isinstance(command, Rcpt) and command.path.local == "nobody":
        return Reply(550, "1.1", "Nobody lives here")
    return Reply(GOOD.get(type(command), 250), "", type(command).__name__)


def drive(receiver: Receiver, pieces: Iterable[bytes]) -> list[Event]:
    """Feed the pieces, answer every command at once; the events, with their content joined."""
    events: list[Event] = []
    fault: Reply | None = None
    for piece in pieces:
        receiver.receive(piece)
        while (event := receiver.next_event()) is not None:
            if isinstance(event, ContentFault):
                fault = event.reply
            elif isinstance(event, EndOfData | LastChunk):
                receiver.answer(event, fault or replies.MESSAGE_ACCEPTED)
                fault = None
            elif isinstance(event, EndOfChunk):
                receiver.answer(event, fault or replies.CHUNK_OK)
            elif isinstance(event, Command):
                receiver.answer(event, answer_to(event))
                fault = fault if isinstance(event, Bdat) else None
            if isinstance(event, bytes) and events and isinstance(events[-1], bytes):
                events[-1] = events[-1] + event
            else:
                events.append(event)
    return events


def play(*pieces: bytes) -> tuple[list[Event], list[int]]:
    """Events and reply codes of a whole session."""
    receiver = Receiver(size=SIZE)
    events = drive(receiver, pieces)
    return events, codes(receiver.take_output())


def codes(output: bytes) -> list[int]:
    parser = ReplyParser()
    parser.feed(output)
    return [reply.code for reply in iter(parser.next, None)]


def without_doomed(events: Iterable[Event]) -> list[Event]:
    """The events without the content of messages in which a fault was found: how much comes before it is chance."""
    kept: list[Event] = []
    for event in events:
        if isinstance(event, ContentFault) and isinstance(kept[-1], bytes):
            kept.pop()
        kept.append(event)
    return kept


# -- the order of a session


def test_a_whole_session_is_read_and_answered():
    events, given_codes = play(CONTENT + b"Subject: hi\r\n\r\n..\r\n.\r\nRSET\r\nQUIT\r\n")
    assert events == [
        Hello("client.test", extended=True),
        Mail(ReversePath.parse("joe@a.test")),
        Rcpt(ForwardPath.parse("ann@b.test")),
        Data(),
        b"Subject: hi\r\n\r\n..\r\n",
        EndOfData(len(b"Subject: hi\r\n\r\n.\r\n")),
        Rset(),
        Quit(),
    ]
    assert given_codes == [250, 250, 250, 354, 250, 250, 221]


OUT_OF_ORDER = [
    (MAIL, 503),
    (RCPT, 503),
    (b"DATA\r\n", 503),
    (HELLO + RCPT, 503),
    (HELLO + b"DATA\r\n", 503),
    (HELLO + MAIL + MAIL, 503),
    (HELLO + MAIL + b"DATA\r\n", 554),
    (HELLO + MAIL + REFUSED_RCPT + b"DATA\r\n", 554),
    (OPEN + MAIL, 503),
    (OPEN + b"RSET\r\n" + RCPT, 503),
    (OPEN + HELLO + RCPT, 503),
    (CONTENT + b".\r\n" + RCPT, 503),
    (CONTENT + b"\n.\r\n.\r\n" + RCPT, 503),
]


@pytest.mark.parametrize(("stream", "code"), OUT_OF_ORDER)
def test_a_command_out_of_order_is_refused_and_moves_nothing(stream, code):
    receiver = Receiver()
    drive(receiver, [stream])
    assert codes(receiver.take_output())[-1] == code
    before = receiver.state
    drive(receiver, [b"NOOP\r\n"])
    assert receiver.state is before


def test_a_refused_command_moves_nothing():
    receiver = Receiver()
    for line, state in ((HELLO, State.GREETED), (HELLO, State.READY), (MAIL, State.READY), (MAIL, State.MAIL)):
        receiver.receive(line)
        command = receiver.next_event()
        moves = state is not receiver.state
        receiver.answer(command, Reply(250 if moves else 451, "", "as told"))
        assert receiver.state is state


@pytest.mark.parametrize("code", [421, 451, 554])
def test_a_refused_data_is_not_followed_by_content(code):
    receiver = Receiver()
    drive(receiver, [OPEN])
    receiver.receive(b"DATA\r\nNOOP\r\n")
    receiver.answer(receiver.next_event(), Reply(code, "", "no"))
    assert receiver.next_event() == (None if receiver.closed else Noop())


@pytest.mark.parametrize("verdict", [250, 451, 554])
def test_the_transaction_is_over_after_the_dot_whatever_the_verdict(verdict):
    receiver = Receiver()
    drive(receiver, [CONTENT])
    receiver.receive(b".\r\n")
    receiver.answer(receiver.next_event(), Reply(verdict, "", "so it is"))
    assert receiver.state is State.READY


def test_nothing_follows_quit():
    receiver = Receiver()
    events = drive(receiver, [HELLO + b"QUIT\r\nNOOP\r\n"])
    assert isinstance(events[-1], Quit)
    assert receiver.closed
    assert receiver.next_event() is None


def test_nothing_follows_a_421():
    receiver = Receiver()
    receiver.receive(b"GET / HTTP/1.1\r\n" + HELLO)
    command = receiver.next_event()
    assert isinstance(command, Invalid)
    receiver.answer(command, command.deserved)
    assert receiver.closed
    assert receiver.next_event() is None
    assert codes(receiver.take_output()) == [421]


def test_a_session_closed_by_us_ends_with_our_words():
    receiver = Receiver()
    drive(receiver, [HELLO])
    receiver.receive(MAIL)
    waiting = receiver.next_event()
    receiver.close(replies.TIMEOUT)
    receiver.receive(b"NOOP\r\n")
    assert receiver.closed
    assert receiver.next_event() is None
    assert codes(receiver.take_output()) == [250, 421]
    receiver.answer(waiting, replies.SENDER_OK)
    assert receiver.take_output() == b""


# -- pipelining


def test_the_next_command_comes_when_the_one_before_is_answered():
    receiver = Receiver()
    receiver.receive(HELLO + MAIL + b"NOOP\r\n")
    for kind in (Hello, Mail, Noop):
        command = receiver.next_event()
        assert isinstance(command, kind)
        assert receiver.next_event() is None
        receiver.answer(command, replies.OK)
    assert receiver.unread == 0


def test_recipients_wait_together_and_their_replies_leave_in_order():
    receiver = Receiver()
    drive(receiver, [HELLO + MAIL])
    receiver.take_output()
    receiver.receive(RCPT * 3 + b"DATA\r\n")
    first, second, third = (receiver.next_event() for _ in range(3))
    assert receiver.next_event() is None
    receiver.answer(third, Reply(250, "", "third"))
    receiver.answer(second, Reply(550, "", "second"))
    assert receiver.take_output() == b""
    assert len(receiver.waiting) == 3
    assert receiver.next_event() is None
    receiver.answer(first, Reply(250, "", "first"))
    assert receiver.take_output() == b"250 first\r\n550 second\r\n250 third\r\n"
    assert not receiver.waiting
    assert isinstance(receiver.next_event(), Data)


@pytest.mark.parametrize("line", [b"NOOP\r\n", b"RSET\r\n", b"QUIT\r\n", b"DATA\r\n", HELLO, b"RCPT\r\n", b"x\r\n"])
def test_nothing_but_recipients_overtakes_a_recipient(line):
    receiver = Receiver()
    drive(receiver, [HELLO + MAIL])
    receiver.receive(RCPT + line)
    waiting = receiver.next_event()
    assert receiver.next_event() is None
    receiver.answer(waiting, replies.RECIPIENT_OK)
    assert receiver.next_event() is not None


@pytest.mark.parametrize("line", [MAIL, b"NOOP\r\n", b"RCPT TO:ann\r\n"])
def test_a_recipient_overtakes_nothing_but_recipients(line):
    receiver = Receiver()
    drive(receiver, [HELLO])
    receiver.receive(line + RCPT)
    waiting = receiver.next_event()
    assert receiver.next_event() is None
    receiver.answer(waiting, replies.OK)
    assert receiver.next_event() is not None


def test_a_bad_recipient_waits_in_its_place():
    receiver = Receiver()
    drive(receiver, [HELLO + MAIL])
    receiver.take_output()
    receiver.receive(RCPT + b"rcpt TO:ann\r\n" + RCPT)
    first, bad = receiver.next_event(), receiver.next_event()
    assert isinstance(bad, Invalid)
    receiver.answer(bad, bad.deserved)
    receiver.answer(first, Reply(250, "", "first"))
    assert codes(receiver.take_output()) == [250, 501]


@pytest.mark.parametrize("first", [250, 550])
def test_a_bad_recipient_changes_nothing_for_one_that_it_waited_with(first):
    receiver = Receiver()
    drive(receiver, [HELLO, MAIL])
    receiver.receive(RCPT + b"RCPT TO:<a b>\r\nDATA\r\n")
    good, bad = receiver.next_event(), receiver.next_event()
    assert isinstance(good, Rcpt)
    assert isinstance(bad, Invalid)
    receiver.answer(good, Reply(first, "", "first"))
    receiver.answer(bad, bad.deserved)
    assert receiver.next_event() == (Data() if first == 250 else Invalid(replies.NO_VALID_RECIPIENTS))


def test_no_more_recipients_wait_than_the_limit():
    receiver = Receiver()
    drive(receiver, [HELLO + MAIL])
    receiver.receive(RCPT * (limits.PARALLEL_RECIPIENTS + 1))
    waiting = []
    while (command := receiver.next_event()) is not None:
        waiting.append(command)
    assert len(waiting) == len(receiver.waiting) == limits.PARALLEL_RECIPIENTS
    receiver.answer(waiting[0], replies.RECIPIENT_OK)
    assert isinstance(receiver.next_event(), Rcpt)
    assert receiver.next_event() is None


# -- command lines


def line_of(length: int) -> bytes:
    """A NOOP of so many octets, CRLF included."""
    return b"NOOP " + b"x" * (length - 7) + b"\r\n"


LONG = line_of(limits.COMMAND_LINE + 1)


def test_a_line_may_be_as_long_as_the_limit():
    assert play(line_of(limits.COMMAND_LINE), b"NOOP\r\n")[1] == [250, 250]
    assert play(LONG, b"NOOP\r\n")[1] == [500, 250]


@pytest.mark.parametrize(
    "pieces",
    [
        [LONG + b"NOOP\r\n"],
        cut(LONG + b"NOOP\r\n", range(0, 5000, 100)),
        octets(LONG + b"NOOP\r\n"),
        [LONG[:-1], b"\n", b"NOOP\r\n"],
        [LONG[:-2], LONG[-2:] + b"NOOP\r\n"],
        [LONG[:-2] * 20 + b"\r\nNOOP\r\n"],
        [*cut(LONG[:-2] * 20, range(0, 100_000, 1460)), b"\r\nNOOP\r\n"],
    ],
)
def test_a_line_too_long_is_one_bad_command_and_the_next_is_read(pieces):
    events, given_codes = play(*pieces)
    assert [type(event) for event in events] == [Invalid, Noop]
    assert given_codes == [500, 250]


def test_nothing_is_kept_of_a_line_too_long():
    receiver = Receiver()
    for _ in range(100):
        receiver.receive(b"x" * 10_000)
        assert receiver.next_event() is None
        assert receiver.unread <= 1


def test_a_line_may_be_limited_to_less():
    receiver = Receiver(command_line=10)
    assert [type(event) for event in drive(receiver, [b"NOOP 123\r\nNOOP 1234\r\n"])] == [Noop, Invalid]


@pytest.mark.parametrize("line", [b"NOOP\n", b"\n", b"NOOP \r x\n", MAIL[:-2] + b"\n"])
def test_a_command_that_ends_in_a_bare_lf_is_refused(line):
    for pieces in in_two(HELLO + line + b"NOOP\r\n"):
        events, given_codes = play(*pieces)
        assert [type(event) for event in events] == [Hello, Invalid, Noop]
        assert given_codes == [250, 500, 250]


# -- content

SMUGGLED = [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r"]


@pytest.mark.parametrize("smuggled", SMUGGLED)
def test_a_smuggled_end_is_a_fault_and_the_command_behind_it_content(smuggled):
    stream = CONTENT + b"a" + smuggled + MAIL + RCPT + b"\r\n.\r\nNOOP\r\n"
    for pieces in in_two(stream):
        events, given_codes = play(*pieces)
        kinds = [type(event) for event in without_doomed(events)]
        assert kinds == [Hello, Mail, Rcpt, Data, ContentFault, EndOfData, Noop]
        assert given_codes == [250, 250, 250, 354, 554, 250]


def test_a_fault_comes_once_and_nothing_of_the_message_after_it():
    receiver = Receiver()
    drive(receiver, [CONTENT])
    events = drive(receiver, [b"good\r\n", b"bad\n", b"bad\r", b"again\n", b"good\r\n", b".", b"\r\n", b"NOOP\r\n"])
    assert events == [b"good\r\n", ContentFault(replies.BARE_LINE_END), EndOfData(26), Noop()]


def test_a_message_may_be_as_big_as_the_limit():
    body = b"x" * (SIZE - 2) + b"\r\n"
    for pieces in in_two(CONTENT + body + b".\r\n"):
        assert play(*pieces)[1][-1] == 250
    for pieces in in_two(CONTENT + b"x" + body + b".\r\n"):
        assert play(*pieces)[1][-1] == 552


def test_the_dots_of_stuffing_do_not_count():
    body = b"..\r\n" * (SIZE // 3) + b"a"
    assert play(CONTENT + body + b"\r\n.\r\n")[1][-1] == 552
    assert play(CONTENT + body[:-1] + b".\r\n")[1][-1] == 250


def test_without_a_limit_a_message_has_any_size():
    receiver = Receiver(size=0)
    events = drive(receiver, [CONTENT, *[b"x" * 1_000_000] * 3, b"\r\n.\r\n"])
    assert events[-1] == EndOfData(3_000_002)


def test_an_empty_message_has_no_content():
    events, given_codes = play(CONTENT + b".\r\n")
    assert events[-1] == EndOfData(0)
    assert given_codes[-1] == 250


def test_a_second_message_begins_afresh():
    again = MAIL + RCPT + b"DATA\r\n.good\r\n.\r\n"
    events, given_codes = play(CONTENT + b"bad\n\r\n.\r\n" + again)
    assert events[-2:] == [b".good\r\n", EndOfData(6)]
    assert given_codes[4:] == [554, 250, 250, 354, 250]


def test_the_verdict_is_due_before_anything_behind_the_dot_is_read():
    receiver = Receiver()
    drive(receiver, [CONTENT])
    receiver.receive(b".\r\nQUIT\r\n")
    end = receiver.next_event()
    assert receiver.next_event() is None
    receiver.answer(end, replies.MESSAGE_ACCEPTED)
    assert receiver.next_event() == Quit()


BEHIND_NOTHING = [
    b"EHLO x\r\n",
    b"MAIL FR",
    b"OM:<s@a.test>\r\n",
    b"RCPT TO:<a@b.test>\r\n",
    b"DATA\r\n",
    b"x\r\n",
    b".\r\n",
]


@pytest.mark.parametrize(
    ("pieces", "ahead"),
    [
        (BEHIND_NOTHING, False),
        ([*BEHIND_NOTHING[:-2], b"x\r\n.\r\n", b"QUIT\r\n"], False),
        ([*BEHIND_NOTHING[:-2], b"x\r\n.\r\nQUIT\r\n"], True),
        ([*BEHIND_NOTHING[:-3], b"DATA\r\nx\r\n"], True),
        ([b"EHLO x\r\nNOOP\r\n"], True),
        ([b"EHLO x\r\nNO"], True),
        ([*BEHIND_NOTHING[:-3], b"BDAT 3\r\nx\r\n"], True),
        ([*BEHIND_NOTHING[:-3], b"BDAT 3\r\n", b"x\r\n", b"BDAT 0 LAST\r\n"], False),
        ([*BEHIND_NOTHING[:-3], b"BDAT 3 LAST\r\n", b"x\r\nQUIT\r\n"], True),
    ],
)
def test_a_client_is_known_to_send_ahead_once_it_has(pieces, ahead):
    receiver = Receiver(size=SIZE)
    drive(receiver, pieces)
    assert receiver.ahead is ahead
    drive(receiver, [b"NOOP\r\n"])
    assert receiver.ahead is ahead


def test_what_comes_while_a_command_waits_for_its_answer_was_sent_ahead():
    receiver = Receiver(size=SIZE)
    receiver.receive(b"EHLO x\r\n")
    assert receiver.next_event() is not None
    assert not receiver.ahead
    receiver.receive(b"NOOP\r\n")
    assert receiver.ahead


@pytest.mark.parametrize(
    ("verdict", "closed"), [(replies.PRDR_SOME, False), (replies.PRDR_NONE, False), (replies.TIMEOUT, True)]
)
def test_the_end_of_data_may_have_several_replies(verdict, closed):
    receiver = Receiver()
    drive(receiver, [CONTENT])
    receiver.take_output()
    receiver.receive(b".\r\nNOOP\r\n")
    several = Replies([replies.PRDR_BEGINS, replies.OK, replies.MIXED_VERDICTS, verdict], verdict)
    receiver.answer(receiver.next_event(), several)
    assert receiver.take_output() == several.wire
    assert receiver.state is State.READY
    assert receiver.closed is closed
    assert receiver.next_event() == (None if closed else Noop())


# -- chunks


def bdat(content: bytes, last: str = "") -> bytes:
    return f"BDAT {len(content)}{last}\r\n".encode() + content


def last(content: bytes = b"") -> bytes:
    return bdat(content, " LAST")


CHUNKS = [
    ([b"Subject: hi\r\n\r\nhello\r\n"], [250]),
    ([b"Subject: hi\r\n", b"\r\nhello\r\n", b""], [250, 250, 250]),
    ([b""], [250]),
    ([b"", b"", b""], [250] * 3),
    ([b".\r\n", b".", b"\r\n..\r", b"\n.x\r\n"], [250] * 4),
    ([b"QUIT\r\n", b"BDAT 5 LAST\r\n", b"\r\n.\r\n"], [250] * 3),
    ([b"no line end"], [250]),
    ([b"bare\r", b"cr\r\n"], [250, 554]),
    ([b"bare\nlf", b"", b"\r\n"], [554] * 3),
    ([b"bare cr\r"], [554]),
    ([b"x" * (SIZE - 1), b"y", b"z"], [250, 250, 552]),
    ([b"x" * (SIZE + 1), b"y", b""], [552] * 3),
]
"""Messages in chunks, and what is said to each."""


@pytest.mark.parametrize(("chunks", "given"), CHUNKS)
@pytest.mark.parametrize("envelope", [OPEN, HELLO + MAIL + REFUSED_RCPT + RCPT])
def test_chunks_are_answered_one_by_one_and_are_the_message_together(envelope, chunks, given):
    stream = envelope + b"".join(bdat(chunk) for chunk in chunks[:-1]) + last(chunks[-1]) + b"NOOP\r\n"
    content = b"".join(chunks)
    for pieces in in_two(stream):
        events, given_codes = play(*pieces)
        assert given_codes[-len(given) - 1 :] == [*given, 250]
        assert type(events[-1]) is Noop
        assert isinstance(events[-2], LastChunk)
        if given[-1] == 250:
            assert events[-2] == LastChunk(len(content), whole_lines=content.endswith(b"\r\n") or not content)
            passed = b"".join(event for event in events if isinstance(event, bytes))
            assert passed == Stuffer().feed(content)
        assert len([event for event in events if isinstance(event, ContentFault)]) == (given[-1] != 250)


def test_a_chunk_is_announced_before_its_octets_are_looked_at():
    receiver = Receiver()
    drive(receiver, [OPEN])
    receiver.take_output()
    receiver.receive(bdat(b"text\r\n"))
    command = receiver.next_event()
    assert command == Bdat(6)
    assert receiver.next_event() is None
    receiver.answer(command, replies.START_MAIL_INPUT)
    assert receiver.take_output() == b""
    assert receiver.next_event() == b"text\r\n"
    assert receiver.next_event() == EndOfChunk()


@pytest.mark.parametrize("octets", [0, 5])
def test_a_chunk_that_is_not_wanted_is_read_before_its_refusal_leaves(octets):
    receiver = Receiver()
    drive(receiver, [OPEN])
    receiver.take_output()
    chunk = last(b"x" * octets)
    receiver.receive(chunk[: len(chunk) - octets])
    receiver.answer(receiver.next_event(), replies.MESSAGE_TOO_BIG)
    assert receiver.take_output() == b""
    if octets:
        receiver.receive(chunk[-octets:] + b"NOOP\r\n")
    else:
        receiver.receive(b"NOOP\r\n")
    end = receiver.next_event()
    assert end == LastChunk(octets, whole_lines=not octets)
    receiver.answer(end, replies.MESSAGE_TOO_BIG)
    assert receiver.take_output() == replies.MESSAGE_TOO_BIG.wire
    assert receiver.state is State.READY
    assert receiver.next_event() == Noop()


def test_a_chunk_of_any_size_is_kept_nowhere():
    receiver = Receiver(size=0)
    drive(receiver, [OPEN, b"BDAT 99999999999999999999 LAST\r\n"])
    for block in [b"x" * 100_000] * 100:
        assert drive(receiver, [block]) == [block]
        assert receiver.unread == 0


def test_many_small_chunks_in_one_block_are_taken_one_by_one():
    receiver = Receiver(size=0)
    drive(receiver, [OPEN])
    events = drive(receiver, [bdat(b"x") * 5000])
    assert sum(isinstance(event, EndOfChunk) for event in events) == 5000


CHUNKS_OUT_OF_ORDER = [
    (b"", bdat(b"NOOP\r\n"), 503),
    (HELLO, bdat(b"NOOP\r\n"), 503),
    (HELLO, last(), 503),
    (OPEN + last(b"text\r\n"), last(b"RSET\r\n"), 503),
    (OPEN + bdat(b"text\r\n"), b"DATA\r\n", 503),
    (OPEN + bdat(b""), MAIL, 503),
    (OPEN + bdat(b"") + b"NOOP\r\n", RCPT, 503),
    (OPEN + bdat(b"") + b"RSET\r\n", RCPT, 503),
    (OPEN + bdat(b"") + HELLO, RCPT, 503),
]


@pytest.mark.parametrize(("before", "stream", "code"), CHUNKS_OUT_OF_ORDER)
def test_a_chunk_out_of_order_is_read_into_nothing_and_refused(before, stream, code):
    for pieces in in_two(stream):
        receiver = Receiver()
        drive(receiver, [before])
        receiver.take_output()
        state = receiver.state
        events = drive(receiver, pieces)
        assert [type(event) for event in events] == [Invalid]
        assert codes(receiver.take_output()) == [code]
        assert receiver.state is state


@pytest.mark.parametrize("before", [b"", HELLO])
def test_a_chunk_out_of_order_that_no_message_could_have_ends_the_session(before):
    receiver = Receiver(size=10)
    drive(receiver, [before])
    receiver.take_output()
    events = drive(receiver, [bdat(b"x" * 10), b"BDAT 11\r\nNOOP\r\n"])
    assert [type(event) for event in events] == [Invalid, Invalid]
    assert codes(receiver.take_output()) == [503, 421]


def test_after_rset_a_message_in_chunks_begins_afresh():
    events, given_codes = play(OPEN + bdat(b"bad\n") + b"RSET\r\n" + MAIL + RCPT + last(b".good\r\n"))
    assert events[-2:] == [b"..good\r\n", LastChunk(7)]
    assert given_codes[3:] == [554, 250, 250, 250, 250]


def test_a_message_by_data_and_one_in_chunks_follow_each_other():
    by_data = MAIL + RCPT + b"DATA\r\n..a\r\n.\r\n"
    by_chunks = MAIL + RCPT + bdat(b".") + last(b"a\r\n")
    events, _ = play(HELLO + by_data + by_chunks + by_data + by_chunks)
    same = [event for event in events if isinstance(event, bytes | EndOfData | LastChunk)]
    assert same == [b"..a\r\n", EndOfData(4), b"..", b"a\r\n", LastChunk(4)] * 2


def test_binary_content_may_have_any_octets():
    receiver = Receiver()
    drive(receiver, [OPEN])
    content = b"\r\n.\n\r\0\xff\r\n.\r\n\r"
    receiver.receive(bdat(content[:5]) + last(content[5:]))
    command = receiver.next_event()
    command.binary = True
    receiver.answer(command, replies.START_MAIL_INPUT)
    events = drive(receiver, [b""])
    assert not any(isinstance(event, ContentFault) for event in events)
    assert b"".join(event for event in events if isinstance(event, bytes)) == Stuffer().feed(content)
    assert events[-1] == LastChunk(len(content), whole_lines=False)


def test_a_chunk_whose_size_cannot_be_read_ends_the_session():
    events, given_codes = play(OPEN + b"BDAT five\r\nNOOP\r\n")
    assert type(events[-1]) is Invalid
    assert given_codes[-1] == 421


# -- LMTP

LMTP_OPEN = b"LHLO client.test\r\n" + MAIL


@pytest.mark.parametrize(
    ("stream", "given_codes"),
    [
        (LMTP_OPEN + RCPT + b"DATA\r\nx\r\n.\r\nQUIT\r\n", [250, 250, 250, 354, 250, 221]),
        (HELLO + MAIL, [500, 503]),
        (LMTP_OPEN + b"DATA\r\n", [250, 250, 503]),
        (LMTP_OPEN + REFUSED_RCPT + b"DATA\r\n", [250, 250, 550, 503]),  # RFC 2033 §4.2
    ],
)
def test_lmtp_has_the_same_order_and_a_greeting_of_its_own(stream, given_codes):
    for pieces in in_two(stream):
        receiver = Receiver(lmtp=True)
        drive(receiver, pieces)
        assert codes(receiver.take_output()) == given_codes


def test_out_of_order_lmtp_is_told_of_its_own_greeting():
    receiver = Receiver(lmtp=True)
    drive(receiver, [MAIL])
    assert receiver.take_output() == replies.LHLO_FIRST.wire


# -- cuts

SESSION_PARTS = [
    HELLO,
    MAIL,
    RCPT,
    REFUSED_RCPT,
    b"DATA\r\n",
    b"data\r\nSubject: a\r\n\r\n..b\r\n.\r\n",
    b".\r\n",
    b"\r\n",
    b"\r\n.\r\n",
    b".",
    b"..a\r\n",
    b"RSET\r\n",
    b"NOOP\n",
    b"\r",
    b"x\r\n",
    b"\0\xff\r\n",
    b"y" * 40,
    b"BDAT 3\r\n",
    b"BDAT 5 LAST\r\n",
    b"BDAT 0\r\n",
    b"BDAT 0 LAST\r\n",
    bdat(b"\r\n.\r"),
    last(b"text\r\n"),
    bdat(b"x" * 41),
]
sessions = st.lists(st.sampled_from(SESSION_PARTS), max_size=25).map(b"".join)


def outcome(pieces: list[bytes], size: int = 40) -> tuple[list[Event], bytes]:
    """What may not depend on the cut. That a message is unfit does not; which of two faults is seen first may."""
    receiver = Receiver(size=size, command_line=64)
    events = drive(receiver, pieces)
    output = receiver.take_output()
    for fault in (replies.BARE_LINE_END, replies.MESSAGE_TOO_BIG):
        output = output.replace(fault.wire, b"FAULT\r\n")
    same = [ContentFault(replies.BARE_LINE_END) if isinstance(event, ContentFault) else event for event in events]
    return without_doomed(same), output


@given(st.sampled_from([b"", HELLO + MAIL, OPEN, CONTENT]), sessions, cut_places)
@settings(max_examples=300)
def test_no_cut_changes_events_or_output(start, session, places):
    whole = events, _ = outcome([start + session])
    if events and isinstance(events[-1], bytes):
        return  # the end is still to come, and how much is held back for it is the matter of content.py
    assert outcome(cut(start + session, places)) == whole
    assert outcome(octets(start + session)) == whole


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"x", b"text"])), cut_places, cut_places)
def test_the_same_message_is_the_same_inside_by_data_and_in_chunks(words, chunk_places, places):
    content = b"".join([*words, b"\r\n"])
    chunks = cut(content, chunk_places)
    stream = b"".join(bdat(chunk) for chunk in chunks[:-1]) + last(chunks[-1])
    by_chunks = outcome(cut(OPEN + stream, places), size=0)[0]
    by_data = outcome([CONTENT + Stuffer().feed(content) + b".\r\n"], size=0)[0]

    def essence(events: list[Event]) -> list[object]:
        passed = b"".join(event for event in events if isinstance(event, bytes))
        faults = any(isinstance(event, ContentFault) for event in events)
        return [faults or (passed, [event.octets for event in events if isinstance(event, EndOfData | LastChunk)])]

    assert essence(by_chunks) == essence(by_data)


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_garbage_gives_replies_never_an_exception(pieces):
    receiver = Receiver(size=SIZE)
    drive(receiver, [HELLO, *pieces])
    assert all(200 <= code < 600 for code in codes(receiver.take_output()))


# -- misuse


def test_a_command_is_answered_once():
    receiver = Receiver()
    receiver.receive(HELLO)
    command = receiver.next_event()
    receiver.answer(command, replies.OK)
    with pytest.raises(RuntimeError):
        receiver.answer(command, replies.OK)


def test_a_recipient_is_answered_once_even_while_another_is_waited_for():
    receiver = Receiver()
    drive(receiver, [HELLO + MAIL])
    receiver.receive(RCPT * 2)
    receiver.next_event()
    second = receiver.next_event()
    receiver.answer(second, replies.RECIPIENT_OK)
    with pytest.raises(RuntimeError):
        receiver.answer(second, replies.RECIPIENT_OK)


@pytest.mark.parametrize("lmtp", [False, True])
def test_who_is_trusted_may_say_xclient_and_begins_again(lmtp):
    receiver = Receiver(lmtp=lmtp)
    hello = b"LHLO a\r\n" if lmtp else HELLO
    line = b"XCLIENT ADDR=192.0.2.1\r\n"

    def ask(octets):
        receiver.receive(octets)
        event = receiver.next_event()
        receiver.answer(event, event.deserved if isinstance(event, Invalid) else Reply(220, "", "mx"))
        return event

    assert ask(line) == Invalid(replies.UNKNOWN_COMMAND)
    receiver.trust()
    for before in (line, hello):
        ask(before)
        assert ask(line) == XClient({"ADDR": "192.0.2.1"})
        assert receiver.state is State.GREETED
    ask(hello)
    ask(MAIL)
    assert ask(line) == Invalid(replies.NESTED_MAIL)
    receiver.distrust()
    assert ask(line) == Invalid(replies.UNKNOWN_COMMAND)


def test_what_was_not_asked_is_not_answered():
    receiver = Receiver()
    receiver.receive(HELLO)
    receiver.next_event()
    with pytest.raises(RuntimeError):
        receiver.answer(Hello("client.test", extended=True), replies.OK)


# -- any order of commands and answers

ANSWERS = {
    Hello: [250, 421, 501],
    Mail: [250, 451, 552],
    Rcpt: [250, 450, 550],
    Data: [354, 451, 554],
    EndOfData: [250, 451, 554],
    Bdat: [354, 354, 451, 421],
    EndOfChunk: [250, 552],
    LastChunk: [250, 451, 554],
}
ENDS = EndOfData | EndOfChunk | LastChunk
LINES = [HELLO, b"HELO client.test\r\n", MAIL, RCPT, RCPT, RCPT, b"DATA\r\n", b"RSET\r\n", b"NOOP\r\n", b"VRFY x\r\n"]
LINES += [b"HELP\r\n", b"what?\r\n", b"NOOP\n", b"MAIL FROM:x\r\n", b"text\r\n", b"..\r\n", b".\r\n", b"\r\n.\r\n"]
LINES += [b"BDAT 9\r\n", b"BDAT 4 LAST\r\n", b"BDAT 0\r\n", b"BDAT 0 LAST\r\n", bdat(b"x\r\n"), last(b"\r")]


class AnySession(RuleBasedStateMachine):
    """A client that says anything in any order, and a server that answers in any order it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.receiver = Receiver()
        self.given_out: list[Command] = []
        self.answers: dict[int, Reply | Replies] = {}
        self.output = b""
        self.in_content = False

    @rule(lines=st.lists(st.sampled_from(LINES), min_size=1, max_size=4))
    def say(self, lines):
        self.receiver.receive(b"".join(lines))

    @rule(stream=st.binary(max_size=10))
    def say_anything(self, stream):
        self.receiver.receive(stream)

    @rule(count=st.integers(1, 8))
    def take_events(self, count):
        for _ in range(count):
            event = self.receiver.next_event()
            if isinstance(event, bytes | ContentFault):
                assert self.in_content
            elif event is not None:
                assert isinstance(event, ENDS) is self.in_content
                assert not self.open_commands() or isinstance(event, Rcpt | Invalid)
                assert all(isinstance(self.given_out[number], Rcpt) for number in self.open_commands())
                self.given_out.append(event)

    def open_commands(self) -> list[int]:
        return [number for number in range(len(self.given_out)) if number not in self.answers]

    @precondition(lambda self: self.open_commands())
    @rule(choice=st.data())
    def answer_one(self, choice):
        number = choice.draw(st.sampled_from(self.open_commands()))
        command = self.given_out[number]
        code = choice.draw(st.sampled_from(ANSWERS.get(type(command), [250])))
        reply = command.deserved if isinstance(command, Invalid) else Reply(code, "", f"answer {number}")
        stays_here = isinstance(command, Bdat) and code != 421
        self.answers[number] = Replies([], reply) if stays_here else reply
        self.receiver.answer(command, reply)
        if isinstance(command, Data | ENDS):
            self.in_content = reply.intermediate
        elif isinstance(command, Bdat):
            self.in_content = stays_here

    @invariant()
    def one_reply_for_each_command_in_order(self):
        self.output += self.receiver.take_output()
        due = next(iter(self.open_commands()), len(self.given_out))
        assert self.output == b"".join(self.answers[number].wire for number in range(due))
        assert len(self.receiver.waiting) == len(self.given_out) - due
        if self.in_content:
            assert self.receiver.state in (State.CONTENT, State.CHUNK)
        else:
            assert self.receiver.state is not State.CONTENT


AnySession.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_any_session_has_one_reply_for_each_command_in_order = AnySession.TestCase


# -- STARTTLS (T32)


def test_nothing_is_given_out_behind_an_accepted_starttls() -> None:
    receiver = Receiver()
    events = drive(receiver, [HELLO + b"STARTTLS\r\n", MAIL + RCPT])
    assert events == [Hello("client.test", extended=True), StartTls()]
    assert (receiver.closed, receiver.secures, receiver.state) == (True, True, State.READY)


@pytest.mark.parametrize("behind", [b"R", b"RSET\r\n", MAIL, b"\x16\x03\x01\x02\x00", b"\r\n", b"\n"])
def test_octets_behind_starttls_end_the_session(behind: bytes) -> None:
    receiver = Receiver()
    events = drive(receiver, [HELLO + b"STARTTLS\r\n" + behind])
    assert events == [Hello("client.test", extended=True), Invalid(replies.BEHIND_STARTTLS)]
    assert receiver.take_output().endswith(replies.BEHIND_STARTTLS.wire)
    assert (receiver.closed, receiver.secures) == (True, False)


@pytest.mark.parametrize(
    ("before", "deserved"),
    [(b"", replies.HELLO_FIRST), (HELLO + MAIL, replies.NESTED_MAIL), (OPEN, replies.NESTED_MAIL)],
)
def test_starttls_has_its_time(before: bytes, deserved: Reply) -> None:
    receiver = Receiver()
    events = drive(receiver, [before + b"STARTTLS\r\n" + b"RSET\r\n"])
    assert events[-2:] == [Invalid(deserved), Rset()]
    assert not receiver.closed


def test_a_refused_starttls_changes_nothing() -> None:
    receiver = Receiver()
    receiver.receive(HELLO)
    receiver.answer(receiver.next_event(), replies.OK)
    receiver.receive(b"STARTTLS\r\n")
    receiver.answer(receiver.next_event(), replies.NOT_IMPLEMENTED)
    assert (receiver.closed, receiver.secures) == (False, False)
    assert drive(receiver, [MAIL]) == [Mail(ReversePath.parse("joe@a.test"))]

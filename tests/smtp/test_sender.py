"""The client's side of a session, driven by hand: what may be written when, and whose reply is whose."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.smtp.reply import Reply, ReplyError
from moxy.smtp.sender import PIECES, Sender
from support.cutting import cut, cut_places, every_cut, octets

GREETING = b"220 mx.test ESMTP\r\n"
PLAIN = b"250 mx.test\r\n"
PIPELINING = b"250-mx.test\r\n250-SIZE 1000\r\n250 PIPELINING\r\n"
MAIL = b"MAIL FROM:<joe@a.test>"
RCPT = b"RCPT TO:<ann@b.test>"
OK = b"250 OK\r\n"
GO_ON = b"354 Go on\r\n"


def take_replies(sender: Sender, *pieces: bytes) -> list[Reply]:
    """Every reply that the pieces complete."""
    replies = []
    for piece in pieces:
        sender.receive(piece)
        replies += iter(sender.next_reply, None)
    return replies


def met(ehlo: bytes = PIPELINING) -> Sender:
    """A session in which the destination has answered our EHLO so."""
    sender = Sender()
    sender.command(b"EHLO client.test")
    take_replies(sender, GREETING, ehlo)
    sender.take_output()
    return sender


def in_content() -> Sender:
    """A session in which the destination waits for content."""
    sender = met()
    for line in (MAIL, RCPT, b"DATA"):
        sender.command(line)
    take_replies(sender, OK, OK, GO_ON)
    sender.take_output()
    return sender


# -- the greeting, EHLO


def test_nothing_is_said_before_the_greeting():
    sender = Sender()
    sender.command(b"EHLO client.test")
    assert sender.take_output() == b""
    assert sender.awaited == 2
    (greeting,) = take_replies(sender, GREETING)
    assert greeting.code == 220
    assert sender.take_output() == b"EHLO client.test\r\n"
    assert sender.awaited == 1


def test_a_destination_that_refuses_to_talk_is_heard():
    sender = Sender()
    (greeting,) = take_replies(sender, b"554 No service\r\n")
    assert greeting.permanent


def test_a_greeting_may_have_several_lines():
    sender = Sender()
    (greeting,) = take_replies(sender, b"220-mx.test\r\n220-no spam\r\n220 please\r\n")
    assert greeting.lines == ("mx.test", "no spam", "please")


def test_what_the_last_ehlo_announced_is_known():
    sender = met()
    assert sender.extensions.pipelining
    assert sender.extensions.size == 1000
    sender.command(b"ehlo client.test")
    take_replies(sender, PLAIN)
    assert not sender.extensions.pipelining
    assert "SIZE" not in sender.extensions


def test_a_refused_ehlo_announces_nothing():
    sender = met(b"502-PIPELINING\r\n502 8BITMIME\r\n")
    assert "8BITMIME" not in sender.extensions
    sender.command(b"HELO client.test")
    take_replies(sender, PIPELINING)
    assert not sender.extensions.pipelining


# -- how much leaves at once


def test_without_pipelining_commands_leave_one_by_one():
    sender = met(PLAIN)
    for line in (MAIL, RCPT, b"DATA"):
        sender.command(line)
    for line in (MAIL, RCPT, b"DATA"):
        assert sender.take_output() == line + b"\r\n"
        assert sender.take_output() == b""
        take_replies(sender, OK)
    assert sender.awaited == 0


def test_with_pipelining_a_group_leaves_in_one_piece():
    sender = met()
    for line in (b"RSET", MAIL, RCPT, RCPT, b"DATA"):
        sender.command(line)
    assert sender.take_output() == b"".join(line + b"\r\n" for line in (b"RSET", MAIL, RCPT, RCPT, b"DATA"))
    assert sender.awaited == 5


@pytest.mark.parametrize(
    "last",
    [b"EHLO a.test", b"helo a.test", b"LHLO a.test", b"DATA", b"QUIT", b"Noop", b"VRFY x", b"EXPN x", b"STARTTLS"],
)
def test_nothing_is_pipelined_behind_what_ends_a_group(last):
    sender = met()
    sender.command(last)
    sender.command(b"RSET")
    assert sender.take_output() == last + b"\r\n"
    take_replies(sender, OK)
    assert sender.take_output() == b"RSET\r\n"


# -- replies


def test_replies_come_in_the_order_of_what_was_asked():
    sender = met()
    for line in (MAIL, RCPT, RCPT):
        sender.command(line)
    answers = take_replies(sender, b"250 first\r\n550-5.1.1 second\r\n550 5.1.1 and more\r\n450 third\r\n")
    assert [str(reply) for reply in answers] == ["250 first", "550 5.1.1 second / and more", "450 third"]
    assert sender.next_reply() is None


def test_a_destination_may_close_unasked():
    sender = met()
    sender.receive(b"421 4.3.2 Shutting down\r\n")
    assert sender.next_reply() == Reply(421, "3.2", "Shutting down")


@pytest.mark.parametrize("early", [b"250 taken\r\n", b"2"])
def test_an_answer_older_than_its_question_is_none(early):
    sender = met()
    sender.command(b"DATA")
    sender.receive(GO_ON + early)
    assert sender.next_reply() is not None
    sender.content(b"a\r\n")
    sender.end_of_data()
    with pytest.raises(ReplyError):
        sender.next_reply()


@pytest.mark.parametrize("unasked", [b"250 OK\r\n", b"354 Go on\r\n"])
def test_a_reply_that_nobody_asked_for_ends_the_session(unasked):
    sender = met()
    sender.receive(unasked)
    with pytest.raises(ReplyError):
        sender.next_reply()


@pytest.mark.parametrize("nonsense", [b"hello\r\n", b"\r\n", b"099 x\r\n", b"250-a\r\n251 b\r\n", b"2500 x\r\n"])
def test_what_is_no_reply_ends_the_session(nonsense):
    sender = met()
    sender.command(b"NOOP")
    sender.receive(nonsense)
    with pytest.raises(ReplyError):
        sender.next_reply()


def test_a_reply_without_end_ends_the_session():
    sender = met()
    sender.command(b"NOOP")
    with pytest.raises(ReplyError):
        take_replies(sender, *[b"250-and so on\r\n"] * 10_000)


def test_a_reply_to_the_last_command_may_be_followed_by_one_too_many():
    sender = met()
    sender.command(b"NOOP")
    sender.receive(OK + OK)
    assert sender.next_reply() is not None
    with pytest.raises(ReplyError):
        sender.next_reply()


# -- content


def test_content_goes_out_as_it_is_and_ends_with_the_dot():
    sender = in_content()
    assert sender.content_open
    sender.content(b"Subject: a\r\n\r\n")
    sender.content(b"..b\r\n")
    assert sender.take_output() == b"Subject: a\r\n\r\n..b\r\n"
    sender.end_of_data()
    assert not sender.content_open
    assert sender.take_output() == b".\r\n"
    assert sender.awaited == 1
    (verdict,) = take_replies(sender, b"250 taken\r\n")
    assert verdict.lines == ("taken",)


@pytest.mark.parametrize("refusal", [b"554 No\r\n", b"451 Later\r\n", b"250 OK\r\n", b"421 Bye\r\n", b"334 What\r\n"])
def test_only_354_opens_content(refusal):
    sender = met()
    sender.command(b"DATA")
    take_replies(sender, refusal)
    assert not sender.content_open


@pytest.mark.parametrize("verdict", [b"552 Too big\r\n", b"421 Bye\r\n", b"250 OK\r\n"])
def test_a_verdict_before_the_dot_closes_the_content(verdict):
    sender = in_content()
    sender.content(b"a\r\n")
    (reply,) = take_replies(sender, verdict)
    assert reply.code == int(verdict[:3])
    assert not sender.content_open
    with pytest.raises(RuntimeError):
        sender.content(b"b\r\n")
    with pytest.raises(RuntimeError):
        sender.end_of_data()


def test_after_the_verdict_the_next_transaction_begins():
    sender = in_content()
    sender.end_of_data()
    sender.take_output()
    for line in (MAIL, RCPT):
        sender.command(line)
    assert sender.take_output() == MAIL + b"\r\n" + RCPT + b"\r\n"
    assert len(take_replies(sender, OK * 3)) == 3


# -- a reply for each recipient


def test_an_lmtp_server_gives_so_many_replies_to_the_dot_as_it_has_recipients():
    sender = in_content()
    sender.end_of_data(3)
    assert sender.awaited == 3
    sender.command(b"RSET")
    answers = take_replies(sender, b"250 a\r\n550 b\r\n", b"450 c\r\n", b"250 flushed\r\n")
    assert [reply.code for reply in answers] == [250, 550, 450, 250]
    sender.receive(OK)
    with pytest.raises(ReplyError):
        sender.next_reply()


def test_with_353_a_prdr_server_announces_a_reply_for_each_and_a_final_one():
    sender = in_content()
    sender.end_of_data(2, prdr=True)
    sender.command(b"RSET")
    assert [reply.code for reply in take_replies(sender, b"353 go\r\n")] == [353]
    assert sender.awaited == 4
    answers = take_replies(sender, b"250 a\r\n550 b\r\n250 some\r\n250 flushed\r\n")
    assert [reply.lines[0] for reply in answers] == ["a", "b", "some", "flushed"]


@pytest.mark.parametrize("reply", [b"250 all\r\n", b"550 nobody\r\n", b"354 what\r\n"])
def test_without_353_it_gives_one_reply(reply):
    sender = in_content()
    sender.end_of_data(2, prdr=True)
    take_replies(sender, reply)
    assert sender.awaited == 0


def test_a_353_to_anything_else_announces_nothing():
    sender = in_content()
    sender.end_of_data()
    take_replies(sender, b"353 go\r\n")
    assert sender.awaited == 0


def test_what_lhlo_announced_is_known_and_nothing_is_pipelined_behind_it():
    sender = Sender()
    for line in (b"LHLO client.test", b"NOOP"):
        sender.command(line)
    take_replies(sender, GREETING)
    assert sender.take_output() == b"LHLO client.test\r\n"
    take_replies(sender, PIPELINING)
    assert sender.extensions.pipelining
    assert sender.take_output() == b"NOOP\r\n"


# -- content in chunks

CHUNKING = b"250-mx.test\r\n250-CHUNKING\r\n250 PIPELINING\r\n"


def in_chunks() -> Sender:
    """A session in which content goes in chunks."""
    sender = met(CHUNKING)
    for line in (MAIL, RCPT):
        sender.command(line)
    take_replies(sender, OK, OK)
    sender.take_output()
    sender.begin_chunks()
    return sender


def test_small_content_goes_with_the_last_chunk():
    sender = in_chunks()
    assert sender.extensions.chunking
    sender.gather(b"..a\r\n")
    sender.gather(b"b\r\n")
    assert sender.gathered == 7
    assert sender.take_output() == b""
    sender.end_of_data()
    assert sender.take_output() == b"BDAT 7 LAST\r\n.a\r\nb\r\n"
    assert not sender.in_content
    assert [reply.code for reply in take_replies(sender, OK)] == [250]
    assert sender.awaited == 0


def test_what_has_been_gathered_goes_as_one_chunk_and_nothing_as_none():
    sender = in_chunks()
    sender.chunk()
    assert sender.take_output() == b""
    for block in (b"a", b"\r\n.", b".b\r"):
        sender.gather(block)
    sender.chunk()
    assert sender.take_output() == b"BDAT 6\r\na\r\n.b\r"
    assert sender.in_content
    sender.gather(b"\n")
    sender.chunk()
    assert sender.take_output() == b"BDAT 1\r\n\n"
    assert sender.awaited == 2
    assert len(take_replies(sender, OK, OK)) == 2
    sender.end_of_data()
    assert sender.take_output() == b"BDAT 0 LAST\r\n"


def test_the_last_chunk_waits_for_the_answers_to_the_others():
    sender = in_chunks()
    sender.gather(b"a\r\n")
    sender.chunk()
    with pytest.raises(RuntimeError):
        sender.end_of_data()


def test_a_chunk_that_is_refused_ends_the_content():
    sender = in_chunks()
    sender.gather(b"a\r\n")
    sender.chunk()
    assert [reply.code for reply in take_replies(sender, b"552 Too much\r\n")] == [552]
    assert not sender.content_open
    for write in (lambda: sender.gather(b"b"), sender.end_of_data):
        with pytest.raises(RuntimeError):
            write()
    sender.take_output()
    sender.command(b"RSET")
    assert sender.take_output() == b"RSET\r\n"


def test_the_last_chunk_may_have_a_reply_for_each_recipient():
    sender = in_chunks()
    sender.gather(b"a\r\n")
    sender.end_of_data(2)
    assert len(take_replies(sender, OK, OK)) == 2
    assert sender.awaited == 0
    sender = in_chunks()
    sender.end_of_data(2, prdr=True)
    assert len(take_replies(sender, b"353 each\r\n", OK, OK, OK)) == 4


def test_a_verdict_in_the_middle_of_chunks_closes_them():
    sender = in_chunks()
    sender.gather(b"a\r\n")
    assert [reply.code for reply in take_replies(sender, b"550 No\r\n")] == [550]
    sender.chunk()
    assert sender.take_output() == b""
    sender.command(b"DATA")
    take_replies(sender, GO_ON)
    sender.content(b"b\r\n")
    sender.end_of_data()
    assert sender.take_output() == b"DATA\r\nb\r\n.\r\n"


def test_after_chunks_content_may_go_by_data():
    sender = in_chunks()
    sender.end_of_data()
    take_replies(sender, OK)
    for line in (MAIL, RCPT, b"DATA"):
        sender.command(line)
    take_replies(sender, OK, OK, GO_ON)
    sender.take_output()
    sender.content(b"..a\r\n")
    sender.end_of_data()
    assert sender.take_output() == b"..a\r\n.\r\n"


def test_an_answer_to_a_chunk_that_was_not_sent_is_none():
    sender = in_chunks()
    sender.receive(OK)
    sender.gather(b"a\r\n")
    sender.chunk()
    with pytest.raises(ReplyError):
        sender.next_reply()


# -- misuse


def test_a_command_in_the_middle_of_content_is_misuse():
    sender = in_content()
    with pytest.raises(RuntimeError):
        sender.command(b"QUIT")


def test_a_command_asked_ahead_never_becomes_content():
    sender = met()
    for line in (b"DATA", b"RSET"):
        sender.command(line)
    take_replies(sender, GO_ON)
    sender.content(b"a\r\n")
    sender.end_of_data()
    assert sender.take_output() in (b"DATA\r\na\r\n.\r\n", b"DATA\r\na\r\n.\r\nRSET\r\n")


def test_content_without_354_is_misuse():
    sender = met()
    for write in (lambda: sender.content(b"a\r\n"), sender.end_of_data):
        with pytest.raises(RuntimeError):
            write()


# -- cuts

WHOLE = [
    GREETING,
    PIPELINING,
    OK,
    b"550-5.1.1 no\r\n550-\r\n550 5.1.1 such\r\n",
    GO_ON,
    b"250 2.0.0 taken\r\n",
    b"221 bye\r\n",
]


def outcome(pieces: Iterable[bytes]) -> tuple[list[Reply], bytes]:
    """Replies and output of a session in which everything is asked ahead, as far as it may be."""
    sender = Sender()
    for line in (b"EHLO client.test", MAIL, RCPT, b"DATA"):
        sender.command(line)
    replies: list[Reply] = []
    for piece in pieces:
        replies += take_replies(sender, piece)
        if sender.content_open:
            sender.content(b"a\r\n")
            sender.end_of_data()
            sender.command(b"QUIT")
    return replies, sender.take_output()


@given(cut_places)
def test_no_cut_changes_replies_or_output(places):
    session = b"".join(WHOLE)
    separate = outcome(WHOLE)
    assert [reply.code for reply in separate[0]] == [220, 250, 250, 550, 354, 250, 221]
    # Nobody can answer what was not sent yet: the replies come in four steps at least.
    steps = [GREETING, PIPELINING, b"".join(WHOLE[2:5]), b"".join(WHOLE[5:])]
    assert outcome(steps) == separate
    between = set(accumulate(len(step) for step in steps[:-1]))
    assert outcome(cut(session, {*places, *between})) == separate
    assert outcome(octets(session)) == separate


def test_a_short_reply_is_read_in_every_cut():
    for pieces in every_cut(b"220-a\r\n220 b\r\n"):
        sender = Sender()
        assert take_replies(sender, *pieces) == [Reply(220, "", "a", "b")]


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_garbage_is_replies_or_a_reply_error(pieces):
    sender = met()
    sender.command(MAIL)
    try:
        for reply in take_replies(sender, *pieces):
            assert 200 <= reply.code < 600
    except ReplyError:
        pass


# -- AUTH, and encryption from here on


def test_an_answer_to_a_challenge_is_no_command_whatever_it_looks_like():
    sender = met()
    sender.command(b"AUTH LOGIN")
    assert sender.take_output() == b"AUTH LOGIN\r\n"
    for line in (b"DATA", b"EHLO"):  # base64, too
        take_replies(sender, b"334 VXNlcm5hbWU6\r\n")
        sender.respond(line)
        assert sender.take_output() == line + b"\r\n"
    (reply,) = take_replies(sender, b"354 nonsense\r\n")
    assert reply.code == 354
    assert not sender.content_open
    assert sender.extensions.pipelining


def test_nothing_is_pipelined_behind_auth():  # RFC 4954 §4
    sender = met()
    sender.command(b"AUTH PLAIN AGEAYg==")
    sender.command(MAIL)
    assert sender.take_output() == b"AUTH PLAIN AGEAYg==\r\n"
    with pytest.raises(RuntimeError):
        sender.respond(b"")
    take_replies(sender, b"235 ok\r\n")
    assert sender.take_output() == MAIL + b"\r\n"


def test_what_was_announced_in_clear_is_forgotten():  # T33
    sender = met()
    sender.command(b"STARTTLS")
    sender.command(b"NOOP")
    assert sender.take_output() == b"STARTTLS\r\n"
    take_replies(sender, b"220 go\r\n")
    sender.take_output()
    with pytest.raises(ReplyError):
        sender.secured()  # something is still due
    take_replies(sender, OK)
    sender.secured()
    assert not sender.extensions.pipelining
    assert "SIZE" not in sender.extensions


@pytest.mark.parametrize("more", [b"250 x\r\n", b"250-x", b"2", b"\n", b"\x16\x03\x01"])
def test_what_came_in_clear_behind_the_220_ends_the_session(more):  # T33, CVE-2021-38371
    sender = met()
    sender.command(b"STARTTLS")
    sender.take_output()

    def go_on():
        take_replies(sender, b"220 go\r\n" + more)
        sender.secured()

    with pytest.raises(ReplyError):
        go_on()


def test_mechanisms_are_read_from_the_announcement():
    sender = met(b"250-mx.test\r\n250-AUTH=LOGIN\r\n250 auth scram-sha-256 Plain\r\n")
    assert sender.extensions.words("AUTH") == {"SCRAM-SHA-256", "PLAIN"}
    assert met().extensions.words("AUTH") == frozenset()


def test_a_chunk_gathered_in_small_pieces_takes_no_more_memory_than_its_octets():
    sender = Sender()
    sender.receive(b"220 destination.test\r\n")
    sender.next_reply()
    sender.begin_chunks()
    for _ in range(10_000):
        sender.gather(b"xy")
    assert len(sender._gathered or ()) <= PIECES
    sender.chunk()
    assert sender.take_output() == b"BDAT 20000\r\n" + b"xy" * 10_000

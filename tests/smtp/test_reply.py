"""Replies: made, parsed at every cut, mended, and passed on."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.smtp import reply as reply_module
from moxy.smtp.limits import REPLY_LINE
from moxy.smtp.reply import IMPOSSIBLE_ANSWER, Phase, Replies, Reply, ReplyError, ReplyParser, pass_on


def read(parser: ReplyParser, *pieces: bytes) -> tuple[list[Reply], bool]:
    """Every reply in the octets fed piece by piece, and whether an error ended them."""
    replies = []
    try:
        for piece in pieces:
            parser.feed(piece)
            while (reply := parser.next()) is not None:
                replies.append(reply)
    except ReplyError:
        return replies, True
    return replies, False


def parse(*pieces: bytes) -> list[Reply]:
    """Every reply in octets that are nothing but replies."""
    replies, broken = read(ReplyParser(), *pieces)
    assert not broken
    return replies


# made: code, status, lines, wire, in a log
MADE = [
    (250, "1.5", ("OK",), b"250 2.1.5 OK\r\n", "250 2.1.5 OK"),
    (550, "7.1", ("No",), b"550 5.7.1 No\r\n", "550 5.7.1 No"),
    (354, "", ("Go",), b"354 Go\r\n", "354 Go"),
    (250, "", (), b"250 \r\n", "250"),
    (250, "0.0", (), b"250 2.0.0 \r\n", "250 2.0.0"),
    (250, "", ("a", "b", "c"), b"250-a\r\n250-b\r\n250 c\r\n", "250 a / b / c"),
    (451, "4.3", ("a", "", "c"), b"451-4.4.3 a\r\n451-4.4.3 \r\n451 4.4.3 c\r\n", "451 4.4.3 a /  / c"),
    (550, "123.456", ("x",), b"550 5.123.456 x\r\n", "550 5.123.456 x"),
    (550, "", ("Grüße",), "550 Grüße\r\n".encode(), "550 Grüße"),
]


@pytest.mark.parametrize(("code", "status", "lines", "wire", "log"), MADE)
def test_a_reply_is_written_as_the_rfc_says(code, status, lines, wire, log):
    reply = Reply(code, status, *lines)
    assert (reply.code, reply.status, reply.lines) == (code, status, lines or ("",))
    assert (reply.wire, str(reply)) == (wire, log)


@pytest.mark.parametrize(("code", "status", "lines", "wire", "log"), MADE)
def test_what_is_written_parses_to_an_equal_reply(code, status, lines, wire, log):
    (reply,) = parse(wire)
    assert reply == Reply(code, status, *lines)
    assert hash(reply) == hash(Reply(code, status, *lines))
    assert (reply.code, reply.status, reply.lines, str(reply)) == (code, status, lines or ("",), log)


@pytest.mark.parametrize(
    ("code", "status"), [(199, ""), (600, ""), (0, ""), (250, "2.1.5"), (250, "x"), (250, "1."), (354, "0.0")]
)
def test_impossible_replies_cannot_be_made(code, status):
    with pytest.raises(ValueError):
        Reply(code, status, "text")


@pytest.mark.parametrize(
    ("code", "classes"), [(250, "positive"), (354, "intermediate"), (421, "transient"), (550, "permanent")]
)
def test_the_first_digit_tells_the_outcome(code, classes):
    reply = Reply(code, "")
    names = ["positive", "intermediate", "transient", "permanent"]
    assert [name for name in names if getattr(reply, name)] == [classes]


def test_the_enhanced_status_code_follows_the_code():
    assert Reply(550, "7.1", "No").enhanced == "5.7.1"
    assert Reply(550, "7.1", "No").with_code(451) == Reply(451, "7.1", "No")
    assert Reply(550, "7.1", "No").with_code(451).enhanced == "4.7.1"
    assert Reply(550, "", "No").enhanced == ""


def test_replies_differ_if_a_client_could_tell():
    assert Reply(250, "0.0", "a") != Reply(250, "0.0", "b")
    assert Reply(250, "0.0", "a") != Reply(250, "", "a")
    assert Reply(250, "", "a") != "250 a"
    assert repr(Reply(250, "0.0", "a")) == "Reply(250 2.0.0 a)"


def test_several_replies_leave_together_and_their_verdict_is_one_of_its_own():
    ok, no = Reply(250, "6.0", "Ok"), Reply(550, "7.1", "No", "never")
    several = Replies([ok, no], no)
    assert several.wire == ok.wire + no.wire
    assert several.code == 550
    assert several == Replies((ok, no), no)
    assert hash(several) == hash(Replies((ok, no), no))
    assert several != Replies([ok, no], ok)
    assert several != Replies([no, ok], no)
    assert repr(several) == "Replies(250 2.6.0 Ok, 550 5.7.1 No / never: 550 5.7.1 No / never)"


@given(st.integers(200, 599), st.lists(st.text(max_size=700), max_size=120))
def test_no_text_can_break_a_reply(code, texts):
    reply = Reply(code, "", *texts)
    *lines, rest = reply.wire.split(b"\r\n")
    assert rest == b""
    assert 1 <= len(lines) == len(reply.lines) <= 100
    for line in lines:
        assert len(line) + 2 <= REPLY_LINE
        assert not re.search(rb"[\x00-\x1f\x7f]", line)
        line.decode()
    assert [line[3:4] for line in lines] == [b"-"] * (len(lines) - 1) + [b" "]


@pytest.mark.parametrize("letter", ["a", "é", "€", "😀"])
def test_long_lines_are_cut_between_characters(letter):
    reply = Reply(550, "7.1", letter * 600)
    assert REPLY_LINE - 4 < len(reply.wire) <= REPLY_LINE
    assert set(reply.lines[0]) == {letter}


# parsed: octets, code, status, lines
PARSED = [
    (b"250 OK\r\n", 250, "", ("OK",)),
    (b"250 OK\n", 250, "", ("OK",)),
    (b"250\r\n", 250, "", ("",)),
    (b"250\n", 250, "", ("",)),
    (b"250 2.0.0\r\n", 250, "0.0", ("",)),
    (b"250 2.0.0 \r\n", 250, "0.0", ("",)),
    (b"250 2.0.0  two\r\n", 250, "0.0", (" two",)),
    (b"250-a\r\n250-b\n250 c\r\n", 250, "", ("a", "b", "c")),
    (b"250-a\r\n250-\r\n250\r\n", 250, "", ("a", "", "")),
    (b"550-5.1.1 a\r\n550-5.1.1 b\r\n550 5.1.1 c\r\n", 550, "1.1", ("a", "b", "c")),
    (b"550-a\r\n550 5.1.1 b\r\n", 550, "1.1", ("a", "b")),
    (b"550-5.1.1 a\r\n550 5.7.1 b\r\n", 550, "1.1", ("a", "b")),
    (b"571 5.7.1 unusual code\r\n", 571, "7.1", ("unusual code",)),
    # mended: class and code agree
    (b"550 4.1.1 unknown\r\n", 550, "1.1", ("unknown",)),
    (b"450 5.1.1\r\n", 450, "1.1", ("",)),
    (b"250 5.0.0 fine\r\n", 250, "0.0", ("fine",)),
    (b"550 2.1.1\tunknown\r\n", 550, "1.1", ("unknown",)),
    # no enhanced status codes
    (b"354 2.0.0 go\r\n", 354, "", ("2.0.0 go",)),
    (b"550 1.2.3 version\r\n", 550, "", ("1.2.3 version",)),
    (b"550 5.7.1.2 listed\r\n", 550, "", ("5.7.1.2 listed",)),
    (b"550 5.7.1234 x\r\n", 550, "", ("5.7.1234 x",)),
    (b"550 5.7 x\r\n", 550, "", ("5.7 x",)),
    (b"550 4.7.1: x\r\n", 550, "", ("4.7.1: x",)),
    # mended: characters
    (b"250 a\tb\r\n", 250, "", ("a b",)),
    (b"250 a\x00b\x1b[2Jc\x7f\r\n", 250, "", ("a?b?[2Jc?",)),
    (b"250 a\rb\r\r\n", 250, "", ("a?b?",)),
    (b"250 \xff\xfe\r\n", 250, "", ("??",)),
    ("250 Grüße\r\n".encode(), 250, "", ("Grüße",)),
    ("250 a\u0085b\u2028c\r\n".encode(), 250, "", ("a?b?c",)),
    (b"250 " + b"x" * 4000 + b"\r\n", 250, "", ("x" * 506,)),
    (b"250 " + b"x" * 550 + b"\r\n", 250, "", ("x" * 506,)),
    (b"250 " + b"x" * 490 + b"\r\n", 250, "", ("x" * 490,)),
    (b"250 " + b"x" * 491 + b"\r\n", 250, "", ("x" * 491,)),
    (b"250-x\r\n" * 150 + b"250 x\r\n", 250, "", ("x",) * 100),
]


@pytest.mark.parametrize(("octets", "code", "status", "lines"), PARSED)
def test_a_destinations_reply_is_read_and_mended(octets, code, status, lines):
    (reply,) = parse(octets)
    assert (reply.code, reply.status, reply.lines) == (code, status, lines)
    assert reply == Reply(code, status, *lines)
    assert reply.wire == Reply(code, status, *lines).wire


@pytest.mark.parametrize(("octets", "code", "status", "lines"), PARSED)
def test_the_cut_of_the_stream_does_not_matter(octets, code, status, lines):
    expected = [Reply(code, status, *lines)] * 2
    assert parse(octets + octets) == expected
    assert parse(*(octets[i : i + 1] for i in range(len(octets))), octets) == expected
    for cut in range(0, len(octets), 1 + len(octets) // 60):
        assert parse(octets[:cut], octets[cut:] + octets[:cut], octets[cut:]) == expected


BROKEN = [
    b"\r\n",
    b"\n",
    b"25\r\n",
    b"2 50 OK\r\n",
    b"abc OK\r\n",
    b"2x0 OK\r\n",
    b"\xb2\xb3\xb9 OK\r\n",
    b" 250 OK\r\n",
    b"250OK\r\n",
    b"2500 OK\r\n",
    b"250\x00OK\r\n",
    b"150 wait\r\n",
    b"000 \r\n",
    b"600 what\r\n",
    b"999 what\r\n",
    b"HTTP/1.1 400 Bad Request\r\n",
    b"250-a\r\n251 b\r\n",
    b"250-a\r\n\r\n",
    b"250 " + b"x" * 4093 + b"\r\n",
    b"x" * 4097,
    b"250-x\r\n" * 200 + b"250 x\r\n",
    (b"250-" + b"x" * 4000 + b"\r\n") * 17,
]


@pytest.mark.parametrize("octets", BROKEN)
def test_what_is_no_reply_is_an_error_at_any_cut_and_stays_one(octets):
    for pieces in ([b"250 OK\r\n" + octets], [b"250 OK\r\n", *(octets[i : i + 1] for i in range(len(octets)))]):
        parser = ReplyParser()
        assert read(parser, *pieces) == ([Reply(250, "", "OK")], True)
        parser.feed(b"\r\n250 OK\r\n")
        with pytest.raises(ReplyError):
            parser.next()
        parser.clear()
        parser.feed(b"250 OK\r\n")
        assert parser.next() == Reply(250, "", "OK")


def test_a_line_that_is_too_long_is_not_remembered():
    reply_module._of_clean_wire.cache_clear()
    for number in range(3):
        parser = ReplyParser()
        parser.feed(b"250 %d" % number + b"x" * 250_000 + b"\n")
        with pytest.raises(ReplyError):
            parser.next()
    assert reply_module._of_clean_wire.cache_info().currsize == 0
    fresh = ReplyParser()
    fresh.feed(b"250 2.1.0 Ok\r\n" * 2)
    assert fresh.next() is fresh.next()
    assert reply_module._of_clean_wire.cache_info().currsize == 1


def test_octets_are_pending_until_a_reply_has_used_them():
    parser = ReplyParser()
    assert (parser.pending, parser.next()) == (False, None)
    parser.feed(b"")
    assert not parser.pending
    parser.feed(b"250 OK\r\n25")
    assert parser.pending
    assert parser.next() is not None
    assert parser.pending
    assert parser.next() is None
    parser.feed(b"0-a\r\n")
    assert (parser.next(), parser.pending) == (None, True)  # of a reply that has only begun
    parser.feed(b"")
    assert parser.pending
    parser.feed(b"250 b\r\n250 c\r\n")
    assert parser.next() == Reply(250, "", "a", "b")
    assert parser.pending
    assert parser.next() is not None
    assert not parser.pending
    parser.feed(b"2")
    parser.clear()
    assert not parser.pending


pieces_of_replies = st.sampled_from(
    [b"250", b"550", b"354", b"1", b" ", b"-", b"5.1.1", b"4.7.0 ", b"ok", b"\r\n", b"\n", b"\r", b"\x00", b"\xc3\xa9"]
)


@given(st.lists(pieces_of_replies, max_size=12).map(b"".join) | st.binary(max_size=60), st.data())
def test_any_octets_give_the_same_at_any_cut(octets, data):
    cut = data.draw(st.integers(0, len(octets)))
    whole = read(ReplyParser(), octets)
    assert read(ReplyParser(), octets[:cut], octets[cut:]) == whole
    assert read(ReplyParser(), *(octets[i : i + 1] for i in range(len(octets)))) == whole
    for reply in whole[0]:
        assert reply == Reply(reply.code, reply.status, *reply.lines)


def test_names_are_replaced_in_every_line():
    reply = Reply(550, "1.1", "mx.inner.test says no", "ask mx.inner.test")
    hidden = reply.replaced(re.compile(r"mx\.inner\.test"), r"the \1 server")
    assert hidden == Reply(550, "1.1", r"the \1 server says no", r"ask the \1 server")
    assert reply.replaced(re.compile("elsewhere"), "x") is reply


WORDS = ("in its own words", "and a second line")


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("code", [450, 451, 452, 454, 500, 503, 530, 550, 551, 552, 553, 554, 555, 571])
def test_refusals_pass_as_they_are(phase, code):
    reply = Reply(code, "1.1", *WORDS)
    assert pass_on(reply, phase) is reply


@pytest.mark.parametrize("phase", Phase)
def test_a_421_speaks_of_the_destinations_connection_only(phase):
    assert pass_on(Reply(421, "3.2", *WORDS), phase) == Reply(451, "4.2", *WORDS)


@pytest.mark.parametrize("phase", [Phase.RCPT, Phase.FINAL])
@pytest.mark.parametrize("code", [200, 250, 251, 252, 259])
def test_acceptance_is_passed_on_as_250(phase, code):
    assert pass_on(Reply(code, "1.5", *WORDS), phase) == Reply(250, "1.5", *WORDS)


@pytest.mark.parametrize(
    ("phase", "codes"),
    [
        (Phase.RCPT, [211, 214, 220, 221, 235, 300, 334, 350, 354]),
        (Phase.FINAL, [211, 214, 220, 221, 235, 300, 334, 350, 354]),
        (Phase.DATA, [200, 220, 221, 250, 251, 252, 334, 350]),
    ],
)
def test_an_answer_to_another_question_is_impossible(phase, codes):
    for code in codes:
        assert pass_on(Reply(code, ""), phase) is IMPOSSIBLE_ANSWER


def test_354_is_the_good_answer_to_data():
    reply = Reply(354, "", "Go")
    assert pass_on(reply, Phase.DATA) is reply


def test_in_ascii_what_is_beyond_is_replaced_and_the_rest_stays():
    reply = Reply(550, "1.1", "Niemand heißt hier", "Jörg \N{SNOWMAN}", "plain")
    assert reply.in_ascii() == Reply(550, "1.1", "Niemand hei?t hier", "J?rg ?", "plain")
    assert Reply(250, "", "plain").in_ascii() == Reply(250, "", "plain")

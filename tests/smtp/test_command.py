"""Command lines: what each is read as, or the reply it deserves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.smtp import replies
from moxy.smtp.address import ForwardPath, ReversePath
from moxy.smtp.command import (
    LMTP_VERBS,
    SMTP_VERBS,
    XCLIENT_VERB,
    Bdat,
    Command,
    Data,
    EndOfData,
    Expn,
    Hello,
    Help,
    Invalid,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Vrfy,
    XClient,
    parse,
)

JOE = ReversePath.parse("joe@a.test")
JORG = ReversePath.parse("jörg@bücher.test", utf8=True)
ANN = ForwardPath.parse("Ann@B.test")

UNDERSTOOD = [
    (b"STARTTLS", StartTls()),
    (b"starttls ", StartTls()),
    (b"EHLO client.test", Hello("client.test", extended=True)),
    (b"ehlo client.test", Hello("client.test", extended=True)),
    (b"EhLo Client.Test", Hello("Client.Test", extended=True)),
    (b"HELO client.test", Hello("client.test", extended=False)),
    (b"HELO  client.test  ", Hello("client.test", extended=False)),
    (b"EHLO [192.0.2.1]", Hello("[192.0.2.1]", extended=True)),
    (b"EHLO [IPv6:2001:db8::1]", Hello("[IPv6:2001:db8::1]", extended=True)),
    (b"MAIL FROM:<joe@a.test>", Mail(JOE)),
    (b"mail from:<joe@a.test>", Mail(JOE)),
    (b"Mail From: <joe@a.test>", Mail(JOE)),
    (b"MAIL FROM:<>", Mail(ReversePath.parse(""))),
    (b"MAIL FROM:<joe@a.test> ", Mail(JOE)),
    (b"MAIL FROM:<joe@a.test> SIZE=1000", Mail(JOE, size=1000)),
    (b"MAIL FROM:<joe@a.test> size=99999999999999999999", Mail(JOE, size=99999999999999999999)),
    (b"MAIL FROM:<joe@a.test> BODY=7BIT", Mail(JOE, body="7BIT")),
    (b"MAIL FROM:<joe@a.test> body=8bitmime  SIZE=0", Mail(JOE, body="8BITMIME")),
    (b'MAIL FROM:<"joe > x"@a.test> SIZE=1', Mail(ReversePath.parse('"joe > x"@a.test'), size=1)),
    (b"MAIL FROM:<joe@a.test> PRDR", Mail(JOE, prdr=True)),
    (b"MAIL FROM:<joe@a.test> SIZE=1 prdr BODY=7BIT", Mail(JOE, size=1, body="7BIT", prdr=True)),
    (b"MAIL FROM:<joe@a.test> BODY=BinaryMime", Mail(JOE, body="BINARYMIME")),
    (b"MAIL FROM:<joe@a.test> SIZE=1 ret=Full ENVID=a+2Bb", Mail(JOE, 1, parameters={"RET": "Full", "ENVID": "a+2Bb"})),
    (b"MAIL FROM:<joe@a.test> AUTH=<>", Mail(JOE, parameters={"AUTH": "<>"})),
    ("MAIL FROM:<jörg@bücher.test> SMTPUTF8".encode(), Mail(JORG, parameters={"SMTPUTF8": ""})),
    (b"MAIL FROM:<joe@a.test> smtputf8", Mail(JOE, parameters={"SMTPUTF8": ""})),
    (b"RCPT TO:<ann@B.test> notify=NEVER", Rcpt(ForwardPath.parse("ann@b.test"), {"NOTIFY": "NEVER"})),
    ("RCPT TO:<jörg@bücher.test>".encode(), Rcpt(ForwardPath.parse("jörg@xn--bcher-kva.test", utf8=True))),
    (b"BDAT 0 LAST", Bdat(0, last=True)),
    (b"BDAT 86", Bdat(86)),
    (b"bdat 99999999999999999999 last ", Bdat(99999999999999999999, last=True)),
    (b"BDAT  007  LAST", Bdat(7, last=True)),
    (b"RCPT TO:<Ann@B.test>", Rcpt(ANN)),
    (b"rcpt to:   <Ann@B.test>", Rcpt(ANN)),
    (b"RCPT TO:<@c.test,@d.test:Ann@B.test>", Rcpt(ANN)),
    (b"RCPT TO:<Postmaster>", Rcpt(ForwardPath.parse("Postmaster"))),
    (b"DATA", Data()),
    (b"data ", Data()),
    (b"RSET", Rset()),
    (b"rSeT  ", Rset()),
    (b"NOOP", Noop()),
    (b"NOOP whatever you like", Noop()),
    (b"VRFY ann", Vrfy()),
    ("VRFY jörg SMTPUTF8".encode(), Vrfy()),
    (b"EXPN list SMTPUTF8", Expn()),
    (b"EXPN list", Expn()),
    (b"HELP", Help()),
    (b"help mail", Help()),
    (b"QUIT", Quit()),
    (b"quit", Quit()),
]

REFUSED = [
    # not a command
    (b"", 500),
    (b" ", 500),
    (b" NOOP", 500),
    (b"NOOPS", 500),
    (b"HELLO client.test", 500),
    (b"\xff\xfe", 500),
    (b"\0", 500),
    (b"NOOP\tx", 500),
    (b"RSET\r", 500),
    # not offered
    (b"STARTTLSX", 500),
    (b"STARTTLS now", 501),
    (b"STARTTLS  x ", 501),
    (b"AUTH PLAIN", 500),
    (b"XCLIENT ADDR=192.0.2.1", 500),
    (b"TURN", 500),
    # an argument is missing, or one too many
    (b"EHLO", 501),
    (b"EHLO ", 501),
    (b"HELO", 501),
    (b"EHLO a b", 501),
    (b"EHLO caf\xc3\xa9.test", 501),
    (b"DATA now", 501),
    (b"RSET now", 501),
    (b"QUIT now", 501),
    (b"VRFY", 501),
    (b"EXPN ", 501),
    # not MAIL FROM, not RCPT TO
    (b"MAIL", 501),
    (b"MAIL ", 501),
    (b"MAIL <joe@a.test>", 501),
    (b"MAIL TO:<joe@a.test>", 501),
    (b"MAIL FROM <joe@a.test>", 501),
    (b"MAIL  FROM:<joe@a.test>", 501),
    (b"MAIL FROM:", 501),
    (b"RCPT", 501),
    (b"RCPT FROM:<ann@b.test>", 501),
    (b"RCPT TO:", 501),
    # not a path
    (b"MAIL FROM:joe@a.test", 501),
    (b"MAIL FROM:<joe@a.test", 501),
    (b"MAIL FROM:<joe>", 501),
    (b"RCPT TO:<>", 501),
    (b"RCPT TO:<ann@b..test>", 501),
    (b"RCPT TO:<ann@b.test\n>", 501),
    (b"MAIL FROM:<caf\xc3\xa9@b.test>", 553),
    (b"MAIL FROM:<caf\xc3\xa9@b.test> SIZE=1", 553),
    (b"MAIL FROM:<caf\xe9@b.test> SMTPUTF8", 501),
    (b"RCPT TO:<caf\xe9@b.test>", 501),
    ("RCPT TO:<a@☃.test>".encode(), 501),
    # parameters
    (b"MAIL FROM:<joe@a.test>SIZE=1", 501),
    (b"MAIL FROM:<joe@a.test>\tSIZE=1", 501),
    (b"MAIL FROM:<joe@a.test> SIZE", 501),
    (b"MAIL FROM:<joe@a.test> SIZE=", 501),
    (b"MAIL FROM:<joe@a.test> SIZE=-1", 501),
    (b"MAIL FROM:<joe@a.test> SIZE=1 size=1", 501),
    (b"MAIL FROM:<joe@a.test> SIZE=123456789012345678901", 501),
    (b"MAIL FROM:<joe@a.test> SIZE=\xd9\xa1", 501),
    (b"MAIL FROM:<joe@a.test> BODY=BINARY", 501),
    (b"MAIL FROM:<joe@a.test> PRDR=yes", 501),
    (b"MAIL FROM:<joe@a.test> RET=NONE", 501),
    (b"MAIL FROM:<joe@a.test> NOTIFY=NEVER", 555),
    (b"RCPT TO:<ann@b.test> PRDR", 555),
    (b"MAIL FROM:<joe@a.test> SIZE=1 AUTH=joe", 501),
    (b"RCPT TO:<ann@b.test> RET=FULL", 555),
    (b"RCPT TO:<ann@b.test> SIZE=1", 555),
    (b"RCPT TO:<ann@b.test>x", 501),
    # nobody knows where the next command begins: these end the session, as do those that are not SMTP at all
    (b"BDAT", 421),
    (b"BDAT ", 421),
    (b"BDAT x", 421),
    (b"BDAT -1", 421),
    (b"BDAT LAST", 421),
    (b"BDAT 1 FIRST", 421),
    (b"BDAT 1LAST", 421),
    (b"BDAT 1 LAST x", 421),
    (b"BDAT 123456789012345678901", 421),
    (b"BDAT \xd9\xa1", 421),
    (b"GET / HTTP/1.1", 421),
    (b"POST /mail HTTP/1.1", 421),
    (b"connect mx.test:25 HTTP/1.1", 421),
]

lines = st.one_of(
    st.binary(max_size=100),
    st.builds(
        b"%b%b%b".__mod__,
        st.tuples(
            st.sampled_from([b"EHLO ", b"mail FROM:<", b"RCPT TO:<", b"RCPT ", b"DATA", b"VRFY "]),
            st.binary(max_size=60),
            st.sampled_from([b"", b">", b"@a.test>", b"> SIZE=1", b"> BODY="]),
        ),
    ),
)


@pytest.mark.parametrize(("line", "command"), UNDERSTOOD)
def test_a_line_is_read_as_its_command(line, command):
    assert parse(line) == command


@pytest.mark.parametrize(("line", "code"), REFUSED)
def test_what_cannot_be_read_carries_the_reply_it_deserves(line, code):
    command = parse(line)
    assert isinstance(command, Invalid)
    assert command.deserved.code == code


def test_lmtp_has_a_greeting_of_its_own_and_smtps_is_unknown_to_it():
    assert parse(b"lhlo client.test", LMTP_VERBS) == Hello("client.test", extended=True)
    for line in (b"EHLO client.test", b"HELO client.test"):
        assert parse(line, LMTP_VERBS) == Invalid(replies.UNKNOWN_COMMAND)
    assert parse(b"LHLO client.test") == Invalid(replies.UNKNOWN_COMMAND)
    assert set(SMTP_VERBS) ^ set(LMTP_VERBS) == {b"EHLO", b"HELO", b"LHLO"}


@given(lines)
def test_any_line_gives_a_command(line):
    command = parse(line)
    assert isinstance(command, Command)
    if isinstance(command, Invalid):
        assert command.deserved.code in {421, 500, 501, 553, 555}
    assert type(command) is not EndOfData  # that comes out of content only


@given(st.binary(max_size=20), st.sampled_from([b"MAIL FROM:<a@b.test>", b"RCPT TO:<a@b.test>"]))
def test_nothing_behind_a_path_is_ignored(octets, start):
    command = parse(start + b" " + octets + b"!")
    assert isinstance(command, Invalid)


def test_xclient_is_a_command_only_where_it_is_understood():
    verbs = {**SMTP_VERBS, **XCLIENT_VERB}
    assert parse(b"xclient ADDR=192.0.2.1 PORT=25", verbs) == XClient({"ADDR": "192.0.2.1", "PORT": "25"})
    assert parse(b"XCLIENT", verbs) == parse(b"XCLIENT ADDR=x", verbs) == Invalid(replies.BAD_ATTRIBUTES)
    for line in (b"XCLIENT ADDR=192.0.2.1", b"XCLIENTS ADDR=192.0.2.1", b"XCLI ADDR=192.0.2.1", b"NOOPS"):
        assert parse(line) == Invalid(replies.UNKNOWN_COMMAND)
    for line in (b"XCLIENTS ADDR=192.0.2.1", b"XCLI ADDR=192.0.2.1", b"XFORWARD ADDR=192.0.2.1"):
        assert parse(line, verbs) == Invalid(replies.UNKNOWN_COMMAND)


def test_commands_are_equal_when_they_say_the_same():
    assert Mail(JOE, size=1) == Mail(JOE, size=1)
    assert Mail(JOE, size=1) != Mail(JOE, size=2)
    assert Noop() != Rset()
    assert EndOfData(3) == EndOfData(3)


def test_a_command_shows_what_it_says():
    assert repr(Hello("a.test", extended=True)) == "Hello(True, 'a.test')"
    assert repr(EndOfData(3)) == "EndOfData(3)"
    assert repr(Invalid(replies.LINE_TOO_LONG)) == f"Invalid({replies.LINE_TOO_LONG!r})"

"""The parameters of MAIL and RCPT: what each RFC's grammar allows, and the refusal of everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.smtp import xtext
from moxy.smtp.parameter import EXTENSION_OF, MAIL_PARAMETERS, RCPT_PARAMETERS, parse_parameters
from moxy.smtp.reply import Reply

READ = [
    (b"", {}),
    (b"  ", {}),
    (b" SIZE=0", {"SIZE": "0"}),
    (b" Size=1000 bOdY=8bitMime", {"SIZE": "1000", "BODY": "8bitMime"}),
    (b"prdr SIZE=1", {"PRDR": "", "SIZE": "1"}),
    (b"smtputf8\trequireTLS", {"SMTPUTF8": "", "REQUIRETLS": ""}),
    (b"RET=hdrs MT-PRIORITY=-3", {"RET": "hdrs", "MT-PRIORITY": "-3"}),
]

RIGHT = {
    "SIZE": ["0", "007", "1" * 20],
    "BODY": ["7BIT", "8bitmime", "BINARYMIME"],
    "RET": ["FULL", "hdrs"],
    "ENVID": ["QQ314159", "a+20b+2B", "x" * 100],
    "AUTH": ["<>", "+3C+3E", "e+3Dmc2@example.com", "+22a+20b+22@example.com", "j+C3+B6rg@example.com"],
    "BY": ["120;R", "-60;N", "0;n", "+3600;NT", "999999999;rt", "007;R"],
    "HOLDFOR": ["1", "999999999"],
    "HOLDUNTIL": ["2026-12-31T23:59:60Z", "2026-02-01T00:00:00.5+05:30", "2026-02-01t00:00:00z"],
    "MT-PRIORITY": ["0", "9", "-9"],
    "NOTIFY": ["NEVER", "SUCCESS", "failure,Delay", "SUCCESS,FAILURE,DELAY"],
    "ORCPT": [
        "rfc822;Bob@Example.COM", "rfc822;a+2Bb@x.test", "x-y;+20", "utf-8;a\\x{F6}b@x.test", "utf-8;jörg@bücher.test",
        "rfc822;" + "x" * 493, "rfc822;j+C3+BCrgen@one.test",
    ],
}  # fmt: skip

WRONG = {
    "SIZE": ["", "1=1", "1k", "-1", "1" * 21, "\u0663"],
    "BODY": ["", "9BIT", "8BITMIME,7BIT"],
    "PRDR": ["1"],
    "SMTPUTF8": ["1"],
    "REQUIRETLS": ["yes"],
    "RET": ["", "NONE", "FULL,HDRS"],
    "ENVID": ["", "a=b", "a+0", "a+0d", "a+00b", "a+0A", "é", "x" * 101],
    "AUTH": ["", "<", "joe", "a b@x.test", "joe@x..test", "j+FFrg@example.com", "a@b\x7f", "jörg@x.test", "+",
             "a" * 490 + "@example.com"],
    "BY": ["", "120", "120;", "120;X", "0;R", "-1;R", "000;R", "1234567890;N", "1;RTT", "1 ;R", "\u0663;N"],
    "HOLDFOR": ["", "0", "01", "1234567890", "-1", "1.5", "1h"],
    "HOLDUNTIL": ["", "2026-12-31", "2026-13-01T00:00:00Z", "2026-12-32T00:00:00Z", "2026-12-31T24:00:00Z",
                  "2026-12-31T00:00:00", "2026-12-31T00:00Z", "2026-12-31T00:00:00+5"],
    "MT-PRIORITY": ["", "10", "-0", "+1", "00", "-10", "1.0"],
    "NOTIFY": ["", "ALWAYS", "NEVER,SUCCESS", "SUCCESS,", ",DELAY", "SUCCESS, DELAY"],
    "ORCPT": ["", "rfc822", "rfc822;", ";a@x.test", "rfc 822;a", "rfc822;a+0D", "rfc822;a=b", "rfc822;a+7F",
              "rfc822;jörg@x.test", "utf-8;a\u0085b", "utf-8;jö+rg", "a(b);x", "rfc822;" + "x" * 494],
}  # fmt: skip

EVERY = {**MAIL_PARAMETERS, **RCPT_PARAMETERS}


def listed(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(keyword, value) for keyword, values in table.items() for value in values]


@pytest.mark.parametrize(("text", "parameters"), READ)
def test_parameters_are_read_by_keyword(text, parameters):
    assert parse_parameters(text, MAIL_PARAMETERS) == parameters


@pytest.mark.parametrize(("keyword", "value"), listed(RIGHT))
def test_what_the_grammar_of_its_rfc_allows_is_read(keyword, value):
    assert parse_parameters(f" {keyword}={value}".encode(), EVERY) == {keyword: value}


@pytest.mark.parametrize(("keyword", "value"), listed(WRONG))
def test_what_it_does_not_is_refused(keyword, value):
    reply = parse_parameters(f" {keyword}={value}".encode(), EVERY)
    assert isinstance(reply, Reply)
    assert reply.code in (501, 555)  # a blank makes a keyword of what is behind it
    assert EVERY[keyword](value) is (value == "" and keyword in ("PRDR", "SMTPUTF8", "REQUIRETLS"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"SIZE", 501),
        (b"SIZE=1 SIZE=1", 501),
        (b"PRDR=", 501),
        (b"PRDR PRDR", 501),
        (b"SIZE=\xff", 501),
        (b"HOLDFOR=60 HOLDUNTIL=2026-12-31T23:59:59Z", 501),
        (b"=1", 555),
        (b"XVERP", 555),
        (b"SIZE=1 NOTIFY=NEVER", 555),
    ],
)
def test_parameters_that_cannot_be_obeyed_are_refused(text, code):
    reply = parse_parameters(text, MAIL_PARAMETERS)
    assert isinstance(reply, Reply)
    assert reply.code == code


def test_each_extension_has_parameters_of_its_own_command():
    assert set(EXTENSION_OF) == set(EVERY) - {"SIZE", "BODY", "PRDR", "AUTH"}
    assert not set(MAIL_PARAMETERS) & set(RCPT_PARAMETERS)


words = st.sampled_from([f"{keyword}={value}".encode() for keyword, value in listed(RIGHT) + listed(WRONG)])


@given(st.binary(max_size=40) | st.lists(words | st.binary(max_size=8), max_size=5).map(b" ".join))
def test_any_octets_give_parameters_that_read_back_the_same_or_a_refusal(text):
    for legal in (MAIL_PARAMETERS, RCPT_PARAMETERS):
        answer = parse_parameters(text, legal)
        if isinstance(answer, Reply):
            assert answer.permanent
            continue
        assert all(legal[keyword](value) for keyword, value in answer.items())
        written = " ".join([f"{keyword}={value}" if value else keyword for keyword, value in answer.items()])
        assert not set(written) & set("\r\n\0")
        assert parse_parameters(written.encode(), legal) == answer


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30))
def test_any_printable_text_can_be_an_envelope_id_or_an_original_recipient(text):
    value = xtext.encode(text.encode())
    assert parse_parameters(f"ENVID={value}".encode(), MAIL_PARAMETERS) == {"ENVID": value}
    assert parse_parameters(f"ORCPT=x;{value}".encode(), RCPT_PARAMETERS) == {"ORCPT": f"x;{value}"}

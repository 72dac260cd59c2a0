"""The order of commands: the table against the RFC's words, and every state with every command."""

from __future__ import annotations

from itertools import product

import pytest

from moxy.smtp import command
from moxy.smtp.state import AT_ANY_TIME, ORDER, TRANSITIONS, State

IN_WORDS = """\
GREETED  HELLO          READY
GREETED  MAIL           503
GREETED  RCPT           503
GREETED  DATA           503
GREETED  RSET           GREETED
READY    HELLO          READY
READY    MAIL           MAIL
READY    RCPT           503
READY    DATA           503
READY    RSET           READY
READY    STARTTLS       503
MAIL     HELLO          READY
MAIL     MAIL           503
MAIL     RCPT           RCPT
MAIL     DATA           503
MAIL     RSET           READY
RCPT     HELLO          READY
RCPT     MAIL           503
RCPT     RCPT           RCPT
RCPT     DATA           CONTENT
RCPT     RSET           READY
CONTENT  END OF DATA    READY
GREETED  BDAT           503
READY    BDAT           503
MAIL     BDAT           CHUNK
RCPT     BDAT           CHUNK
CHUNK    END OF CHUNK   CHUNKS
CHUNK    LAST CHUNK     READY
CHUNKS   HELLO          READY
CHUNKS   MAIL           503
CHUNKS   RCPT           503
CHUNKS   DATA           503
CHUNKS   BDAT           CHUNK
CHUNKS   RSET           READY
"""
"""RFC 5321 §4.1.4, RFC 3030 §2: where a session stands, what the client says, and where it stands when that was
accepted.

STARTTLS leads out of the table, to a new session (RFC 3207 §4.2): the receiver sees to that.
"""

KINDS = {
    "HELLO": command.Hello,
    "MAIL": command.Mail,
    "RCPT": command.Rcpt,
    "DATA": command.Data,
    "RSET": command.Rset,
    "STARTTLS": command.StartTls,
    "END OF DATA": command.EndOfData,
    "BDAT": command.Bdat,
    "END OF CHUNK": command.EndOfChunk,
    "LAST CHUNK": command.LastChunk,
    "NOOP": command.Noop,
    "VRFY": command.Vrfy,
    "EXPN": command.Expn,
    "HELP": command.Help,
    "QUIT": command.Quit,
}

ROWS = [(line[:9].strip(), line[9:24].strip(), line[24:].strip()) for line in IN_WORDS.splitlines()]


@pytest.mark.parametrize(("state", "words", "following"), ROWS)
def test_the_table_says_what_the_rfc_says(state, words, following):
    expected = None if following == "503" else State[following]
    assert TRANSITIONS[State[state]].get(KINDS[words]) is expected


@pytest.mark.parametrize(("state", "words"), list(product(State, KINDS)))
def test_every_command_in_every_state_is_legal_or_out_of_order(state, words):
    following = TRANSITIONS[state].get(KINDS[words])
    assert following is None or following in ORDER
    if (state.name, words) not in {row[:2] for row in ROWS}:
        stays = KINDS[words] in AT_ANY_TIME and state not in (State.CONTENT, State.CHUNK)
        assert following is (state if stays else None)


def test_in_content_there_are_no_commands_but_its_end():
    assert {kind for kind in KINDS.values() if TRANSITIONS[State.CONTENT].get(kind)} == {command.EndOfData}
    ends = {command.EndOfChunk, command.LastChunk}
    assert {kind for kind in KINDS.values() if TRANSITIONS[State.CHUNK].get(kind)} == ends


def test_the_states_that_owe_content_come_last():
    assert [state for state in State if state >= State.CHUNKS] == [State.CHUNKS, State.CONTENT, State.CHUNK]


@pytest.mark.parametrize("state", [state for state in State if state is not State.CONTENT])
def test_the_end_of_data_comes_after_content_only(state):
    assert TRANSITIONS[state].get(command.EndOfData) is None


@pytest.mark.parametrize("state", State)
def test_what_cannot_be_read_moves_nothing(state):
    assert TRANSITIONS[state].get(command.Invalid) is None


def test_every_state_can_be_reached_and_left():
    reached = {State.GREETED}
    for _ in State:
        reached |= {following for state in reached for following in ORDER[state].values()}
    assert reached == set(State)
    assert all(set(ORDER[state].values()) - {state} for state in State)

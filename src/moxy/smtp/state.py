"""The order of commands (RFC 5321 §4.1.4), and nothing else.

A session of the receiver is in one of seven states. `ORDER` says which commands are legal in a state, and where the
session goes when they are accepted (answered 2xx, or 3xx for DATA). A refused command changes nothing. A command
without a row is out of order: 503 5.5.1.

STARTTLS is accepted in READY only, and has no row: it leads to no state of this session, but to a new one that begins
encrypted, with a receiver that knows nothing of this one (T32). An open transaction is to be finished or reset before.

The end of data is a command here, as it is in the RFC's mind: the dot that commits the message. So is the end of a
chunk (RFC 3030). From its first chunk on a transaction takes nothing but chunks, and with the last one it is over,
whatever was answered to them: they may have been sent all together.
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Final

from moxy.smtp import command


class State(IntEnum):
    """Where a session stands between two commands. (IntEnum: looking one up costs no call, and every command does.)"""

    GREETED = auto()
    """Our 220 is out; no HELO or EHLO was accepted yet."""
    READY = auto()
    """Known by name, no mail transaction open."""
    MAIL = auto()
    """A transaction is open: reverse-path accepted, no recipient yet."""
    RCPT = auto()
    """At least one forward-path accepted: DATA may come."""
    CHUNKS = auto()
    """Some content has come by BDAT: the next chunk may come. From here on the client owes us content."""
    CONTENT = auto()
    """354 is out: everything is content up to the final dot. From here on octets are content, not commands."""
    CHUNK = auto()
    """BDAT was answered, to ourselves: so many octets are content."""


ORDER: Final[dict[State, dict[type[command.Command], State]]] = {
    State.GREETED: {
        command.Hello: State.READY,
        command.XClient: State.GREETED,
        command.Rset: State.GREETED,
    },
    State.READY: {
        command.Hello: State.READY,
        command.XClient: State.GREETED,  # as if that client had connected just now (XCLIENT_README)
        command.Mail: State.MAIL,
        command.Rset: State.READY,
    },
    State.MAIL: {
        command.Hello: State.READY,  # §4.1.4: EHLO within a session resets as RSET does
        command.Rcpt: State.RCPT,
        command.Bdat: State.CHUNK,  # to be refused when its octets have come, as they may be under way (T13)
        command.Rset: State.READY,
    },
    State.RCPT: {
        command.Hello: State.READY,
        command.Rcpt: State.RCPT,
        command.Data: State.CONTENT,
        command.Bdat: State.CHUNK,
        command.Rset: State.READY,
    },
    State.CHUNKS: {
        command.Hello: State.READY,
        command.Bdat: State.CHUNK,
        command.Rset: State.READY,
    },
    State.CONTENT: {
        command.EndOfData: State.READY,
    },
    State.CHUNK: {
        command.EndOfChunk: State.CHUNKS,
        command.LastChunk: State.READY,
    },
}

AT_ANY_TIME: Final[frozenset[type[command.Command]]] = frozenset(
    {command.Noop, command.Vrfy, command.Expn, command.Help, command.Quit}
)
"""Legal between any two commands, without effect on the state (§4.1.4)."""


TRANSITIONS: Final[dict[State, dict[type[command.Command], State]]] = {
    state: row if state >= State.CONTENT else row | dict.fromkeys(AT_ANY_TIME, state) for state, row in ORDER.items()
}
"""Both together, as the receiver uses them: the state after a command is accepted; out of order if it has no row."""

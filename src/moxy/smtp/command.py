"""Commands as a client sends them: one small class a verb, and `parse` from a line to one of them.

RFC 5321 §4.1.1; RFC 2033 §4.1 (LMTP's own greeting); RFC 3030 §2 (BDAT). Verbs and keywords in any case. What cannot
be read becomes `Invalid`, which carries the reply it deserves; the order of commands is not judged here
(`moxy.smtp.state`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from moxy.smtp import replies
from moxy.smtp.address import AddressError, ForwardPath, ReversePath, parse_hello, scan_path
from moxy.smtp.clientname import parse_xclient
from moxy.smtp.parameter import MAIL_PARAMETERS, NONE, RCPT_PARAMETERS, UTF8, Parameters, parse_parameters
from moxy.smtp.reply import Replies, Reply

if TYPE_CHECKING:
    from moxy.smtp.state import State


class Command:
    """Something the client asks for, and that is answered exactly once.

    While it waits for its answer it carries two marks of the receiver's: `following`, the state it leads to if it is
    accepted, and `reply`, once that is known but not yet due. They are no part of what it says.
    """

    __slots__: tuple[str, ...] = ("following", "reply")

    following: State
    reply: Reply | Replies | None

    def __repr__(self) -> str:
        fields = ", ".join(repr(getattr(self, name)) for name in self.__slots__)
        return f"{type(self).__name__}({fields})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]


class Hello(Command):
    """HELO, or EHLO and LHLO (`extended`), with the name the client gives itself (§4.1.1.1; RFC 2033 §4.1)."""

    __slots__ = ("extended", "name")

    def __init__(self, name: str, extended: bool) -> None:
        self.name = name
        self.extended = extended


class Mail(Command):
    """MAIL FROM: opens a transaction (§4.1.1.2). `size` is SIZE= in octets or 0, `body` BODY= in capitals or "".

    `prdr`: the client takes a reply for each recipient after the final dot (draft-hall-prdr §4.2). `parameters` are all
    others, their keywords in upper case and their values as sent, well-formed but perhaps of no extension we offered.
    """

    __slots__ = ("body", "parameters", "path", "prdr", "size")

    def __init__(
        self,
        path: ReversePath,
        size: int = 0,
        body: str = "",
        *,
        prdr: bool = False,
        parameters: Mapping[str, str] = NONE,
    ) -> None:
        self.path = path
        self.size = size
        self.body = body
        self.prdr = prdr
        self.parameters = parameters


class Rcpt(Command):
    """RCPT TO: asks for one recipient (§4.1.1.3). `parameters` as in `Mail`; the path may be beyond ASCII."""

    __slots__ = ("parameters", "path")

    def __init__(self, path: ForwardPath, parameters: Mapping[str, str] = NONE) -> None:
        self.path = path
        self.parameters = parameters


class Data(Command):
    """DATA asks to send content (§4.1.1.4)."""

    __slots__ = ()


class EndOfData(Command):
    """The final dot: the client hands the message over. `octets` is its size after unstuffing."""

    __slots__ = ("octets",)

    def __init__(self, octets: int) -> None:
        self.octets = octets


class Bdat(Command):
    """BDAT announces a chunk of so many octets of content, which follow at once (RFC 3030 §2). `last`: no more follow.

    `binary`: the content may have any octets (BODY=BINARYMIME). It is for who answers the first one to say so.
    """

    __slots__ = ("binary", "last", "octets")

    def __init__(self, octets: int, *, last: bool = False) -> None:
        self.octets = octets
        self.last = last
        self.binary = False


class EndOfChunk(Command):
    """All octets of a chunk that is not the last one have come."""

    __slots__ = ()


class LastChunk(Command):
    """All octets of the last chunk have come: the client hands the message over, as with `EndOfData`.

    `octets` is the size of the message; `whole_lines` says whether it ends in CRLF or is empty.
    """

    __slots__ = ("octets", "whole_lines")

    def __init__(self, octets: int, *, whole_lines: bool = True) -> None:
        self.octets = octets
        self.whole_lines = whole_lines


class Rset(Command):
    """RSET gives the transaction up (§4.1.1.5)."""

    __slots__ = ()


class Noop(Command):
    """NOOP asks for a 250 (§4.1.1.9)."""

    __slots__ = ()


class Vrfy(Command):
    """VRFY asks whether a mailbox exists (§4.1.1.6)."""

    __slots__ = ()


class Expn(Command):
    """EXPN asks who is on a list (§4.1.1.7)."""

    __slots__ = ()


class Help(Command):
    """HELP asks for help (§4.1.1.8)."""

    __slots__ = ()


class Quit(Command):
    """QUIT ends the session (§4.1.1.10)."""

    __slots__ = ()


class StartTls(Command):
    """STARTTLS asks to go on encrypted (RFC 3207 §4)."""

    __slots__ = ()


class XClient(Command):
    """XCLIENT: a proxy says who its client is. `attributes` are as `clientname.parse_xclient` gives them."""

    __slots__ = ("attributes",)

    def __init__(self, attributes: dict[str, str]) -> None:
        self.attributes = attributes


class Invalid(Command):
    """A line that is no command we can obey; `deserved` is the reply to it."""

    __slots__ = ("deserved",)

    def __init__(self, deserved: Reply) -> None:
        self.deserved = deserved


Verbs = Mapping[bytes, Callable[[bytes], Command]]
"""The verbs of a protocol, in capitals, and what reads a line that begins with one."""


def _mail(line: bytes) -> Command:
    """MAIL FROM:<reverse-path> [parameters] (§4.1.1.2)."""
    if line[5:10].upper() != b"FROM:":
        return Invalid(replies.SYNTAX_MAIL)
    try:
        path, end = scan_path(line, 10 if line[10:11] == b"<" else _path_start(line, 10), ReversePath, utf8=True)
    except AddressError as error:
        return Invalid(replies.bad_address(error.status, str(error)))
    if end == len(line):
        return Mail(path) if path.text.isascii() else Invalid(replies.NEEDS_SMTPUTF8)
    parameters = _parameters(line, end, MAIL_PARAMETERS)
    if isinstance(parameters, Reply):
        return Invalid(parameters)
    if UTF8 not in parameters and not path.text.isascii():
        return Invalid(replies.NEEDS_SMTPUTF8)
    size, body = int(parameters.pop("SIZE", "0")), parameters.pop("BODY", "").upper()
    prdr = parameters.pop("PRDR", None) is not None
    return Mail(path, size, body, prdr=prdr, parameters=parameters or NONE)


def _rcpt(line: bytes) -> Command:
    """RCPT TO:<forward-path> [parameters] (§4.1.1.3)."""
    if line[5:8].upper() != b"TO:":
        return Invalid(replies.SYNTAX_RCPT)
    try:
        path, end = scan_path(line, 8 if line[8:9] == b"<" else _path_start(line, 8), ForwardPath, utf8=True)
    except AddressError as error:
        return Invalid(replies.bad_address(error.status, str(error)))
    if end == len(line):
        return Rcpt(path)
    parameters = _parameters(line, end, RCPT_PARAMETERS)
    return Invalid(parameters) if isinstance(parameters, Reply) else Rcpt(path, parameters or NONE)


def _path_start(line: bytes, start: int) -> int:
    """Where the path begins: blanks before it are not in the grammar, but sent by many and understood by all."""
    while line[start : start + 1] == b" ":
        start += 1
    return start


def _parameters(line: bytes, start: int, legal: Parameters) -> dict[str, str] | Reply:
    return parse_parameters(line[start:], legal) if line[start : start + 1] == b" " else replies.BAD_PARAMETERS


def _hello(line: bytes) -> Command:
    try:
        return Hello(parse_hello(line[5:].strip()), extended=line[:1] not in b"Hh")
    except AddressError as error:
        return Invalid(replies.bad_hello(str(error)))


def _xclient(line: bytes) -> Command:
    try:
        return XClient(parse_xclient(line[len(b"XCLIENT ") :]))
    except ValueError:
        return Invalid(replies.BAD_ATTRIBUTES)


_CHUNK: Final = re.compile(rb"BDAT +([0-9]{1,20})(?: +(LAST))? *", re.IGNORECASE)  # RFC 3030 §2: 1*20DIGIT


def _bdat(line: bytes) -> Command:
    """BDAT chunk-size [LAST]. Behind one that cannot be read nobody knows where the next command begins."""
    match = _CHUNK.fullmatch(line)
    return Invalid(replies.BAD_CHUNK) if match is None else Bdat(int(match[1]), last=match[2] is not None)


def _bare(kind: Callable[[], Command]) -> Callable[[bytes], Command]:
    """A verb that takes no argument (§4.1.1): 501 when one comes."""
    return lambda line: Invalid(replies.NO_ARGUMENT_EXPECTED) if line.partition(b" ")[2].strip() else kind()


def _with_argument(kind: Callable[[], Command]) -> Callable[[bytes], Command]:
    """A verb that needs an argument, of which we make no use."""
    return lambda line: kind() if line.partition(b" ")[2].strip() else Invalid(replies.ARGUMENT_EXPECTED)


_COMMON_VERBS: Final[Verbs] = {
    b"MAIL": _mail,
    b"RCPT": _rcpt,
    b"DATA": _bare(Data),
    b"BDAT": _bdat,
    b"RSET": _bare(Rset),
    b"QUIT": _bare(Quit),
    b"NOOP": lambda _: Noop(),
    b"HELP": lambda _: Help(),
    b"VRFY": _with_argument(Vrfy),
    b"EXPN": _with_argument(Expn),
    b"STARTTLS": _bare(StartTls),
}
SMTP_VERBS: Final[Verbs] = {**_COMMON_VERBS, b"EHLO": _hello, b"HELO": _hello}
LMTP_VERBS: Final[Verbs] = {**_COMMON_VERBS, b"LHLO": _hello}
"""Neither knows the other's greeting, so that no client takes one for the other (RFC 2033 §4.1)."""

XCLIENT_VERB: Final[Verbs] = {b"XCLIENT": _xclient}
"""For listed peers, beside the others; to everybody else it is an unknown command (T27)."""

_OTHER_PROTOCOLS: Final = frozenset({b"GET", b"POST", b"PUT", b"CONNECT", b"OPTIONS", b"HEAD"})
"""Verbs of HTTP: a browser was talked into sending mail commands inside a request. The session ends at once."""


def parse(line: bytes, verbs: Verbs = SMTP_VERBS) -> Command:
    """Read one command line, given without its CRLF."""
    read = verbs.get(line[:4].upper())
    if read is None or line[4:5] not in (b" ", b""):
        word = line.partition(b" ")[0].upper()
        read = verbs.get(word)  # two verbs have more than four letters
        if read is None:
            return Invalid(replies.WRONG_PROTOCOL if word in _OTHER_PROTOCOLS else replies.UNKNOWN_COMMAND)
    return read(line)

"""Commands as a client sends them: one small class a verb, and `parse` from a line to one of them.

RFC 5321 §4.1.1. Verbs and keywords in any case. What cannot be read becomes `Invalid`, which carries the reply it
deserves; the order of commands is not judged here (`moxy.smtp.state`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from moxy.smtp import replies
from moxy.smtp.address import AddressError, ForwardPath, ReversePath, parse_hello, scan_path
from moxy.smtp.extension import MAIL_PARAMETERS, RCPT_PARAMETERS, parse_parameters
from moxy.smtp.reply import Reply


class Command:
    """Something the client asks for, and that is answered exactly once."""

    __slots__: tuple[str, ...] = ()

    def __repr__(self) -> str:
        fields = ", ".join(repr(getattr(self, name)) for name in self.__slots__)
        return f"{type(self).__name__}({fields})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]


class Hello(Command):
    """HELO, or EHLO (`extended`), with the name the client gives itself (§4.1.1.1)."""

    __slots__ = ("extended", "name")

    def __init__(self, name: str, extended: bool) -> None:
        self.name = name
        self.extended = extended


class Mail(Command):
    """MAIL FROM: opens a transaction (§4.1.1.2). `size` is SIZE= in octets or 0, `body` is BODY= in upper case or ""."""

    __slots__ = ("body", "path", "size")

    def __init__(self, path: ReversePath, size: int = 0, body: str = "") -> None:
        self.path = path
        self.size = size
        self.body = body


class Rcpt(Command):
    """RCPT TO: asks for one recipient (§4.1.1.3)."""

    __slots__ = ("path",)

    def __init__(self, path: ForwardPath) -> None:
        self.path = path


class Data(Command):
    """DATA asks to send content (§4.1.1.4)."""

    __slots__ = ()


class EndOfData(Command):
    """The final dot: the client hands the message over. `octets` is its size after unstuffing."""

    __slots__ = ("octets",)

    def __init__(self, octets: int) -> None:
        self.octets = octets


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


class Invalid(Command):
    """A line that is no command we can obey; `reply` is the answer it deserves."""

    __slots__ = ("reply",)

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


def parse(line: bytes) -> Command:
    """Read one command line, given without its CRLF."""
    if line[:5].upper() == b"RCPT " or line[:5].upper() == b"MAIL ":
        return _transaction_command(line)
    verb, _, argument = line.partition(b" ")
    reader = _READERS.get(verb.upper())
    if reader is None:
        return Invalid(replies.WRONG_PROTOCOL if verb.upper() in _OTHER_PROTOCOLS else replies.UNKNOWN_COMMAND)
    return reader(argument.strip())


def _transaction_command(line: bytes) -> Command:
    """MAIL FROM:<path> [parameters] or RCPT TO:<path> [parameters]: the two that every message brings."""
    is_mail = line[0] in b"Mm"
    prefix = b"MAIL FROM:" if is_mail else b"RCPT TO:"
    start = len(prefix)
    if line[:start].upper() != prefix:
        return Invalid(replies.SYNTAX_MAIL if is_mail else replies.SYNTAX_RCPT)
    while line[start : start + 1] == b" ":  # not in the grammar, but sent by many and understood by all
        start += 1
    try:
        if is_mail:
            return _mail(*scan_path(line, start, ReversePath), line)
        return _rcpt(*scan_path(line, start, ForwardPath), line)
    except AddressError as error:
        return Invalid(replies.bad_address(error.status, str(error)))


def _mail(path: ReversePath, end: int, line: bytes) -> Command:
    if end == len(line):
        return Mail(path)
    parameters = (
        parse_parameters(line[end:], MAIL_PARAMETERS) if line[end : end + 1] == b" " else replies.BAD_PARAMETERS
    )
    if isinstance(parameters, Reply):
        return Invalid(parameters)
    return Mail(path, int(parameters.get("SIZE", "0")), parameters.get("BODY", "").upper())


def _rcpt(path: ForwardPath, end: int, line: bytes) -> Command:
    if end == len(line):
        return Rcpt(path)
    parameters = (
        parse_parameters(line[end:], RCPT_PARAMETERS) if line[end : end + 1] == b" " else replies.BAD_PARAMETERS
    )
    return Invalid(parameters) if isinstance(parameters, Reply) else Rcpt(path)


def _hello(argument: bytes, extended: bool) -> Command:
    try:
        return Hello(parse_hello(argument), extended)
    except AddressError as error:
        return Invalid(replies.bad_hello(str(error)))


def _bare(kind: Callable[[], Command]) -> Callable[[bytes], Command]:
    """A verb that takes no argument (§4.1.1): 501 when one comes."""
    return lambda argument: Invalid(replies.NO_ARGUMENT_EXPECTED) if argument else kind()


_READERS: Final[dict[bytes, Callable[[bytes], Command]]] = {
    b"EHLO": lambda argument: _hello(argument, extended=True),
    b"HELO": lambda argument: _hello(argument, extended=False),
    b"MAIL": lambda _: Invalid(replies.SYNTAX_MAIL),
    b"RCPT": lambda _: Invalid(replies.SYNTAX_RCPT),
    b"DATA": _bare(Data),
    b"RSET": _bare(Rset),
    b"QUIT": _bare(Quit),
    b"NOOP": lambda _: Noop(),
    b"HELP": lambda _: Help(),
    b"VRFY": lambda argument: Vrfy() if argument else Invalid(replies.ARGUMENT_EXPECTED),
    b"EXPN": lambda argument: Expn() if argument else Invalid(replies.ARGUMENT_EXPECTED),
}

_OTHER_PROTOCOLS: Final = frozenset({b"GET", b"POST", b"PUT", b"CONNECT", b"OPTIONS", b"HEAD"})
"""Verbs of HTTP: a browser was talked into sending mail commands inside a request. The session ends at once."""

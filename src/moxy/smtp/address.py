"""Reverse-path, forward-path and the argument of HELO: the addresses of the SMTP envelope, parsed and compared.

The common path (a dot-string, a plain domain) is recognised by one pattern; the complete grammar is a second, slower
function, reached only when the first does not fit. Both must agree; they are tested by the same table.

Rules:
- A path keeps its spelling (`text`, `local`): what goes on to a destination is what the client wrote. Only identity
  (`key`, equality) is canonical: the domain as `domain.canonical` has it, needless quoting removed, the local part
  otherwise exact.
- Strict where a lenience could be abused (blanks, controls, 8-bit, empty labels, a final dot), lenient where real
  mail would be lost: an underscore may stand in a domain, a local part may have 255 octets.
- `<` + `text` + `>` always parses to an equal path; no text can hold a line end or leave its brackets.

RFC 5321 §4.1.2 (grammar), §4.5.3.1 (sizes), Appendix C (source routes); RFC 6531 §3.3 (non-ASCII characters, with
SMTPUTF8).

Bugs: two local parts are the same only octet for octet, also where Unicode has several spellings of one text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import ClassVar, Final, Self, TypeVar

from moxy.smtp.domain import BEYOND, LETTERS, canonical, labels

LOCAL_PART_LIMIT: Final = 255
"""Octets. RFC 5321 §4.5.3.1.1 says 64, but bounce and forwarding schemes (VERP, SRS, BATV) write longer ones into real
mail, and what a local part means is its own host's affair (§2.3.11)."""

PATH_LIMIT: Final = 512
"""Octets between the brackets, source route included. RFC 5321 §4.5.3.1.3 says 256 with them; twice that makes room for
the longest local part with the longest domain."""

HELLOS_KNOWN: Final = 1024
"""Arguments of HELO that are remembered, each of 255 octets at most: the same hosts come again and again."""

POSTMASTER: Final = "postmaster"
"""The one local part whose case does not matter (RFC 5321 §4.5.1)."""

_COMMON_LIMIT: Final = 256  # RFC 5321 §4.5.3.1.3: a path within it cannot exceed the limits above

_ATEXT: Final = r"A-Za-z0-9!#$%&'*+\-/=?^_`{|}~"  # RFC 5322 §3.2.3


# As `labels`: before Python 3.11.5, a possessive group would let `a.@x` pass.
def _dot_string(characters: str) -> str:
    return rf"[{characters}]++(?:\.[{characters}]++)*"


_COMMON_PATH: Final = re.compile(f"<{_dot_string(_ATEXT)}@{labels(LETTERS)}>".encode())
_DOT_STRING: Final = re.compile(_dot_string(_ATEXT + BEYOND))
_QUOTED_STRING: Final = re.compile(rf'"(?:[ !#-\[\]-~{BEYOND}]|\\[ -~])*"')
_QUOTED_PAIR: Final = re.compile(r"\\(.)")
_MUST_BE_QUOTED: Final = re.compile(r'(["\\])')
_ENCLOSED: Final = re.compile(rb'<((?:[^">]|"(?:[^"\\]|\\.)*")*)>', re.DOTALL)  # `>` may stand inside quotes
_SOURCE_ROUTE: Final = re.compile(r"@[^:@]+(?:,@[^:@]+)*:(?=.)")


class AddressError(ValueError):
    """Not an address. The text is one short ASCII sentence, fit for a reply; it never repeats the peer's words.

    `status` is the subject and detail of the enhanced status code that says the same (RFC 3463 §3.2): "1.3" bad
    destination mailbox, "1.7" bad sender's mailbox, "6.7" non-ASCII without SMTPUTF8 (RFC 6531 §3.5), "5.4" bad HELO.
    """

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


def _key(local: str, domain: str) -> str:
    if not domain:
        return local.lower()  # RFC 5321 §4.1.1.3: <Postmaster> in any case; the null reverse-path is ""
    if local.startswith('"'):
        local = _canonical(local)
    if local.lower() == POSTMASTER:
        local = POSTMASTER
    return f"{local}@{domain}"


def _canonical(quoted: str) -> str:
    """The one spelling of a quoted local part: without quotes if it can be, else with the fewest backslashes."""
    plain = _QUOTED_PAIR.sub(r"\1", quoted[1:-1])
    if _DOT_STRING.fullmatch(plain):
        return plain
    return '"' + _MUST_BE_QUOTED.sub(r"\\\1", plain) + '"'


class Path:
    """A mailbox in the envelope: the common part of reverse-path and forward-path. Never changed once made.

    `text` is the mailbox as spelled, without angle brackets and source route. `local` is its local part as spelled,
    quotes included. `domain` is canonical, "" where there is none; a literal keeps its brackets. `key` is the identity
    of the mailbox: the same for all spellings that mean the same (contract T48).
    """

    __slots__ = ("domain", "key", "local", "text")

    error_status: ClassVar[str]

    def __init__(self, text: str, local: str, domain: str) -> None:
        self.text = text
        self.local = local
        self.domain = domain
        usual = domain and local[:1] != '"' and len(local) != len(POSTMASTER)  # three times a message it is asked for
        self.key = f"{local}@{domain}" if usual else _key(local, domain)

    @classmethod
    def parse(cls, text: str, utf8: bool = False) -> Self:
        """The path spelled by `text`, a mailbox without angle brackets and source route; AddressError if it is none."""
        if (path := cls._without_domain(text)) is not None:
            return path
        if not utf8 and not text.isascii():
            raise _needs_utf8()
        local, domain = _split(text, cls.error_status)
        return cls(text, local, domain)

    @classmethod
    def _without_domain(cls, text: str) -> Self | None:
        """The path that this kind allows without a domain, if `text` spells it."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and type(other) is type(self) and other.key == self.key

    def __hash__(self) -> int:
        return hash((type(self), self.key))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"


class ReversePath(Path):
    """Whom to tell about failures: the argument of MAIL (RFC 5321 §4.1.1.2)."""

    __slots__ = ()

    error_status = "1.7"
    null: ClassVar[ReversePath]
    """`<>`, the reverse-path of messages that must not be answered (RFC 5321 §4.5.5)."""

    @classmethod
    def _without_domain(cls, text: str) -> Self | None:
        return cls("", "", "") if not text else None

    @property
    def is_null(self) -> bool:
        """Whether this is `<>`."""
        return not self.text


ReversePath.null = ReversePath("", "", "")


class ForwardPath(Path):
    """Who shall get the message: the argument of RCPT (RFC 5321 §4.1.1.3)."""

    __slots__ = ()

    error_status = "1.3"

    @classmethod
    def _without_domain(cls, text: str) -> Self | None:
        return cls(text, text, "") if text.lower() == POSTMASTER else None

    @property
    def is_postmaster(self) -> bool:
        """Whether this is `<Postmaster>`, in any case, without a domain (RFC 5321 §4.1.1.3)."""
        return not self.domain


PathKind = TypeVar("PathKind", bound=Path)


def scan_path(line: bytes, start: int, kind: type[PathKind], utf8: bool = False) -> tuple[PathKind, int]:
    """Parse the path in angle brackets that begins at `start` of a command line: the path, and where it ends.

    `utf8` allows non-ASCII characters (RFC 6531 §3.3). A source route is read and ignored (RFC 5321 Appendix C).
    Raises AddressError.
    """
    match = _COMMON_PATH.match(line, start)
    if match is None or (end := match.end()) - start > _COMMON_LIMIT:
        return _scan_any_path(line, start, kind, utf8)
    text = line[start + 1 : end - 1].decode()
    local, _, domain = text.partition("@")
    return kind(text, local, domain.lower()), end


def _scan_any_path(line: bytes, start: int, kind: type[PathKind], utf8: bool) -> tuple[PathKind, int]:
    """As `scan_path`, for the complete grammar."""
    match = _ENCLOSED.match(line, start)
    if match is None:
        raise AddressError("An address must stand in angle brackets", kind.error_status)
    if len(match[1]) > PATH_LIMIT:
        raise AddressError("The address is too long", kind.error_status)
    if not utf8 and not match[1].isascii():
        raise _needs_utf8()
    try:
        text = match[1].decode()
    except UnicodeDecodeError:
        raise AddressError("The address is not valid UTF-8", kind.error_status) from None
    return kind.parse(_without_route(text, kind.error_status), utf8), match.end()


@lru_cache(maxsize=HELLOS_KNOWN)
def parse_hello(text: bytes) -> str:
    """The argument of HELO or EHLO as spelled, without blanks after it: a domain or an address literal.

    RFC 5321 §4.1.1.1. A single label and underscores are accepted: hosts do call themselves so, and refusing the name
    would refuse all their mail. Raises AddressError.
    """
    name = text.rstrip(b" \t")
    if not name.isascii():
        raise AddressError("The name may only have ASCII characters", "5.4")
    hello = name.decode()
    _domain(hello, "5.4")
    return hello


def _without_route(text: str, status: str) -> str:
    """`user@c` from `@a,@b:user@c`."""
    if not text.startswith("@"):
        return text
    match = _SOURCE_ROUTE.match(text)
    if match is None:
        raise AddressError("The source route is malformed", status)
    for host in match[0][1:-1].split(",@"):
        _domain(host, status)
    return text[match.end() :]


def _split(text: str, status: str) -> tuple[str, str]:
    """Local part and canonical domain of a mailbox, both found to be right."""
    if text.startswith('"'):
        quoted = _QUOTED_STRING.match(text)
        place = quoted.end() if quoted else -1
    else:
        place = text.find("@")
    if place < 0 or text[place : place + 1] != "@":
        raise AddressError("The address needs a local part, @ and a domain", status)
    local = text[:place]
    _check_local_part(local, status)
    return local, _domain(text[place + 1 :], status)


def _check_local_part(local: str, status: str) -> None:
    if not local.startswith('"') and not _DOT_STRING.fullmatch(local):
        raise AddressError("The local part has a character or a dot where none may stand", status)
    if len(local.encode()) > LOCAL_PART_LIMIT:
        raise AddressError("The local part is too long", status)


def _domain(text: str, status: str) -> str:
    """The canonical spelling of a domain or an address literal."""
    try:
        return canonical(text)
    except ValueError as error:
        raise AddressError(str(error), status) from None


def _needs_utf8() -> AddressError:
    return AddressError("The address has non-ASCII characters, which need SMTPUTF8", "6.7")

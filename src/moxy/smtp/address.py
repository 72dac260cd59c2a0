"""Reverse-path, forward-path and the argument of HELO: the addresses of the SMTP envelope, parsed and compared.

The common path (a dot-string, a plain domain) is recognised by one pattern; the complete grammar is a second, slower
function, reached only when the first does not fit. Both must agree; they are tested by the same table.

Rules:
- A path keeps its spelling (`text`, `local`): what goes on to a destination is what the client wrote. Only identity
  (`key`, equality) is canonical: the domain in lower case, needless quoting removed, the local part otherwise exact.
- Strict where a lenience could be abused (blanks, controls, 8-bit, empty labels, a final dot), lenient where real
  mail would be lost: an underscore may stand in a domain, a local part may have 255 octets.
- `<` + `text` + `>` always parses to an equal path; no text can hold a line end or leave its brackets.

RFC 5321 §4.1.2 (grammar), §4.1.3 (address literals), §4.5.3.1 (sizes), Appendix C (source routes);
RFC 6531 §3.3 (non-ASCII characters, with SMTPUTF8).

Bugs: U-labels and A-labels of one domain, and two spellings of one IPv6 literal, do not compare equal.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import ClassVar, Final, Self, TypeVar

LOCAL_PART_LIMIT: Final = 255
"""Octets. RFC 5321 §4.5.3.1.1 says 64, but bounce and forwarding schemes (VERP, SRS, BATV) write longer ones into real
mail, and what a local part means is its own host's affair (§2.3.11)."""

DOMAIN_LIMIT: Final = 255
"""Octets (RFC 5321 §4.5.3.1.2)."""

PATH_LIMIT: Final = 512
"""Octets between the brackets, source route included. RFC 5321 §4.5.3.1.3 says 256 with them; twice that makes room for
the longest local part with the longest domain."""

POSTMASTER: Final = "postmaster"
"""The one local part whose case does not matter (RFC 5321 §4.5.1)."""

_COMMON_LIMIT: Final = 256  # RFC 5321 §4.5.3.1.3: a path within it cannot exceed the limits above

_ATEXT: Final = r"A-Za-z0-9!#$%&'*+\-/=?^_`{|}~"  # RFC 5322 §3.2.3
_LETTERS: Final = "A-Za-z0-9_"  # Let-dig, and the underscore
# RFC 6531 §3.3 (UTF8-non-ascii), without C1 controls, the Unicode line ends, and what is no character.
_BEYOND: Final = "\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"


# Only single characters are repeated possessively: before Python 3.11.5, `re` lets a possessive group that fails keep
# what it had already consumed, and so accepts `a.@x`. The groups cannot match in two ways, so nothing is slow for it.
def _dot_string(characters: str) -> str:
    return rf"[{characters}]++(?:\.[{characters}]++)*"


def _domain(characters: str) -> str:
    label = rf"[{characters}]++(?:-++[{characters}]++)*"
    return rf"{label}(?:\.{label})*"


_COMMON_PATH: Final = re.compile(f"<({_dot_string(_ATEXT)})@({_domain(_LETTERS)})>".encode())
_DOT_STRING: Final = re.compile(_dot_string(_ATEXT + _BEYOND))
_DOMAIN: Final = re.compile(_domain(_LETTERS + _BEYOND))
_QUOTED_STRING: Final = re.compile(rf'"(?:[ !#-\[\]-~{_BEYOND}]|\\[ -~])*"')
_QUOTED_PAIR: Final = re.compile(r"\\(.)")
_MUST_BE_QUOTED: Final = re.compile(r'(["\\])')
_ENCLOSED: Final = re.compile(rb'<((?:[^">]|"(?:[^"\\]|\\.)*")*)>', re.DOTALL)  # `>` may stand inside quotes
_SOURCE_ROUTE: Final = re.compile(r"@[^:@]+(?:,@[^:@]+)*:(?=.)")
# General-address-literal, without the brackets that could not be told from those around the path.
_GENERAL_LITERAL: Final = re.compile(r"[A-Za-z0-9-]*[A-Za-z0-9]:[!#-;=?-Z^-~]+")


class AddressError(ValueError):
    """Not an address. The text is one short ASCII sentence, fit for a reply; it never repeats the peer's words.

    `status` is the subject and detail of the enhanced status code that says the same (RFC 3463 §3.2): "1.3" bad
    destination mailbox, "1.7" bad sender's mailbox, "6.7" non-ASCII without SMTPUTF8 (RFC 6531 §3.5), "5.4" bad HELO.
    """

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


class Path:
    """A mailbox in the envelope: the common part of reverse-path and forward-path. Never changed once made.

    `text` is the mailbox as spelled, without angle brackets and source route. `local` is its local part as spelled,
    quotes included. `domain` is in lower case, "" where there is none; a literal keeps its brackets.
    """

    __slots__ = ("domain", "local", "text")

    error_status: ClassVar[str]

    def __init__(self, text: str, local: str, domain: str) -> None:
        self.text = text
        self.local = local
        self.domain = domain

    @classmethod
    def parse(cls, text: str, utf8: bool = False) -> Self:
        """The path spelled by `text`, a mailbox without angle brackets and source route; AddressError if it is none."""
        if (path := cls._without_domain(text)) is not None:
            return path
        if not utf8 and not text.isascii():
            raise _needs_utf8()
        local, domain = _split(text, cls.error_status)
        return cls(text, local, domain.lower())

    @classmethod
    def _without_domain(cls, text: str) -> Self | None:
        """The path that this kind allows without a domain, if `text` spells it."""
        raise NotImplementedError

    @property
    def key(self) -> str:
        """The identity of the mailbox: the same for all spellings that mean the same (contract T48)."""
        if not self.domain:
            return self.local.lower()  # RFC 5321 §4.1.1.3: <Postmaster> in any case; the null reverse-path is ""
        local = _canonical(self.local) if self.local.startswith('"') else self.local
        if len(local) == len(POSTMASTER) and local.lower() == POSTMASTER:
            local = POSTMASTER
        return f"{local}@{self.domain}"

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
    if match is None or match.end() - start > _COMMON_LIMIT:
        return _scan_any_path(line, start, kind, utf8)
    octets, more_octets = match.groups()
    local = octets.decode()
    domain = more_octets.decode()
    return kind(f"{local}@{domain}", local, domain.lower()), match.end()


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


def parse_hello(text: bytes) -> str:
    """The argument of HELO or EHLO as spelled, without blanks after it: a domain or an address literal.

    RFC 5321 §4.1.1.1. A single label and underscores are accepted: hosts do call themselves so, and refusing the name
    would refuse all their mail. Raises AddressError.
    """
    name = text.rstrip(b" \t")
    if not name.isascii():
        raise AddressError("The name may only have ASCII characters", "5.4")
    hello = name.decode()
    _check_domain(hello, "5.4")
    return hello


def _without_route(text: str, status: str) -> str:
    """`user@c` from `@a,@b:user@c`."""
    if not text.startswith("@"):
        return text
    match = _SOURCE_ROUTE.match(text)
    if match is None:
        raise AddressError("The source route is malformed", status)
    for host in match[0][1:-1].split(",@"):
        _check_domain(host, status)
    return text[match.end() :]


def _split(text: str, status: str) -> tuple[str, str]:
    """Local part and domain of a mailbox, both found to be right."""
    if text.startswith('"'):
        quoted = _QUOTED_STRING.match(text)
        place = quoted.end() if quoted else -1
    else:
        place = text.find("@")
    if place < 0 or text[place : place + 1] != "@":
        raise AddressError("The address needs a local part, @ and a domain", status)
    local, domain = text[:place], text[place + 1 :]
    _check_local_part(local, status)
    _check_domain(domain, status)
    return local, domain


def _check_local_part(local: str, status: str) -> None:
    if not local.startswith('"') and not _DOT_STRING.fullmatch(local):
        raise AddressError("The local part has a character or a dot where none may stand", status)
    if len(local.encode()) > LOCAL_PART_LIMIT:
        raise AddressError("The local part is too long", status)


def _check_domain(domain: str, status: str) -> None:
    if domain.startswith("["):
        if not _is_literal(domain):
            raise AddressError("The address literal is malformed", status)
    elif not _DOMAIN.fullmatch(domain):
        if not domain or domain.startswith(".") or domain.endswith(".") or ".." in domain:
            raise AddressError("The domain is empty or has an empty label", status)
        raise AddressError("The domain has a character where none may stand", status)
    if len(domain.encode()) > DOMAIN_LIMIT:
        raise AddressError("The domain is too long", status)


def _is_literal(domain: str) -> bool:
    """Whether this is an address literal, brackets included (RFC 5321 §4.1.3)."""
    if not domain.endswith("]"):
        return False
    literal = domain[1:-1]
    tag, colon, address = literal.partition(":")
    try:
        if not colon:
            IPv4Address(literal)
        elif tag.lower() == "ipv6":
            return IPv6Address(address).scope_id is None
        else:
            return _GENERAL_LITERAL.fullmatch(literal) is not None
    except AddressValueError:
        return False
    return True


def _canonical(quoted: str) -> str:
    """The one spelling of a quoted local part: without quotes if it can be, else with the fewest backslashes."""
    plain = _QUOTED_PAIR.sub(r"\1", quoted[1:-1])
    if _DOT_STRING.fullmatch(plain):
        return plain
    return '"' + _MUST_BE_QUOTED.sub(r"\\\1", plain) + '"'


def _needs_utf8() -> AddressError:
    return AddressError("The address has non-ASCII characters, which need SMTPUTF8", "6.7")

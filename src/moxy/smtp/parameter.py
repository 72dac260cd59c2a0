"""The parameters of MAIL and RCPT: the grammar of each, and the extension that makes it legal.

A new parameter is a row in `MAIL_PARAMETERS` or `RCPT_PARAMETERS` and, unless it is always understood, one in
`EXTENSION_OF`. Whether its extension was offered is decided by who knows (`inbound.conversation`); whether a
destination has it, where MAIL and RCPT are built anew (`outbound.parameters`).

RFC 5321 §4.1.1.11 and, for each value, the RFC that stands at its pattern.

Bugs: of ORCPT with the address type `utf-8` only the characters are checked, not what `\\x{...}` stands for (RFC 6533
§3). The day of a date may be one that its month does not have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from moxy.smtp import replies, xtext
from moxy.smtp.address import AddressError, ReversePath
from moxy.smtp.domain import BEYOND
from moxy.smtp.reply import Reply

NONE: Final[Mapping[str, str]] = MappingProxyType({})
"""No parameters: what nearly all commands have, shared by all of them."""

BINARY: Final = "BINARYMIME"
"""The value of BODY= for content that is no lines (RFC 3030 §3), and the extension that it needs."""

UTF8: Final = "SMTPUTF8"
"""The parameter of MAIL that allows addresses beyond ASCII (RFC 6531 §3.4), and its extension."""

MAX_SIZE_DIGITS: Final = 20  # RFC 1870 §3: size-value ::= 1*20DIGIT

ENVID_LIMIT: Final = 100
"""Characters (RFC 3461 §4.4)."""

ORCPT_LIMIT: Final = 500
"""Characters (RFC 3461 §4.2)."""

AUTH_LIMIT: Final = 500
"""Characters by which AUTH= may lengthen MAIL (RFC 4954 §3)."""


def is_size(value: str) -> bool:
    """Is it a number of octets as RFC 1870 §3 writes it?"""
    return value.isascii() and value.isdigit() and len(value) <= MAX_SIZE_DIGITS


def _body(value: str) -> bool:
    """RFC 6152 §2, RFC 3030 §3."""
    return value.upper() in ("7BIT", "8BITMIME", BINARY)


def _like(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.ASCII | re.IGNORECASE)
    return lambda value: compiled.fullmatch(value) is not None


def _no_value(value: str) -> bool:
    return not value


def _envid(value: str) -> bool:
    """RFC 3461 §4.4: what was encoded is printable ASCII and blanks."""
    return len(value) <= ENVID_LIMIT and xtext.is_xtext(value) and _PRINTABLE.fullmatch(xtext.decode(value)) is not None


def _orcpt(value: str) -> bool:
    """RFC 3461 §4.2; RFC 6533 §3 for the type `utf-8`, which may have other characters as they are.

    What was encoded may have octets above ASCII: so Postfix 3.7 writes jürgen with the type `rfc822`, and it would
    bounce all mail for him if that were refused.
    """
    kind, semicolon, address = value.partition(";")
    if len(value.encode()) > ORCPT_LIMIT or not semicolon or not address or not _ATOM.fullmatch(kind):
        return False
    if kind.lower() == "utf-8" and not address.isascii():
        return _UNITEXT.fullmatch(address) is not None
    return xtext.is_xtext(address) and _ORIGINAL.fullmatch(xtext.decode(address)) is not None


def _auth(value: str) -> bool:
    """RFC 4954 §5: who submitted the message, or `<>` where that is not known."""
    if len(value) > AUTH_LIMIT or not xtext.is_xtext(value):
        return False
    try:
        mailbox = xtext.decode(value).decode()
        return mailbox == "<>" or not ReversePath.parse(mailbox, utf8=True).is_null
    except (UnicodeDecodeError, AddressError):
        return False


_ATOM: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+")
_PRINTABLE: Final = re.compile(rb"[ -~]+")
_ORIGINAL: Final = re.compile(rb"[ -~\x80-\xff]+")
_UNITEXT: Final = re.compile(rf"[!-*,-<>-~{BEYOND}]+")
_DATE: Final = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]{1,9})?"
_ZONE: Final = r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"

Parameters = Mapping[str, Callable[[str], bool]]
"""Keywords in upper case, and whether a value is right; "" where there is none."""

MAIL_PARAMETERS: Final[Parameters] = {
    "SIZE": is_size,
    "BODY": _body,
    "PRDR": _no_value,  # draft-hall-prdr §4.2
    UTF8: _no_value,  # RFC 6531 §3.4
    "RET": _like("FULL|HDRS"),  # RFC 3461 §4.3
    "ENVID": _envid,  # RFC 3461 §4.4
    "AUTH": _auth,  # RFC 4954 §5
    "REQUIRETLS": _no_value,  # RFC 8689 §2
    "BY": _like(r"[+-]?[0-9]{1,9};NT?|\+?0*[1-9][0-9]{0,8};RT?"),  # RFC 2852 §4: `R` needs time that is left
    "HOLDFOR": _like("[1-9][0-9]{0,8}"),  # RFC 4865 §3
    "HOLDUNTIL": _like(f"{_DATE}T{_TIME}{_ZONE}"),  # RFC 4865 §3; RFC 3339 §5.6
    "MT-PRIORITY": _like("-?[1-9]|0"),  # RFC 6710 §5
}
RCPT_PARAMETERS: Final[Parameters] = {
    "NOTIFY": _like("NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY))*"),  # RFC 3461 §4.1
    "ORCPT": _orcpt,
}

EXTENSION_OF: Final[Mapping[str, str]] = {
    UTF8: UTF8,
    "RET": "DSN",
    "ENVID": "DSN",
    "NOTIFY": "DSN",
    "ORCPT": "DSN",
    "REQUIRETLS": "REQUIRETLS",
    "BY": "DELIVERBY",
    "HOLDFOR": "FUTURERELEASE",
    "HOLDUNTIL": "FUTURERELEASE",
    "MT-PRIORITY": "MT-PRIORITY",
}
"""The extension that a parameter came with, but for those that `command.Mail` has as fields. AUTH has none: it is
understood in any case.
"""


def parse_parameters(text: bytes, legal: Parameters) -> dict[str, str] | Reply:
    """Read the parameters behind a path (`SIZE=1000 BODY=8BITMIME`); the keywords come out in upper case.

    Returns the reply to give where one is unknown (555), repeated or ill-formed (501): RFC 5321 §4.1.1.11.
    """
    parameters: dict[str, str] = {}
    try:
        words = text.decode("ascii").split() if text.isascii() else [word.decode() for word in text.split()]
    except UnicodeDecodeError:
        return replies.BAD_PARAMETERS
    for word in words:
        keyword, equals, value = word.partition("=")
        keyword = keyword.upper()
        check = legal.get(keyword)
        if check is None:
            return replies.UNKNOWN_PARAMETER
        if keyword in parameters or (equals and not value) or not check(value):
            return replies.BAD_PARAMETERS
        parameters[keyword] = value
    if "HOLDFOR" in parameters and "HOLDUNTIL" in parameters:  # RFC 4865 §3: one of them
        return replies.BAD_PARAMETERS
    return parameters

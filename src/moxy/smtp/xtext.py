"""xtext: any octets as printable ASCII without blanks, so that they fit into a command's parameter (RFC 3461 §4).

Octets from `!` to `~` stand for themselves, but for `+` and `=`; every other one is `+` and two hexadecimal digits.
ENVID, ORCPT and AUTH= are written so (RFC 3461 §4.2, §4.4; RFC 4954 §5), and the attributes of XCLIENT and XFORWARD.
"""

from __future__ import annotations

import re
from typing import Final

_XTEXT: Final = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HEXCHAR: Final = re.compile(rb"\+([0-9A-Fa-f]{2})")
_NOT_AN_XCHAR: Final = re.compile(rb"[^!-*,-<>-~]")


def encode(octets: bytes) -> str:
    """Write octets as xtext."""
    return _NOT_AN_XCHAR.sub(lambda found: b"+%02X" % found[0][0], octets).decode("ascii")


def decode(text: str) -> bytes:
    """Read xtext. Raises ValueError for what is none."""
    if not is_xtext(text):
        raise ValueError("not xtext")
    return decode_leniently(text.encode("ascii"))


def decode_leniently(octets: bytes) -> bytes:
    """Read xtext as Postfix does: digits in either case, and what is no hexchar stands for itself."""
    return _HEXCHAR.sub(lambda found: bytes((int(found[1], 16),)), octets)


def is_xtext(text: str) -> bool:
    """Is it xtext by the grammar? The empty text is."""
    return _XTEXT.fullmatch(text) is not None

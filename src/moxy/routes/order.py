"""The search order of every route table, and the one spelling in which keys are kept.

Rules: pure functions. What `candidates` yields and what `normal_key` returns meet in a table by plain equality, so the
two must always agree; a property test holds them together.

RFC 5321 §2.3.11, §2.4 (local parts keep their case, domains have none), §4.1.2 (syntax), §4.5.1 (`postmaster` alone);
RFC 5890 (an internationalized domain may be written with U-labels or with A-labels, `xn--...`, which are kept).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from moxy.routes.wording import shown
from moxy.smtp.address import ForwardPath
from moxy.smtp.domain import DOMAIN_LIMIT, canonical

ANY: Final = "*"
"""The key that matches every forward-path."""

# A domain that is in its normal spelling already: nearly every line of a table of a million.
_NORMAL_DOMAIN: Final = re.compile(r"[a-z0-9_]++(?:(?:\.|-++)[a-z0-9_]++)*")


def candidates(path: ForwardPath) -> Iterator[str]:
    """The keys under which a table may know `path`, most specific first.

    For user@a.example.org: `user@a.example.org`, `a.example.org`, `.example.org`, `.org`, `*`.
    An address literal has no parent domains. The bare `<Postmaster>` has no domain at all: `postmaster`, `*`.
    """
    yield path.key
    domain = path.domain
    if domain:
        yield domain
    if not domain.startswith("["):
        dot = domain.find(".")
        while dot >= 0:
            yield domain[dot:]
            dot = domain.find(".", dot + 1)
    yield ANY


def normal_key(text: str) -> str:
    """The table key `text` (`user@domain`, `domain`, `.domain` or `*`) in the spelling that `candidates` uses.

    Raises ValueError, with a text fit for the table's author, if it is none of these.
    """
    if text == ANY or (_NORMAL_DOMAIN.fullmatch(text) and len(text) <= DOMAIN_LIMIT):
        return text
    if text.startswith("*."):
        raise ValueError(f"all sub-domains of a domain are written {shown(text[1:])}")
    if text.startswith("@"):
        raise ValueError(f"all addresses of a domain are written {shown(text[1:])}")
    if "@" in text:
        return ForwardPath.parse(text, utf8=True).key
    if text.startswith(".") and not text.startswith(".["):
        return "." + _normal_domain(text[1:])
    return _normal_domain(text)


def _normal_domain(text: str) -> str:
    try:
        return canonical(text)
    except ValueError:
        raise ValueError("expected a domain, `.domain`, user@domain or `*`") from None

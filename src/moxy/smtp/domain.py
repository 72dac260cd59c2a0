"""Domains and address literals: their grammar, and the one spelling by which two of them are compared.

    mail.Example.org        mail.example.org
    bücher.example          xn--bcher-kva.example       U-labels become A-labels (RFC 5890 §2.3.2.1)
    [IPv6:2001:DB8:0::1]    [ipv6:2001:db8::1]

Rules:
- `canonical` of its own result is the same again; two spellings of one domain have the same, so U-labels and A-labels
  are equal (contract T48).
- What is ASCII is only put in lower case, whatever IDNA thinks of it: underscores and A-labels that mean nothing are in
  use. U-labels are mapped as browsers and Postfix do (UTS #46, non-transitional) and must be right by IDNA2008.

RFC 5321 §4.1.2, §4.1.3; RFC 5890, RFC 5891 §4 (U-labels); RFC 5952 §4, §5 (IPv6 addresses as text).
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

DOMAIN_LIMIT: Final = 255
"""Octets (RFC 5321 §4.5.3.1.2)."""

LETTERS: Final = "A-Za-z0-9_"
"""Let-dig, and the underscore, which hosts do have in their names."""

BEYOND: Final = "\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"
"""RFC 6531 §3.3 (UTF8-non-ascii), without C1 controls, the Unicode line ends, and what is no character."""

MALFORMED: Final = "The domain has a character where none may stand"


def labels(characters: str) -> str:
    """The pattern of a domain whose labels are made of these characters and of hyphens between them.

    Only single characters are repeated possessively: before Python 3.11.5, `re` lets a possessive group that fails keep
    what it had already consumed. The groups cannot match in two ways, so nothing is slow for it.
    """
    label = rf"[{characters}]++(?:-++[{characters}]++)*"
    return rf"{label}(?:\.{label})*"


_DOMAIN: Final = re.compile(labels(LETTERS + BEYOND))
# General-address-literal, without the brackets that could not be told from those around the path.
_GENERAL_LITERAL: Final = re.compile(r"[A-Za-z0-9-]*[A-Za-z0-9]:[!#-;=?-Z^-~]+")


def canonical(domain: str) -> str:
    """The one spelling of a domain, or of an address literal with its brackets.

    Raises ValueError for what is neither; its text is a short ASCII sentence, fit for a reply.
    """
    if domain.startswith("["):
        literal = _literal(domain)
    else:
        literal = _checked(domain).lower()
        if not literal.isascii():
            literal = _checked(_with_a_labels(domain))
    if len(domain.encode()) > DOMAIN_LIMIT or len(literal) > DOMAIN_LIMIT:
        raise ValueError("The domain is too long")
    return literal


def _checked(domain: str) -> str:
    if not _DOMAIN.fullmatch(domain):
        if not domain or domain.startswith(".") or domain.endswith(".") or ".." in domain:
            raise ValueError("The domain is empty or has an empty label")
        raise ValueError(MALFORMED)
    return domain


def _with_a_labels(domain: str) -> str:
    import idna  # it takes longer to load than many a command to run, and hardly any mail needs it

    if len(domain) > DOMAIN_LIMIT:
        raise ValueError("The domain is too long")
    try:
        mapped = idna.uts46_remap(domain, std3_rules=False)
        return ".".join([label if label.isascii() else idna.alabel(label).decode() for label in mapped.split(".")])
    except idna.IDNAError:
        raise ValueError("The domain has a label that no internationalized domain name may have") from None


def _literal(domain: str) -> str:
    """An address literal, brackets included (RFC 5321 §4.1.3)."""
    tag, colon, address = domain[1:-1].partition(":")
    try:
        if not domain.endswith("]"):
            raise AddressValueError
        if not colon:
            IPv4Address(tag)
        elif tag.lower() == "ipv6":
            return f"[ipv6:{_ipv6(address)}]"
        elif not _GENERAL_LITERAL.fullmatch(domain[1:-1]):
            raise AddressValueError
    except AddressValueError:
        raise ValueError("The address literal is malformed") from None
    return domain.lower()


def _ipv6(text: str) -> str:
    address = IPv6Address(text)
    if address.scope_id is not None:
        raise AddressValueError
    mapped = address.ipv4_mapped  # `str` writes these in one way up to Python 3.12, and in another from 3.13 on
    return str(address) if mapped is None else f"::ffff:{mapped}"

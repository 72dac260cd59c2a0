"""Peers' text made harmless: no control character of a stranger may break a line of a log or steer a terminal.

Rules: what is printable stays as it is, blanks and backslashes included; everything else is written as `\\xNN`, one for
each octet of its UTF-8 form. The result holds no line end of any kind that Unicode knows.

Bugs: not reversible. A peer who writes a backslash, `x0a` cannot be told from one who sent a line feed.
"""

from __future__ import annotations


def escaped(text: str) -> str:
    """`text` with each character that is not printable as `\\xNN`."""
    if text.isprintable():
        return text
    return "".join([character if character.isprintable() else _octets(character) for character in text])


def _octets(character: str) -> str:
    # surrogatepass: octets that were no UTF-8 may have come to us as lone surrogates, and a log must take anything.
    return "".join([f"\\x{octet:02x}" for octet in character.encode("utf-8", "surrogatepass")])

"""Envelope and Recipient: who sends to whom (RFC 5321 §2.3.1)."""

from __future__ import annotations

from collections.abc import Mapping

from moxy.smtp.address import ForwardPath, ReversePath
from moxy.smtp.parameter import NONE, UTF8


class Recipient:
    """A forward-path asked for in a transaction. Compared by identity: the same path may come twice (T47).

    `parameters` are those of its RCPT (NOTIFY, ORCPT; RFC 3461), their keywords in upper case.
    """

    __slots__ = ("parameters", "path")

    def __init__(self, path: ForwardPath, parameters: Mapping[str, str] = NONE) -> None:
        self.path = path
        self.parameters = parameters

    def __repr__(self) -> str:
        return f"Recipient({self.path})"


class Envelope:
    """The envelope but for its recipients: one reverse-path and its MAIL parameters.

    `size` is SIZE= as the client declared it (octets, 0 if none; RFC 1870), `body` its BODY= ("" if none; RFC 6152).
    `each`: the client takes a verdict for each recipient after the final dot (PRDR, LMTP). `parameters` are all others,
    their keywords in upper case; `utf8`: one is SMTPUTF8, so addresses, the message's header and replies may be beyond
    ASCII (RFC 6531). `chunked`: content comes by BDAT (RFC 3030); that is known when it begins.
    """

    __slots__ = ("body", "chunked", "each", "id", "parameters", "reverse_path", "size", "utf8")

    def __init__(
        self,
        id: str,
        reverse_path: ReversePath,
        size: int = 0,
        body: str = "",
        each: bool = False,
        parameters: Mapping[str, str] = NONE,
    ) -> None:
        self.id = id
        self.reverse_path = reverse_path
        self.size = size
        self.body = body
        self.each = each
        self.parameters = parameters
        self.utf8 = bool(parameters) and UTF8 in parameters
        self.chunked = False

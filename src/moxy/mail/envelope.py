"""Envelope and Recipient: who sends to whom (RFC 5321 §2.3.1)."""

from __future__ import annotations

from moxy.smtp.address import ForwardPath, ReversePath


class Recipient:
    """A forward-path asked for in a transaction. Compared by identity: the same path may come twice (T47)."""

    __slots__ = ("path",)

    def __init__(self, path: ForwardPath) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Recipient({self.path})"


class Envelope:
    """The envelope but for its recipients: one reverse-path and its MAIL parameters.

    `size` is SIZE= as the client declared it (octets, 0 if none; RFC 1870), `body` its BODY= ("" if none; RFC 6152).
    `each`: the client takes a verdict for each recipient after the final dot (PRDR, LMTP).
    """

    __slots__ = ("body", "each", "id", "reverse_path", "size")

    def __init__(
        self,
        id: str,
        reverse_path: ReversePath,
        *,
        size: int = 0,
        body: str = "",
        each: bool = False,
    ) -> None:
        self.id = id
        self.reverse_path = reverse_path
        self.size = size
        self.body = body
        self.each = each

"""Session: the facts about one client connection (RFC 5321 §3.1). No behaviour of the wire, no sockets."""

from __future__ import annotations

from collections.abc import Callable


class Session:
    """What is known of the client that is connected.

    `client` and `client_port` are the peer's address (no brackets, no zone) and port, `local` and `local_port` ours.
    `hello` is the argument of the last HELO or EHLO, empty before it; `extended` is true after EHLO.
    `tls` says whether the connection is encrypted now.
    """

    __slots__ = ("client", "client_port", "endings", "extended", "hello", "id", "local", "local_port", "tls")

    def __init__(self, id: str, client: str, client_port: int = 0, local: str = "", local_port: int = 0) -> None:
        self.id = id
        self.client = client
        self.client_port = client_port
        self.local = local
        self.local_port = local_port
        self.hello = ""
        self.extended = False
        self.tls = False
        self.endings: list[Callable[[], None]] = []

    @property
    def protocol(self) -> str:
        """The `with` keyword of the trace field (RFC 3848)."""
        if not self.extended:
            return "SMTP"
        return "ESMTPS" if self.tls else "ESMTP"

    def at_end(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once when the client's connection has ended (connections leased for a session)."""
        self.endings.append(callback)

    def end(self) -> None:
        """Call every `at_end` callback, once."""
        endings, self.endings = self.endings, []
        for callback in endings:
            callback()

"""Session: the facts about one client connection (RFC 5321 §3.1). No behaviour of the wire, no sockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

NOTHING: Final[Mapping[str, str]] = {}


def _nowhere() -> tuple[str, int]:
    return "", 0


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """How a connection is encrypted: `version` and `cipher` in OpenSSL's words (`TLSv1.3`, `TLS_AES_256_GCM_SHA384`).

    `subject` and `sha256` are of the peer's certificate, if it has shown one and that was verified: its name as RFC
    4514 writes it, and the fingerprint in lower-case hexadecimal digits; else both are empty.
    """

    version: str
    cipher: str
    subject: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.version} {self.cipher}"


class Session:
    """What is known of the client that is connected.

    `client` and `client_port` are the peer's address (no brackets, no zone) and port; "" and 0 behind a Unix socket.
    `hello` is the argument of the last HELO, EHLO or LHLO, empty before it; `extended` is true after EHLO and LHLO.
    `tls` says whether the client's connection is encrypted now, `security` how, if it ends here (it may end at a
    proxy); `over` whether the client is gone, `lmtp` whether it speaks LMTP (RFC 2033) instead of SMTP. `server()` is
    the address and port that it has connected to, as far as that is known: a question, since few want to know. `told`
    is all that a trusted proxy has said of it in XCLIENT, by attribute; LOGIN and NAME stand nowhere else.
    """

    __slots__ = (
        "client", "client_port", "endings", "extended", "hello", "id", "lmtp", "over", "security", "server",
        "tls", "told",
    )  # fmt: skip

    def __init__(self, id: str, client: str, client_port: int = 0, *, lmtp: bool = False) -> None:
        self.id = id
        self.client = client
        self.client_port = client_port
        self.server: Callable[[], tuple[str, int]] = _nowhere
        self.told = NOTHING
        self.lmtp = lmtp
        self.hello = ""
        self.extended = False
        self.tls = False
        self.security: TlsFacts | None = None
        self.over = False
        self.endings: list[Callable[[], None]] = []

    @property
    def protocol(self) -> str:
        """The `with` keyword of the trace field (RFC 3848)."""
        if self.lmtp:
            return "LMTPS" if self.tls else "LMTP"
        if not self.extended:
            return "SMTP"
        return "ESMTPS" if self.tls else "ESMTP"

    def at_end(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once when the client's connection has ended; now, if it has already."""
        if self.over:
            callback()
        else:
            self.endings.append(callback)

    def end(self) -> None:
        """The client is gone: call every `at_end` callback, once."""
        self.over = True
        endings, self.endings = self.endings, []
        for callback in endings:
            callback()

"""The destination by script, with STARTTLS or implicit TLS, and AUTH; and how to speak with it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from moxy.net.tlsclient import TlsClient, Trust
from moxy.outbound.settings import Encryption, Settings
from support.certificates import Issued, authority, issue
from support.destination import GOOD, Answer, Destination, Phase, Talk
from support.ports import LOOPBACK

NAME = "destination.test"
"""Whose certificate it has."""

AUTHORITY = "Test Authority"


def server_context(issued: Issued, *, clients: Issued | None = None, short_key: bool = False) -> ssl.SSLContext:
    """What a server with this certificate needs. With `clients`, a client must show a certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if short_key:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with TemporaryDirectory() as directory:
        context.load_cert_chain(*issued.write(Path(directory), "server"))
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.pem.decode())
    return context


class TlsDestination(Destination):
    """A destination that speaks TLS, and lets itself be told who we are."""

    def __init__(self, context: ssl.SSLContext, *, implicit: bool = False) -> None:
        super().__init__()
        self.context = context
        self.implicit = implicit
        self.starttls: Answer = "220 2.0.0 go"
        self.auth: list[Answer | Callable[[str], Answer]] = []
        """What is answered to AUTH, and to each line behind it until one of them is no 334."""
        self.mechanisms = ""
        """Those announced, inside TLS or not."""
        self.answers[Phase.EHLO] = self._ehlo
        self.handshakes_failed = 0

    def _ehlo(self, line: str) -> Answer:
        del line
        talk = cast("TlsTalk", self.talks[-1])
        more = "" if talk.encrypted else "250-STARTTLS\r\n"
        more += f"250-AUTH {self.mechanisms}\r\n" if self.mechanisms else ""
        return cast("str", GOOD[Phase.EHLO]).replace("250 8BITMIME", f"{more}250 8BITMIME")

    def new_talk(self) -> Talk:
        return TlsTalk(self)

    async def start(self, port: int = 0, path: str = "") -> None:
        if not self.implicit:
            await super().start(port, path)
            return
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self.new_talk, LOOPBACK, port, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]


class TlsTalk(Talk):
    """One connection to it."""

    destination: TlsDestination
    beneath: asyncio.Transport
    """The connection itself, beneath TLS."""

    def __init__(self, destination: TlsDestination) -> None:
        super().__init__(destination)
        self.encrypted = destination.implicit
        self.in_clear: list[str] = []
        """What it was told before TLS."""
        self.authenticated = False
        self._asked: list[Answer | Callable[[str], Answer]] = []
        self._shaking: asyncio.Task[None] | None = None
        self._waiting = b""

    @property
    def resumed(self) -> bool:
        return bool(self.transport.get_extra_info("ssl_object").session_reused)

    @property
    def shown(self) -> dict[str, object]:
        """The certificate that we showed."""
        return self.transport.get_extra_info("ssl_object").getpeercert() or {}

    def data_received(self, data: bytes) -> None:
        if self._shaking is not None and not self.encrypted:
            self._waiting += data  # from inside TLS already: a loop may tell before `start_tls` returns
        else:
            super().data_received(data)

    def _obey(self, line: str) -> None:
        if self._asked:
            self._challenge(line)
            return
        match line.split(" ")[0]:
            case "STARTTLS":
                self.lines.append(line)
                self.act(self.destination.starttls)
                if str(self.destination.starttls).startswith("220"):
                    self.transport.pause_reading()
                    self._shaking = asyncio.get_running_loop().create_task(self._shake_hands())
            case "AUTH":
                self._asked = list(self.destination.auth)
                self._challenge(line)
            case _:
                super()._obey(line)
        if not self.encrypted:
            self.in_clear.append(line)

    def _challenge(self, line: str) -> None:
        self.lines.append(line)
        choice = self._asked.pop(0) if self._asked else "535 5.7.8 no"
        answer = choice(line) if callable(choice) else choice
        if not str(answer).startswith("334"):
            self._asked = []
        self.authenticated |= str(answer).startswith("235")
        self.act(answer)

    async def _shake_hands(self) -> None:
        loop = asyncio.get_running_loop()
        self.beneath = self.transport
        try:
            made = await loop.start_tls(self.transport, self, self.destination.context, server_side=True)
        except OSError:
            made = None
        if made is None or made.is_closing():
            self.destination.handshakes_failed += 1
            self.transport.abort()
            self.over = True
        else:
            self.transport, self.encrypted = made, True
            self.data_received(self._waiting)


@asynccontextmanager
async def running_tls_destination(
    context: ssl.SSLContext | None = None, *, implicit: bool = False, lmtp: bool = False, path: str = ""
) -> AsyncIterator[TlsDestination]:
    """One that says yes to everything; its certificate is for NAME, by the test's authority, unless told otherwise."""
    destination = TlsDestination(context or server_context(issue(NAME)), implicit=implicit)
    destination.lmtp = lmtp
    await destination.start(path=path)
    try:
        yield destination
    finally:
        await destination.stop()


def trusting(by: str = AUTHORITY, **trust: object) -> TlsClient:
    """A client that judges certificates, and trusts that authority."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "authority.pem"
        file.write_bytes(authority(by).pem)
        return TlsClient(Trust(judged=True, authorities=file, **trust))  # type: ignore[arg-type]


OPPORTUNISTIC = "opportunistic"
REQUIRED = "required"
VERIFIED = "verified"


def settings(policy: str, *, name: str = NAME, by: str = AUTHORITY, **more: object) -> Settings:
    """Settings for a policy of the configuration; `more` are fields of Encryption, or of Settings."""
    client = trusting(by) if policy == VERIFIED else TlsClient(Trust())
    wanted = Encryption(client, optional=policy == OPPORTUNISTIC, name=name)
    own = {key: more.pop(key) for key in ("client", "implicit") if key in more}
    return replace(Settings(**more), encryption=replace(wanted, **own))  # type: ignore[arg-type]

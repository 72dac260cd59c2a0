"""`moxy sink`: a mail server that shows every message it gets, and forgets it. With --refuse it plays one that refuses.

Exit status: 0 when it was told to stop or has had its messages, 1 when it could not start, 2 for wrong usage.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import click

from moxy.accounting import operatorlog
from moxy.cli.arguments import checked
from moxy.cli.receiving import SinkServer, unprivileged
from moxy.config import values
from moxy.config.values import Endpoint
from moxy.errors import MoxyError
from moxy.net import listening
from moxy.net.listening import Listener, SocketFile
from moxy.process import privileges
from moxy.process.privileges import Identity
from moxy.smtp.reply import Phase, Reply, ReplyError, ReplyParser


def _refusals(
    context: click.Context,  # noqa: ARG001
    parameter: click.Parameter,  # noqa: ARG001
    pairs: tuple[tuple[str, str], ...],
) -> dict[Phase, Reply]:
    return {Phase(phase): refusal(text) for phase, text in pairs}


def refusal(text: str) -> Reply:
    """The reply that `550 5.1.1 No such user` spells. Raises click.BadParameter unless it is a 4xx or 5xx."""
    parser = ReplyParser()
    parser.feed(text.encode(errors="replace") + b"\r\n")
    try:
        reply = parser.next()
    except ReplyError:
        reply = None
    if reply is None or parser.pending or not (reply.transient or reply.permanent):
        raise click.BadParameter(f"expected a refusal such as `550 5.1.1 No such user`, not `{text}`")
    return reply


@click.command("sink")
@click.option(
    "--listen",
    default="127.0.0.1:2526",
    callback=checked(values.endpoint),
    metavar="HOST:PORT",
    show_default=True,
    help="Where to listen; port 0 takes a free one. `unix:PATH` is a Unix socket.",
)
@click.option("--lmtp", is_flag=True, help="Speak LMTP.")
@click.option("--name", "label", default="sink", metavar="LABEL", show_default=True, help="What its lines begin with.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N messages.")
@click.option("--json", "as_json", is_flag=True, help="Show messages as lines of JSON.")
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIRECTORY",
    help="Keep each message as a file there.",
)
@click.option(
    "--refuse",
    multiple=True,
    callback=_refusals,
    metavar="PHASE REPLY",
    type=(click.Choice([phase.value for phase in Phase]), str),
    help="Refuse at a phase (rcpt, data or final): --refuse rcpt '550 5.1.1 No such user'.",
)
@click.option("--runas", default="", metavar="USER", help="Whom root becomes; `nobody` if not told.")
def sink(
    listen: Endpoint,
    lmtp: bool,
    label: str,
    count: int | None,
    as_json: bool,
    save: Path | None,
    refuse: dict[Phase, Reply],
    runas: str,
) -> None:
    """Receive mail, show each message, forget it."""
    operatorlog.configure("warning")
    user = unprivileged(runas)
    sockets, file = _listen(listen, user)
    directory = _open_directory(save, user) if save is not None else None
    listeners = [Listener(listener, lmtp) for listener in sockets]
    server = SinkServer(label, listeners, refuse, as_json, directory, count)
    if user is not None:
        privileges.drop(user)
    server.announce()
    try:
        server.run((signal.SIGTERM, signal.SIGINT))
    finally:
        if file is not None:
            file.remove()


def _listen(place: Endpoint, user: Identity | None) -> tuple[list[socket.socket], SocketFile | None]:
    """The sockets, and the file of a Unix socket, which belongs to `user`. Raises MoxyError."""
    if not place.local:
        return listening.bind([(place.host, place.port)]), None
    listener, file = listening.bind_unix(place.host, owner=(user.uid, user.gid) if user is not None else None)
    return [listener], file


def _open_directory(path: Path, user: Identity | None) -> int:
    """Make the directory if need be, for `user`, and open it while we may. Raises MoxyError."""
    try:
        if not path.exists():
            path.mkdir()
            if user is not None:
                os.chown(path, user.uid, user.gid)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise MoxyError(f"cannot save messages in {path}: {error.strerror}") from error

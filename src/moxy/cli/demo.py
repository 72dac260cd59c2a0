"""`moxy demo`: Moxy before two sinks that show what they receive. What `./run` alone starts.

The sinks are processes of their own: forked while everything is loaded and before an event loop exists, because after
the drop of privileges the interpreter and this checkout may lie where nobody can read. All sockets are bound before.
A sink ends when we tell it to, or when its end of a pipe says that we are gone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click

from moxy.accounting import operatorlog
from moxy.cli.receiving import SinkServer, unprivileged
from moxy.config.load import loads
from moxy.config.schema import Config
from moxy.net import listening
from moxy.net.listening import Listener
from moxy.process import privileges, start
from moxy.process.listeners import Listeners
from moxy.process.privileges import Identity

DOMAINS: Final = ("one.test", "two.test")
"""Names that can never be anybody's (RFC 6761 §6.2)."""

LOOPBACK: Final = "127.0.0.1"

CONFIGURATION: Final = """\
hostname = "moxy.test"

[listener.demo]
listen = ["{address}:{port}"]

[routes.demo]
kind = "file"
path = "moxy.db"
"""

WELCOME: Final = """\
Moxy listens on {address}:{port} and sends mail on by its domain:
{routes}
Try it, in another terminal:

  ./run moxy send {server}--to alice@{first} --to bob@{second}

Ctrl-C stops it all. What the sinks receive is shown here:
"""


@click.command("demo")
@click.option("--port", default=2525, type=click.IntRange(0, 65535), show_default=True, help="Where Moxy listens.")
def demo(port: int) -> None:
    """Run Moxy before two sinks that show what they receive."""
    operatorlog.configure("warning")
    user = unprivileged()
    sinks = dict(zip(DOMAINS, listening.bind((LOOPBACK, 0) for _ in DOMAINS), strict=True))
    with _directory(user) as directory:
        config = _configure(directory, port, sinks)
        listeners = Listeners(config).all
        click.echo(_welcome(listeners[0].socket, sinks))
        with _running(sinks, [listener.socket for listener in listeners], user):
            if user is not None:
                privileges.drop(user)
            start.serve(config, listeners)


@contextlib.contextmanager
def _directory(user: Identity | None) -> Iterator[Path]:
    """A directory for the route table; it belongs to `user`, who will have to remove it."""
    path = Path(tempfile.mkdtemp(prefix="moxy-demo-"))
    if user is not None:
        os.chown(path, user.uid, user.gid)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _configure(directory: Path, port: int, sinks: Mapping[str, socket.socket]) -> Config:
    """Write the route table, and make the configuration that names it."""
    lines = [f"{domain} {listening.place(listener)}\n" for domain, listener in sinks.items()]
    table = directory / "moxy.db"
    table.write_text("".join(lines))
    table.chmod(0o644)
    return loads(CONFIGURATION.format(address=LOOPBACK, port=port), str(directory / "moxy.toml"), "toml")


def _welcome(listener: socket.socket, sinks: Mapping[str, socket.socket]) -> str:
    address, port = listener.getsockname()
    return WELCOME.format(
        address=address,
        port=port,
        routes="".join(f"  {domain} -> a sink on {listening.place(sink)}\n" for domain, sink in sinks.items()),
        server="" if port == 2525 else f"--server {address}:{port} ",
        first=DOMAINS[0],
        second=DOMAINS[1],
    )


@contextlib.contextmanager
def _running(sinks: Mapping[str, socket.socket], ours: list[socket.socket], user: Identity | None) -> Iterator[None]:
    """The sinks, each in a child process, until the block is left."""
    sys.stdout.flush()  # or every child would print it once more
    lifeline, held = os.pipe()
    children = []
    for domain, listener in sinks.items():
        child = os.fork()
        if child == 0:
            os.close(held)
            for other in (*ours, *(sink for sink in sinks.values() if sink is not listener)):
                other.close()
            _become_sink(SinkServer(domain, [Listener(listener)]), lifeline, user)
        children.append(child)
    os.close(lifeline)
    for listener in sinks.values():
        listener.close()
    try:
        yield
    finally:
        for child in children:
            os.kill(child, signal.SIGTERM)
        for child in children:
            os.waitpid(child, 0)
        os.close(held)


def _become_sink(server: SinkServer, lifeline: int, user: Identity | None) -> None:
    """What a child does; it never returns, since the rest of the program is its parent's."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all of us; Moxy decides when we end
        if user is not None:
            privileges.drop(user)
        server.run((signal.SIGTERM,), lifeline)
        status = 0
    except BaseException:  # noqa: BLE001 - nothing may get past this function
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)

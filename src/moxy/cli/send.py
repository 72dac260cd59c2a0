"""`moxy send`: send a message, or many, and see what the server says.

Exit status: 0, every message was accepted for every recipient; 1, not so; 2, wrong usage.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import click

from moxy.accounting.escape import escaped
from moxy.cli.arguments import checked, each_checked, printable, size
from moxy.cli.campaign import Campaign
from moxy.cli.composing import Letter, with_crlf
from moxy.cli.sending import Outcome, Show, carry_out
from moxy.config import values
from moxy.mail import Host
from moxy.net.tlsclient import TlsClient, Trust
from moxy.smtp.address import AddressError, ForwardPath, ReversePath, parse_hello

EXAMPLES: Final = 5
"""Different refusals that are quoted in full."""

COLOURS: Final = {"C": "cyan", "S": "green"}
"""Of the dialogue: the client's lines and the server's."""


class Tally:
    """What became of the messages so far."""

    def __init__(self) -> None:
        self.messages = 0
        self.accepted = 0
        """Messages accepted for all of their recipients."""
        self.deliveries = 0
        """Recipients accepted, over all messages."""
        self.codes: Counter[str] = Counter()
        """Recipients refused, by the code of the reply."""
        self.refusals: Counter[str] = Counter()
        """The same by recipient and reply in full, the first EXAMPLES different ones."""

    def count(self, outcome: Outcome) -> None:
        """One message more."""
        self.messages += 1
        self.accepted += outcome.accepted
        for recipient, reply in outcome.replies:
            if reply is not None and reply.positive:
                self.deliveries += 1
            else:
                self.codes[str(reply.code) if reply is not None else "no answer"] += 1
                refusal = f"{recipient}: {escaped(str(reply)) if reply is not None else 'the connection was lost'}"
                if refusal in self.refusals or len(self.refusals) < EXAMPLES:
                    self.refusals[refusal] += 1

    def lines(self, seconds: float) -> Iterator[str]:
        """The result, for people."""
        if self.messages == 1:
            yield f"accepted for {self.deliveries} of {self.deliveries + self.codes.total()} recipients"
            return
        rate = f"{self.messages / seconds:,.0f} messages/s" if seconds else "in no time"
        yield f"{self.messages:,} messages in {seconds:.2f} s, {rate}; {self.accepted:,} accepted for every recipient"
        for code, times in self.codes.most_common():
            yield f"refused, {code}: {times:,}"


def _hello(name: str) -> str:
    return parse_hello(name.encode(errors="replace"))


def _own_name() -> str:
    """The machine's, if it can stand in EHLO."""
    try:
        return _hello(socket.gethostname())
    except AddressError:
        return "localhost"


@click.command("send")
@click.option(
    "--to",
    "recipients",
    multiple=True,
    required=True,
    callback=each_checked(ForwardPath.parse),
    metavar="ADDRESS",
    help="A recipient; may be repeated.",
)
@click.option(
    "--from",
    "sender",
    callback=checked(ReversePath.parse),
    metavar="ADDRESS",
    help="The sender; '' is the null reverse-path.",
)
@click.option(
    "--server",
    default="127.0.0.1:2525",
    callback=checked(values.host),
    metavar="HOST:PORT",
    show_default=True,
    help="Where to; `unix:PATH` is a Unix socket.",
)
@click.option("--tls", type=click.Choice(["starttls", "implicit"]), help="Encrypt, or do not send.")
@click.option(
    "--ca",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --tls: the server must show a certificate for HOST, of an authority in FILE (PEM). Else any will do.",
)
@click.option("--lmtp", is_flag=True, help="Speak LMTP.")
@click.option(
    "--subject", default="A message from moxy send", callback=checked(printable), metavar="TEXT", show_default=True
)
@click.option("--body", default="Hello!", metavar="TEXT", show_default=True, help="The text; `-` reads it.")
@click.option("--size", callback=checked(size), metavar="SIZE", help="Fill the message up to SIZE octets: 10k, 5MiB.")
@click.option("--file", type=click.File("rb"), metavar="FILE", help="Send this file, header included, as it is.")
@click.option("--count", default=1, type=click.IntRange(1), metavar="N", help="Send N messages.")
@click.option("--concurrency", default=1, type=click.IntRange(1), metavar="C", help="Over C connections at once.")
@click.option(
    "--per-connection",
    default=100,
    type=click.IntRange(1),
    metavar="M",
    show_default=True,
    help="At most M messages over one connection.",
)
@click.option(
    "--helo",
    "hello",
    callback=checked(_hello),
    metavar="NAME",
    help="Our name; the machine's if not told.",
)
@click.option("--pipelining/--no-pipelining", default=True, help="Send commands together where the server offers it.")
@click.option("--bdat", is_flag=True, help="Send content by BDAT where the server offers CHUNKING.")
@click.option("--show/--no-show", default=None, help="Show the dialogue, as is done for a single message.")
@click.option("--quiet", is_flag=True, help="Tell refusals only.")
@click.pass_context
def send(
    context: click.Context,
    recipients: tuple[ForwardPath, ...],
    sender: ReversePath | None,
    server: Host,
    tls: str | None,
    ca: Path | None,
    lmtp: bool,
    subject: str,
    body: str,
    size: int | None,
    file: BinaryIO | None,
    count: int,
    concurrency: int,
    per_connection: int,
    hello: str | None,
    pipelining: bool,
    bdat: bool,
    show: bool | None,
    quiet: bool,
) -> None:
    """Send a message, or many, and see what the server says."""
    if ca is not None and tls is None:
        raise click.UsageError("--ca is for --tls")
    if tls is not None and server.name.startswith("/"):
        raise click.UsageError("there is no TLS on Unix sockets")
    hello = hello or _own_name()
    campaign = Campaign(
        server=(server.name, server.port),
        hello=hello,
        reverse_path=sender.text if sender is not None else f"moxy@{hello}",
        recipients=tuple(path.text for path in recipients),
        count=count,
        concurrency=concurrency,
        per_connection=per_connection,
        pipelining=pipelining,
        lmtp=lmtp,
        bdat=bdat,
        tls=TlsClient(Trust(judged=ca is not None, authorities=ca)) if tls is not None else None,
        implicit=tls == "implicit",
    )
    if file is not None:
        content = partial(with_crlf, file.read())
    else:
        letter = Letter(campaign.reverse_path, campaign.recipients, subject, _text(body), domain=hello)
        content = partial(letter.content, size or 0)
    dialogue = show if show is not None else count == 1
    tally = _carry_out(campaign, content, _show_line if dialogue and not quiet else None, quiet=quiet)
    if tally.accepted < count:
        context.exit(1)


def _carry_out(campaign: Campaign, content: Callable[[], bytes], show: Show | None, *, quiet: bool) -> Tally:
    """Send, and tell the result; also when it ended early, with MoxyError."""
    tally = Tally()
    started = time.monotonic()
    try:
        with _progress(campaign.count, wanted=show is None and not quiet and campaign.count > 1) as advance:

            def done(outcome: Outcome) -> None:
                tally.count(outcome)
                advance()

            asyncio.run(carry_out(campaign, content, done, show))
    finally:
        for refusal, times in tally.refusals.items():
            click.echo(f"refused: {refusal}" + (f" ({times:,} times)" if times > 1 else ""), err=True)
        if tally.messages and not quiet:
            for line in tally.lines(time.monotonic() - started):
                click.echo(line)
    return tally


def _text(body: str) -> str:
    if body == "-":
        return sys.stdin.buffer.read().decode(errors="replace")
    return body.encode(errors="replace").decode()


def _show_line(who: str, line: str) -> None:
    with suppress(BrokenPipeError):  # nobody reads on, and the message is still to be sent
        click.echo(click.style(f"{who}: {line}", fg=COLOURS[who]))


@contextmanager
def _progress(count: int, *, wanted: bool) -> Iterator[Callable[[], None]]:
    """A progress bar on a terminal; yields what is to be called for each message."""
    if not (wanted and sys.stderr.isatty()):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=count)
        yield lambda: progress.advance(task)

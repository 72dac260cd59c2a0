"""`moxy ledger`: what Moxy remembers of messages that did not end well for everybody, and to make it forget.

Exit status: 0; 1, the ledger or the configuration could not be read; 2, wrong usage.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import click

from moxy.accounting.escape import escaped
from moxy.config.load import find_config, load
from moxy.errors import MoxyError
from moxy.ledger import Entry
from moxy.ledger.database import Damaged
from moxy.ledger.store import Store, Wanted
from moxy.process.ledger import USUAL, lasting
from moxy.smtp.address import AddressError, ForwardPath

T = TypeVar("T")

HEADINGS: Final = ("time", "state", "destination", "host", "sender", "recipient", "octets", "digest", "client")

DIGEST_SHOWN: Final = 8
"""Characters of the digest: enough to tell messages apart. JSON has all."""


@click.group("ledger", short_help="Show or forget who has which message.")
def ledger() -> None:
    """Show or forget what Moxy remembers of messages that did not end well for everybody.

    The file is the one that the configuration names, or FILE. Moxy may run meanwhile.
    """


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose entries, and the file."""
    for option in (
        click.argument("file", type=click.Path(path_type=Path), required=False),
        click.option(
            "-c", "--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration FILE to use."
        ),
        click.option("--destination", metavar="HOST:PORT", help="Of this destination, as it is shown."),
        click.option("--sender", metavar="ADDRESS", help="From this address; <> is the null reverse-path."),
        click.option("--recipient", metavar="ADDRESS", help="For this recipient."),
    ):
        command = option(command)
    return command


@ledger.command("show", short_help="Show entries.")
@choosing
@click.option("--all", "every", is_flag=True, help="Also those that are settled, and wait for their end.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each entry, one on each line.")
def show(
    recipient: str | None,
    sender: str | None,
    destination: str | None,
    every: bool,
    as_json: bool,
    config: Path | None,
    file: Path | None,
) -> None:
    """Show the entries that matter when a sender tries again, the oldest first.

    \b
    committed    the destination has the message; the sender may not know
    unknown      the destination did not answer at the end of the message
    under way    the sender left before the destination had answered; it may answer yet
    undelivered  the destination does not have it; its recipient came together with others
    confirmed    (with --all) the sender knows; shown until it expires

    A `+` behind the state: the recipient will be asked alone when it comes again.
    """
    wanted = Wanted(_path(recipient), _path(sender), destination, only_open=not every)
    entries = _with(file or configured_file(config or find_config()), lambda store: store.select(wanted), readonly=True)
    if as_json:
        for entry in entries:
            click.echo(json_line(entry))
    else:
        _print(entries)


@ledger.command("forget", short_help="Forget entries.")
@choosing
@click.option("--everything", is_flag=True, help="All entries.")
def forget(
    recipient: str | None,
    sender: str | None,
    destination: str | None,
    everything: bool,
    config: Path | None,
    file: Path | None,
) -> None:
    """Forget entries, settled or not. A message of theirs that comes again is then a new one for Moxy."""
    wanted = Wanted(_path(recipient), _path(sender), destination)
    if everything == (wanted != Wanted()):
        raise click.UsageError("which entries? Choose by --recipient, --sender and --destination, or say --everything")
    count = _with(file or configured_file(config or find_config()), lambda store: store.forget(wanted))
    click.echo(f"{count:,} {'entry' if count == 1 else 'entries'} forgotten")


def configured_file(config: Path) -> Path:
    """The file that a Moxy with this configuration uses. Raises ConfigError, MoxyError if that cannot be told."""
    settings = load(config)
    path = lasting(settings)
    if path is not None:
        return path
    if settings.ledger.hours and USUAL.exists():
        return USUAL
    raise MoxyError(
        f"{config}: it names no file for the ledger; `path` in [ledger] (moxy.toml) or `ledger` (moxy.conf) does, or "
        "name a FILE"
    )


def json_line(entry: Entry) -> str:
    """One JSON object without line ends. ASCII only."""
    return json.dumps(
        {
            "time": entry.time,
            "state": entry.state,
            "apart": entry.apart,
            "destination": entry.destination,
            "host": entry.host,
            "sender": entry.reverse_path,
            "recipient": entry.forward_path,
            "octets": entry.size,
            "digest": entry.digest.hex(),
            "client": entry.client,
            "hello": entry.hello,
        }
    )


def cells(entry: Entry) -> list[str]:
    """What is shown to people, under HEADINGS."""
    return [
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.time)),
        f"{entry.state}{'+' if entry.apart else ''}",
        escaped(entry.destination),
        escaped(entry.host),
        escaped(f"<{entry.reverse_path}>"),
        escaped(f"<{entry.forward_path}>"),
        f"{entry.size:,}",
        entry.digest.hex()[:DIGEST_SHOWN],
        escaped(f"{entry.client} ({entry.hello})"),
    ]


def plain_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """Aligned text."""
    rows: list[Sequence[str]] = [HEADINGS, *map(cells, entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        aligned = [
            cell.rjust(width) if heading == "octets" else cell.ljust(width)
            for heading, cell, width in zip(HEADINGS, row, widths, strict=True)
        ]
        yield "  ".join(aligned).rstrip()


def _print(entries: Sequence[Entry]) -> None:
    if not entries:
        click.echo("no entries")
    elif not sys.stdout.isatty():
        for line in plain_lines(entries):
            click.echo(line)
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in HEADINGS:
            table.add_column(heading, justify="right" if heading == "octets" else "left", overflow="fold")
        for entry in entries:
            table.add_row(*[Text(cell) for cell in cells(entry)])  # Text, for rich takes brackets for markup
        Console().print(table)


def _with(path: Path, work: Callable[[Store], T], *, readonly: bool = False) -> T:
    """What `work` gives for the file. Raises MoxyError."""
    try:
        path.stat()
    except OSError as error:
        raise MoxyError(f"{path}: {error.strerror}") from error
    try:
        store = Store(path, sys.maxsize, make=False, readonly=readonly)
        try:
            return work(store)
        finally:
            store.close()
    except Damaged as error:
        raise MoxyError(f"{error}; Moxy sets it aside when it meets it, and begins a new one") from error


def _path(text: str | None) -> str | None:
    """An address as the ledger has it: without brackets, in its canonical spelling if it is an address at all."""
    if text is None:
        return None
    text = text.removeprefix("<").removesuffix(">")
    try:
        return ForwardPath.parse(text, utf8=True).key
    except AddressError:
        return text

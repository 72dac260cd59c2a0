"""`moxymakedbm INFILE`: make a GNU dbm file of the text of a route table, for `dbtype dbm`; `moxy makedbm` is the same.

The text is checked as `dbtype file` checks it. With a single mistake nothing is made, and what was there stays.

Exit status: 0, made; 1, not made, and why is told; 2, wrong usage; 130, stopped with Ctrl-C.

Bugs: the whole table is in memory while the file is made, 250 MB for a million domains.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final, TypeVar

import click

from moxy import __version__
from moxy.errors import ConfigError, MoxyError
from moxy.routes.compiled import listed, stored_value, write_table
from moxy.routes.tabletext import read_entries

T = TypeVar("T")

STDIN: Final = Path("-")

BAR_FROM: Final = 50_000
"""Lines from which on there is something to wait for, about half a second."""


@click.command("makedbm", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="OFILE",
    help="Create file named OFILE. If omitted, creates INFILE.db",
)
@click.option("--list", "to_text", is_flag=True, help="Print the entries of the gdbm file INFILE as text instead.")
@click.version_option(__version__, "-v", "--version", message="Moxy %(version)s", help="Output version info.")
@click.argument("infile", type=click.Path(path_type=Path), metavar="INFILE")
@click.pass_context
def makedbm(context: click.Context, infile: Path, output: Path | None, to_text: bool) -> None:
    """Create a gdbm file based on flat file INFILE.

    INFILE is the flat text file to use as input; `-` is standard input.
    """
    if to_text and output is not None:
        raise click.UsageError("--list prints, and takes no --output")
    if infile == STDIN and output is None and not to_text:
        raise click.UsageError("standard input needs --output")
    try:
        if to_text:
            print_table(infile)
        else:
            make_table(infile, output or Path(f"{infile}.db"))
    except ConfigError as error:
        click.echo(str(error), err=True)
        context.exit(1)
    except KeyboardInterrupt:
        context.exit(130)


def make_table(source: Path, target: Path) -> None:
    """Make the gdbm file `target` of the text in `source`. Raises ConfigError with all its mistakes, and MoxyError."""
    try:
        if source != STDIN and target.exists() and target.samefile(source):
            raise MoxyError(f"{target}: would be made of itself, and its text be lost")
        lines = read_lines(source)
    except OSError as error:
        raise MoxyError(f"{source}: cannot be read: {error.strerror}") from None
    name = "standard input" if source == STDIN else str(source)
    entries, problems = read_entries(_with_bar(lines, "reading"), name, stored_value)
    if problems:
        raise ConfigError(problems)
    try:
        write_table(target, _with_bar(entries.items(), "writing"))
    except OSError as error:
        raise MoxyError(f"{target}: cannot be written: {error.strerror}") from None
    click.echo(f"{target}: {len(entries):,} {'entry' if len(entries) == 1 else 'entries'}")


def read_lines(source: Path) -> list[bytes]:
    """The lines of the file, or of standard input. Raises OSError, and MoxyError for what may have no end."""
    if source == STDIN:
        return sys.stdin.buffer.readlines()
    if source.is_char_device():
        raise MoxyError(f"{source}: is no file; `-` is standard input")
    with source.open("rb") as file:
        return file.readlines()


def print_table(path: Path) -> None:
    """Print the entries of a gdbm file as lines that `make_table` takes. Raises ConfigError and MoxyError."""
    try:
        lines = listed(path)
    except OSError as error:
        raise MoxyError(f"{path}: cannot be read: {error.strerror}") from None
    click.echo("".join([f"{line}\n" for line in lines]).encode(), nl=False)


def _with_bar(items: Collection[T], label: str) -> Iterable[T]:
    """The items; while they are taken, a bar on the terminal shows how far it is, if there are many."""
    if len(items) < BAR_FROM or not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, label, console=Console(stderr=True))

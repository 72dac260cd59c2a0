"""`moxylogalyze`: totals from the lines that `filelog` and `syslog` wrote, plain or compressed, in any format.

Exit status: 0, everything was read; 1, a file or the configuration could not be read; 2, wrong usage.

Bugs: rotated files are not looked for; name them (`moxy.log*`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

import click

from moxy import __version__
from moxy.accounting.escape import escaped
from moxy.accounting.linereader import LineReader
from moxy.cli import matching
from moxy.cli.arguments import checked, each_checked
from moxy.cli.logfiles import LogFileError, lines, octets_in
from moxy.cli.logreport import Style, print_tally, remark
from moxy.cli.matching import Test
from moxy.cli.tables import Order
from moxy.cli.tallying import CALENDARS, LISTINGS, Selection, Tally
from moxy.config import values
from moxy.config.load import CONFIG_FILES, load
from moxy.config.logs import FileLog, LineLog
from moxy.config.schema import Config

LARGE: Final = 64 * 1024 * 1024
"""Octets of logs from which a progress bar is worth its place: a few seconds."""

WORDS: Final = {"--from": "sender", "--ip": "shost", "--dest": "dhost", "--rcpt": "rcpts"}
"""The word of the format that each option of MATCHES looks at."""


def _moment(text: str) -> float:
    return matching.moment(text, time.time())


@click.command(
    "logalyze",
    short_help="Add up what log files say was delivered.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "-l",
    "--listby",
    "by",
    type=click.Choice([*LISTINGS, *CALENDARS]),
    metavar="P",
    help=f"A table with a row for each: {', '.join([*LISTINGS, *CALENDARS])}.",
)
@click.option(
    "--from",
    "senders",
    multiple=True,
    callback=each_checked(matching.sender),
    metavar="EMAIL",
    help="Only mail from EMAIL; `<>` is the null sender.",
)
@click.option(
    "-i",
    "--ip",
    "clients",
    multiple=True,
    callback=each_checked(matching.client),
    metavar="IP",
    help="Only mail from the client at IP, or in a network (192.0.2.0/24).",
)
@click.option(
    "-d",
    "--dest",
    "destinations",
    multiple=True,
    callback=each_checked(matching.destination),
    metavar="HOST:PORT",
    help="Only mail to this destination; without a port, to any port there.",
)
@click.option(
    "--rcpt",
    "recipients",
    multiple=True,
    callback=each_checked(matching.recipient),
    metavar="EMAIL",
    help="Only mail with this recipient among others.",
)
@click.option(
    "--since",
    callback=checked(_moment),
    metavar="WHEN",
    help="Only mail from then on: a date, a time, or how long ago (2026-11-20, 3d, 12h).",
)
@click.option("--until", callback=checked(_moment), metavar="WHEN", help="Only mail before then.")
@click.option("--sort", type=click.Choice(["octets", "messages", "name"]), help="The order of rows; the largest first.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="The first N rows only.")
@click.option("-H", "--human", is_flag=True, help="Octets as KiB, MiB and so on.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@click.option("-c", "--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="Configuration FILE.")
@click.option("--log", "log_name", metavar="NAME", help="Which [log.NAME] of the configuration; the first by default.")
@click.option(
    "--format", callback=checked(values.line), metavar="TEXT", help="The log_format, if not the configuration's."
)
@click.option("--date-format", callback=checked(values.line), metavar="TEXT", help="The log_dateformat, likewise.")
@click.option("-v", "--verbose", is_flag=True, help="Show the lines that match, and those that do not fit.")
@click.version_option(__version__, "-V", "--version", message="Moxy %(version)s")
@click.argument("files", metavar="[LOGFILE]...", nargs=-1)
@click.pass_context
def logalyze(
    context: click.Context,
    by: str | None,
    senders: tuple[Test, ...],
    clients: tuple[Test, ...],
    destinations: tuple[Test, ...],
    recipients: tuple[Test, ...],
    since: float | None,
    until: float | None,
    sort: Order | None,
    top: int | None,
    human: bool,
    as_json: bool,
    as_csv: bool,
    file: Path | None,
    log_name: str | None,
    format: str | None,
    date_format: str | None,
    verbose: bool,
    files: tuple[str, ...],
) -> None:
    """Add up what the log files LOGFILE... say was delivered: octets and messages.

    `-` is standard input; without LOGFILE it is the log file of the configuration. Options that choose mail may be
    combined, and all must hold; where one is repeated, either will do. `*` stands for any characters.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    log = _configured(file, log_name, wanted=not files or format is None or date_format is None)
    reader = _reader(log, format, date_format)
    tests = {"--from": senders, "--ip": clients, "--dest": destinations, "--rcpt": recipients}
    _check_words(reader, tests, by)
    selection = Selection({WORDS[option]: alternatives for option, alternatives in tests.items()}, since, until)
    show_match = _shower(err=as_json or as_csv) if verbose and (selection.tests or selection.timed) else None
    tally = Tally(reader, selection, by, show_match, _shower(err=True) if verbose else None)
    complete = _read(tally, files or (_own_file(log),))
    print_tally(tally, Style(by, sort, top, human, as_json, as_csv))
    remark(tally, verbose=verbose)
    if not complete:
        context.exit(1)


def _configured(file: Path | None, name: str | None, *, wanted: bool) -> LineLog | None:
    """The log of the configuration that has a format; None where there is no configuration, or it has no such log.

    Raises ConfigError, and click's UsageError for a name that it does not know.
    """
    if file is None and name is None and not wanted:
        return None
    path = file or next((path for path in CONFIG_FILES if path.exists()), None)
    logs = _line_logs(load(path)) if path is not None else {}
    if name is None:
        return next(iter(logs.values()), None)
    if name not in logs:
        raise click.UsageError(f"the configuration has no [log.{name}] that writes lines")
    return logs[name]


def _line_logs(config: Config) -> dict[str, LineLog]:
    """Those with a file first, since it is known where their lines are."""
    logs = {name: log for name, log in config.log.items() if isinstance(log, LineLog)}
    return dict(sorted(logs.items(), key=lambda item: not isinstance(item[1], FileLog)))


def _own_file(log: LineLog | None) -> str:
    if isinstance(log, FileLog):
        return str(log.path)
    if log is None:
        raise click.UsageError("name a LOGFILE: no configuration tells of a log that writes lines")
    raise click.UsageError(f"name a LOGFILE: a log of kind `{log.kind}` is where the syslog daemon writes it")


def _reader(log: LineLog | None, format: str | None, date_format: str | None) -> LineReader:
    """For the formats of the options, else of the configuration, else of the schema."""
    defaults = FileLog.model_fields
    known = log.format if log else cast("str", defaults["format"].default)
    dates = log.date_format if log else cast("str", defaults["date_format"].default)
    try:
        return LineReader(known if format is None else format, dates if date_format is None else date_format)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _check_words(reader: LineReader, tests: Mapping[str, Sequence[Test]], by: str | None) -> None:
    """Raise UsageError if something is asked that the format does not say."""
    needed = {option: WORDS[option] for option, alternatives in tests.items() if alternatives}
    if by in LISTINGS:
        needed[f"--listby {by}"] = LISTINGS[by].word
    for option, word in needed.items():
        if word not in reader.words:
            raise click.UsageError(f"{option}: the format has no %{word}")


def _read(tally: Tally, files: Sequence[str]) -> bool:
    """Add up all files; whether all could be read to their ends."""
    complete = True
    with _progress(files) as advance:
        for name in files:
            try:
                tally.add(lines(name, advance))
            except LogFileError as error:
                click.echo(escaped(str(error)), err=True)
                complete = False
    return complete


def _shower(*, err: bool) -> Callable[[bytes], None]:
    def shown(line: bytes) -> None:
        click.echo(escaped(line.rstrip(b"\r\n").decode(errors="backslashreplace")), err=err)

    return shown


@contextmanager
def _progress(files: Sequence[str]) -> Iterator[Callable[[int], object]]:
    """A progress bar for large logs on a terminal; yields what is to be called for octets that were read."""
    octets = octets_in(files) if sys.stderr.isatty() else 0
    if octets < LARGE:
        yield int
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    columns = BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=octets)
        yield lambda octets: progress.advance(task, octets)

"""`moxystats`: how much went to each destination, from the totals that `gdbmlog` keeps, while Moxy runs.

Exit status: 0; 1, the totals or the configuration could not be read; 2, wrong usage.

Bugs: totals have no dates. What a day or a month brought is a question for `moxylogalyze`.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import click

from moxy import __version__
from moxy.accounting.escape import escaped
from moxy.accounting.totals import Totals, read_totals
from moxy.cli.arguments import checked
from moxy.cli.tables import Order, Row, Table, arranged, csv_text, cut, human_size, json_text, show, total_of
from moxy.config.load import find_config, load
from moxy.config.logs import TotalsLog
from moxy.errors import MoxyError
from moxy.gdbm import Damaged

WATCH_SECONDS: Final = 2.0
"""From one look to the next, if not told otherwise: that of top(1) is 3, of watch(1) 2."""

NAMED: Final = 5
"""Entries that cannot be read and are named; more are counted."""

SHOWN_OCTETS: Final = 40
"""Of the value of such an entry."""

HEADLINES: Final = 5
"""Lines of a screen that are no rows: what it shows, headings, the rest, the total, the cursor's own."""

RATES: Final = ("octets/s", "messages/s")

ORDERS: Final[dict[str, Order]] = {"octets": "octets", "messages": "messages", "destination": "name"}
"""The words of --sort."""


class View(NamedTuple):
    """What is shown of the totals, and in which order."""

    sort: Order
    reverse: bool
    top: int | None
    human: bool


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text) or not float(text):
        raise ValueError(f"expected seconds, such as 2 or 0.5, not `{text}`; a FILE stands before --watch")
    return float(text)


@click.command(
    "stats",
    short_help="Show octets and messages for each destination.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--sort",
    type=click.Choice(list(ORDERS)),
    default="octets",
    show_default=True,
    help="The order of rows: the largest first, destinations from A to Z.",
)
@click.option("-r", "--reverse", is_flag=True, help="The other way round.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="The first N rows only.")
@click.option("-H", "--human", is_flag=True, help="Octets as KiB, MiB and so on.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@click.option(
    "--watch",
    is_flag=False,
    flag_value=f"{WATCH_SECONDS:g}",
    callback=checked(_seconds),
    metavar="[SECONDS]",
    help=f"Look again every SECONDS ({WATCH_SECONDS:g}) until Ctrl-C, and show what came in between.",
)
@click.option("-c", "--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration FILE to use.")
@click.option("--log", "name", metavar="NAME", help="Which [log.NAME] of the configuration; the first by default.")
@click.version_option(__version__, "-v", "--version", message="Moxy %(version)s")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def stats(
    sort: str,
    reverse: bool,
    top: int | None,
    human: bool,
    as_json: bool,
    as_csv: bool,
    watch: float | None,
    config: Path | None,
    name: str | None,
    file: Path | None,
) -> None:
    """Show octets and messages for each destination, from a FILE of totals (gdbmlog).

    Without FILE it is the one that the configuration names. Moxy may run meanwhile.
    """
    if as_json + as_csv + (watch is not None) > 1:
        raise click.UsageError("--json, --csv and --watch exclude each other")
    path = file or configured_file(config or find_config(), name)
    view = View(ORDERS[sort], reverse, top, human)
    if watch is not None:
        _watch(path, view, watch)
        return
    table = table_of(_read(path), view)
    if as_json:
        click.echo(json_text(table, "destinations", file=str(path)))
    elif as_csv:
        click.echo(csv_text(table), nl=False)
    else:
        show(table, human=human)


def configured_file(config: Path, name: str | None = None) -> Path:
    """The file of the log `name`, or of the first one with totals. Raises ConfigError, MoxyError if there is none."""
    for key, log in load(config).log.items():
        if isinstance(log, TotalsLog) and name in (None, key):
            return log.path
    if name is not None:
        raise MoxyError(f"{config}: there is no [log.{name}] that keeps totals")
    raise MoxyError(
        f"{config}: no log there keeps totals; `logtype gdbmlog` (moxy.conf) or a section [log.totals] with "
        '`kind = "gdbmlog"` (moxy.toml) does, or name a FILE'
    )


def table_of(totals: Mapping[str, Totals], view: View, rates: Mapping[str, Sequence[str]] | None = None) -> Table:
    """The totals as a table; `rates` are further cells for each destination, and for "" those of the total."""
    every = [Row(name, entry.octets, entry.messages) for name, entry in totals.items()]
    rows, rest = cut(arranged(every, view.sort, reverse=view.reverse), view.top)
    total = total_of(every)
    if rates is None:
        return Table("destination", rows, total, rest)
    rows = [row._replace(extra=tuple(rates[row.name])) for row in rows]
    return Table("destination", rows, total._replace(extra=tuple(rates[""])), rest, RATES)


def rates_of(
    totals: Mapping[str, Totals], before: Mapping[str, Totals], seconds: float, *, human: bool
) -> dict[str, list[str]]:
    """Octets and messages per second since the totals were `before`, for each destination, and for "" all together.

    A total that has become smaller is that of a file begun anew: it counts from nothing.
    """
    gains: dict[str, Totals] = {}
    for name, now in totals.items():
        then = before.get(name, Totals())
        begun_anew = now.octets < then.octets or now.messages < then.messages
        gains[name] = now if begun_anew else Totals(now.octets - then.octets, now.messages - then.messages)
    gains[""] = sum(gains.values(), Totals())
    return {name: _rate_cells(gain, seconds, human) for name, gain in gains.items()}


def _rate_cells(gain: Totals, seconds: float, human: bool) -> list[str]:
    octets = gain.octets / seconds
    return [human_size(round(octets)) if human else f"{octets:,.0f}", f"{gain.messages / seconds:,.1f}"]


def _read(path: Path) -> dict[str, Totals]:
    """The totals in the file. Raises MoxyError. Entries that cannot be read are named on standard error."""
    unreadable: list[tuple[str, bytes]] = []
    try:
        totals = read_totals(path, lambda destination, value: unreadable.append((destination, value)))
    except OSError as error:
        raise MoxyError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Damaged as error:
        raise MoxyError(f"{error} (lines of a log are added up by moxylogalyze)") from error
    for destination, value in unreadable[:NAMED]:
        shown = value[:SHOWN_OCTETS].decode(errors="backslashreplace")
        text = f"{path}: `{destination}` left out, expected octets and messages, two numbers, not `{shown}`"
        click.echo(escaped(text), err=True)
    if len(unreadable) > NAMED:
        click.echo(f"{escaped(str(path))}: {len(unreadable) - NAMED:,} more entries left out", err=True)
    return totals


def _watch(path: Path, view: View, seconds: float) -> None:
    """Show the totals again and again, until the user ends it."""
    looks = Looks(path, time.monotonic)
    try:
        _show_look(looks, view, seconds)
        while True:
            time.sleep(seconds)
            try:
                _show_look(looks, view, seconds)
            except MoxyError as error:  # the file may have been renamed, and Moxy begins a new one
                click.echo(escaped(str(error)), err=True)
    except KeyboardInterrupt:
        return


def _show_look(looks: Looks, view: View, seconds: float) -> None:
    table = looks.table(_fitting(view))
    if sys.stdout.isatty():
        click.clear()
    click.echo(f"{escaped(str(looks.path))}  {time.strftime('%H:%M:%S')}  every {seconds:g} s")
    show(table, human=view.human)
    click.echo()


def _fitting(view: View) -> View:
    """No more rows than a terminal shows at once."""
    if not sys.stdout.isatty():
        return view
    room = max(1, shutil.get_terminal_size().lines - HEADLINES)
    return view._replace(top=room if view.top is None else min(view.top, room))


class Looks:
    """Looks at one file of totals, each with what came since the one before. `clock` gives seconds."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self.path = path
        self._clock = clock
        self._before: dict[str, Totals] | None = None
        self._at = 0.0

    def table(self, view: View) -> Table:
        """The totals as they are now. Raises MoxyError if they cannot be read."""
        totals, now = _read(self.path), self._clock()
        if self._before is None:
            rates = {name: ["", ""] for name in (*totals, "")}
        else:
            rates = rates_of(totals, self._before, max(now - self._at, 0.001), human=view.human)
        self._before, self._at = totals, now
        return table_of(totals, view, rates)

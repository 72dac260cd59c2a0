"""Tables of octets and messages, as `moxystats` and `moxylogalyze` show them: aligned text, with bars, JSON, CSV.

Rules:
- Names come from strangers: whatever shows them escapes them, so that no name steers a terminal or breaks a line.
- People read numbers with separators or in human units; programs (JSON, CSV) get whole numbers, the largest first too.
- A table cut to its first rows says how much it leaves out, so that what is seen always adds up.

Bugs: CSV does not defend a spreadsheet against names that begin with `=`; what a log holds is shown as it is.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import click

from moxy.accounting.escape import escaped

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.table import Table as RichTable

Order = Literal["octets", "messages", "name"]

UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
"""Each 1024 times the one before it (IEC 80000-13)."""

NAME_COLUMNS: Final = 60
"""How far names push the numbers to the right in plain text; a longer one pushes only those of its own line."""

BAR_COLUMNS: Final = 40
"""The longest bar: a share is seen as well, and the numbers stay near."""


class Row(NamedTuple):
    """How much went under one name. `extra` are further cells, already as text, under the headings of the table."""

    name: str
    octets: int
    messages: int
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under the heading of what they are (`destination`), in the order in which they are shown.

    `total` is that of everything, whatever rows are left out or count a message twice. `rest` stands for the rows that
    are left out. `extra` are the headings of the rows' further cells.
    """

    heading: str
    rows: Sequence[Row]
    total: Row
    rest: Row | None = None
    extra: tuple[str, ...] = ()


def arranged(rows: Iterable[Row], by: Order = "octets", *, reverse: bool = False) -> list[Row]:
    """The rows with the largest first, or by name from A to Z; `reverse` the other way. Names decide between equals."""
    named = sorted(rows, key=lambda row: row.name, reverse=reverse and by == "name")
    if by == "name":
        return named
    return sorted(named, key=lambda row: getattr(row, by), reverse=not reverse)


def cut(rows: Sequence[Row], top: int | None) -> tuple[Sequence[Row], Row | None]:
    """The first `top` rows (None: all), and one row for the rest if there is any."""
    if top is None or len(rows) <= top:
        return rows, None
    return rows[:top], total_of(rows[top:])._replace(name=f"{len(rows) - top:,} more")


def total_of(rows: Iterable[Row]) -> Row:
    """The sum of rows that count nothing twice."""
    octets = messages = 0
    for row in rows:
        octets += row.octets
        messages += row.messages
    return Row("total", octets, messages)


def human_size(octets: int) -> str:
    """Octets in the unit that leaves three or four digits: `999 B`, `1.5 KiB`, `12.3 MiB`."""
    amount = float(octets)
    for unit in UNITS:
        if abs(amount) < 999.95 or unit == UNITS[-1]:
            break
        amount /= 1024
    return f"{amount:,.1f} {unit}" if unit != "B" else f"{octets} B"


def share(row: Row, total: Row) -> float:
    """The part of the octets that the row has, from 0 to 1."""
    return row.octets / total.octets if total.octets else 0.0


def show(table: Table, *, human: bool = False) -> None:
    """Print the table on standard output: with bars on a terminal, else as aligned columns."""
    if not sys.stdout.isatty():
        for line in plain_lines(table, human=human):
            click.echo(line)
        return
    from rich.console import Console

    console = Console()
    console.print(with_bars(table, human=human, columns=console.width))


def plain_lines(table: Table, *, human: bool = False) -> Iterator[str]:
    """The table as aligned text: a heading, the rows, what is left out, the total."""
    cells = [_headings(table), *_all_cells(table, human)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    widths[0] = min(widths[0], NAME_COLUMNS)
    for name, *others in cells:
        numbers = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([name.ljust(widths[0]), *numbers]).rstrip()


def with_bars(table: Table, *, human: bool = False, columns: int = 80) -> RichTable:
    """The table for a terminal of so many columns, something that rich prints: each row with a bar for its share of the
    octets, as far as there is room. A name that takes more than half of the terminal is folded.
    """
    from rich.bar import Bar
    from rich.table import Table as RichTable
    from rich.text import Text

    headings = _headings(table)
    *cells, total = _all_cells(table, human)
    widths = [max(map(len, texts)) for texts in zip(headings, *cells, total, strict=True)]
    numbers = sum(widths[1:]) + 2 * len(widths)
    widths[0] = max(min(widths[0], columns // 2, columns - numbers), 8)
    room = min(columns - numbers - widths[0], BAR_COLUMNS)
    drawn = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_footer=True)
    for column, (heading, footer, width) in enumerate(zip(headings, total, widths, strict=True)):
        justify: JustifyMethod = "right" if column else "left"
        drawn.add_column(heading, footer, justify=justify, overflow="fold", width=width, min_width=width)
    if room > 0:
        drawn.add_column(width=room)
    # Text, since rich would take brackets in a name for markup.
    for row, texts in zip(_rows(table), cells, strict=True):
        bar = [Bar(1.0, 0.0, share(row, table.total), color="cyan")] if room > 0 else []
        drawn.add_row(*[Text(text) for text in texts], *bar)
    return drawn


def json_text(table: Table, key: str, **about: object) -> str:
    """One JSON object: `about` as it is, the list of rows under `key`, the total. ASCII only."""
    rows = [{table.heading: row.name, "octets": row.octets, "messages": row.messages} for row in table.rows]
    total = {"octets": table.total.octets, "messages": table.total.messages}
    return json.dumps({**about, key: rows, "total": total}, indent=2)


def csv_text(table: Table) -> str:
    """A line of headings and a line for each row, without a total; lines end in CRLF (RFC 4180)."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([table.heading, "octets", "messages"])
    writer.writerows([escaped(row.name), row.octets, row.messages] for row in table.rows)
    return text.getvalue()


def _headings(table: Table) -> list[str]:
    return [table.heading, "octets", "messages", "share", *table.extra]


def _all_cells(table: Table, human: bool) -> list[list[str]]:
    """The texts of all rows, of the rest, and of the total."""
    return [_cells(row, table, human) for row in (*_rows(table), table.total._replace(name="total"))]


def _rows(table: Table) -> list[Row]:
    return [*table.rows, table.rest] if table.rest else list(table.rows)


def _cells(row: Row, table: Table, human: bool) -> list[str]:
    octets = human_size(row.octets) if human else f"{row.octets:,}"
    extra = [*row.extra, *[""] * len(table.extra)][: len(table.extra)]
    return [escaped(row.name), octets, f"{row.messages:,}", f"{share(row, table.total):.1%}", *extra]

"""What `moxylogalyze` says in the end: the total or a table, for people or programs, and what was left out of it.

Rules: the answer goes to standard output, remarks to standard error, so that a pipe gets the answer alone.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import click

from moxy.cli.tables import Order, Table, arranged, csv_text, cut, human_size, json_text, show
from moxy.cli.tallying import CALENDARS, LISTINGS, Tally


class Style(NamedTuple):
    """How the answer is to look: `by` as for Tally, `sort` None for what suits it, at most `top` rows."""

    by: str | None
    sort: Order | None
    top: int | None
    human: bool
    as_json: bool
    as_csv: bool


def print_tally(tally: Tally, style: Style) -> None:
    """Print the answer."""
    table = _table(tally, style)
    if style.as_json:
        click.echo(_json(tally, table, style.by))
    elif style.as_csv:
        click.echo(csv_text(table), nl=False)
    elif style.by is not None:
        show(table, human=style.human)
    else:
        octets = human_size(tally.octets) if style.human else _counted(tally.octets, "octet", "octets")
        to = f" to {_counted(tally.recipients, 'recipient', 'recipients')}" if tally.recipients else ""
        click.echo(f"{octets} in {_counted(tally.messages, 'message', 'messages')}{to}")


def _table(tally: Tally, style: Style) -> Table:
    """The table that was asked for; without one, the total as its only row."""
    if style.by is None:
        return Table("total", [tally.total()], tally.total())
    order = style.sort or ("name" if style.by in CALENDARS else "octets")
    rows, rest = cut(arranged(tally.rows(), order), style.top)
    heading = LISTINGS[style.by].heading if style.by in LISTINGS else style.by
    return Table(heading, rows, tally.total(), rest)


def _json(tally: Tally, table: Table, by: str | None) -> str:
    remarks = {"misfits": tally.misfits, "foreign": tally.foreign, "undated": tally.undated}
    if by is not None:
        plural = LISTINGS[by].plural if by in LISTINGS else f"{by}s"
        return json_text(table, plural, lines=remarks)
    total = {"octets": tally.octets, "messages": tally.messages, "recipients": tally.recipients}
    return json.dumps({"lines": remarks, "total": total}, indent=2)


def remark(tally: Tally, *, verbose: bool) -> None:
    """Tell what was left out; `verbose`: the lines themselves have been shown."""
    hint = "" if verbose else " (-v shows them)"
    if tally.misfits:
        click.echo(f"{_counted(tally.misfits, 'line does', 'lines do')} not fit the format{hint}", err=True)
    if tally.undated:
        click.echo(f"{_counted(tally.undated, 'line has', 'lines have')} no date that can be read", err=True)
    if tally.foreign:
        click.echo(f"{_counted(tally.foreign, 'line is', 'lines are')} of other programs", err=True)


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"

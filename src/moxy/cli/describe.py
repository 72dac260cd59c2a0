"""`moxy describe`: the complete configuration with comments, ready to be changed; the reference page; a manual page."""

from __future__ import annotations

import click

from moxy.cli import manual
from moxy.config import describe as description


@click.command("describe", short_help="Print a moxy.toml with every key and its meaning.")
@click.option("--reference", is_flag=True, help="Print the reference page, in Markdown.")
@click.option(
    "--man",
    "page",
    type=click.Choice(manual.PAGES),
    metavar="PAGE",
    help=f"Print a manual page, in roff: {', '.join(manual.PAGES)}.",
)
def describe(reference: bool, page: str | None) -> None:
    """Print a moxy.toml with every key, its meaning and its default."""
    if reference and page:
        raise click.UsageError("--reference and --man are two pages: ask for one")
    click.echo(_text(reference, page), nl=False)


def _text(reference: bool, page: str | None) -> str:
    if page:
        return manual.page(page)
    return description.reference() if reference else description.describe()

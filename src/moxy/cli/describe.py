"""`moxy describe`: the complete configuration with comments, ready to be changed; or the reference page."""

from __future__ import annotations

import click

from moxy.config import describe as description


@click.command("describe")
@click.option("--reference", is_flag=True, help="Print the reference page, in Markdown.")
def describe(reference: bool) -> None:
    """Print a moxy.toml with every key, its meaning and its default."""
    click.echo(description.reference() if reference else description.describe(), nl=False)

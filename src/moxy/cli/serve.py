"""`moxy serve`: run the proxy. `moxy` alone does the same."""

from __future__ import annotations

from pathlib import Path

import click

from moxy.cli import serving_options
from moxy.config.load import find_config, load
from moxy.config.schema import Config
from moxy.process import start


@click.command()
@serving_options
def serve(config: Path | None, daemon: bool, port: int | None) -> None:
    """Run the proxy."""
    path = (config or find_config()).absolute()  # in the background we are elsewhere

    def read() -> Config:
        settings = load(path)
        return settings if port is None else start.with_port(settings, port)

    start.run(read, detach=daemon)

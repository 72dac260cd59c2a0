"""`moxy serve`: run the proxy. `moxy` alone does the same."""

from __future__ import annotations

from pathlib import Path

import click

from moxy.cli import serving_options


@click.command()
@serving_options
def serve(config: Path | None, daemon: bool, port: int | None) -> None:
    """Run the proxy."""
    from moxy.accounting import operatorlog
    from moxy.config.load import find_config, load
    from moxy.process import start

    settings = load(config or find_config())
    if port is not None:
        settings = start.with_port(settings, port)
    operatorlog.configure(settings.operator_log.level, settings.operator_log.style)
    start.run(settings, detach=daemon)

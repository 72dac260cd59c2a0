"""`moxy serve`: run the proxy. `moxy` alone does the same."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("-c", "--config", type=click.Path(path_type=Path), help="Configuration FILE to use.", metavar="FILE")
@click.option("-d", "--daemon", is_flag=True, help="Detach from the terminal and operate in the background.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), metavar="PORT", help="PORT to listen on.")
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

"""The command `moxy`: without a subcommand it runs the proxy, as the original did.

Subcommands live in a module each and are imported when they are asked for: `moxy -v` must not pay for all of them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from moxy import __version__
from moxy.errors import MoxyError
from moxy.routes.wording import nearest

SUBCOMMANDS: Final = (
    "serve",
    "check",
    "lookup",
    "makedbm",
    "stats",
    "logalyze",
    "ledger",
    "send",
    "sink",
    "cert",
    "demo",
    "describe",
    "completion",
)


class Subcommands(click.Group):
    """A group whose members are modules of this package, each with a command of its own name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order in which people need them."""
        del ctx
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the one that is asked for."""
        del ctx
        if name not in SUBCOMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"moxy.cli.{name}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is asked for; of one that is not there, the nearest is named."""
        if args[0] not in SUBCOMMANDS:
            raise click.UsageError(f"there is no command `{args[0]}`{nearest(args[0], SUBCOMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


def serving_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of the original's `moxy`, which `moxy serve` takes as well."""
    for option in (
        click.option("-p", "--port", type=click.IntRange(0, 65535), metavar="PORT", help="PORT to listen on."),
        click.option("-d", "--daemon", is_flag=True, help="Detach from the terminal and operate in the background."),
        click.option(
            "-c", "--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration FILE to use."
        ),
    ):
        command = option(command)
    return command


@click.group(cls=Subcommands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@serving_options
@click.version_option(__version__, "-v", "--version", message="Moxy %(version)s")
@click.pass_context
def moxy(ctx: click.Context, config: Path | None, daemon: bool, port: int | None) -> None:
    """Listen for connections and proxy mail to the servers of many domains.

    Without a COMMAND, Moxy serves.
    """
    if ctx.invoked_subcommand is None:
        from moxy.cli.serve import serve

        ctx.invoke(serve, config=config, daemon=daemon, port=port)
    elif config is not None or daemon or port is not None:
        raise click.UsageError(f"options go behind the command: moxy {ctx.invoked_subcommand} ...")


def main() -> None:
    """The entry point of `moxy`."""
    _run(lambda: moxy, "moxy")


def moxymakedbm() -> None:
    """The entry point of the original's `moxymakedbm`; `moxy makedbm` is the same."""
    _run_tool("makedbm")


def moxystats() -> None:
    """The entry point of the original's `moxystats`; `moxy stats` is the same."""
    _run_tool("stats")


def moxylogalyze() -> None:
    """The entry point of the original's `moxylogalyze`; `moxy logalyze` is the same."""
    _run_tool("logalyze")


def _run_tool(name: str) -> None:
    _run(lambda: moxy.get_command(click.Context(moxy), name), f"moxy{name}")


def _run(find: Callable[[], click.Command | None], name: str) -> None:
    """What goes wrong is told in a line of its own, never as a traceback."""
    _open_streams()
    try:
        command = find()
        assert command is not None  # noqa: S101 - a name among SUBCOMMANDS
        try:
            command(prog_name=name)
        finally:
            sys.stdout.flush()
    except MoxyError as error:
        _fail(name, str(error))
    except OSError as error:  # as a rule of standard output: a full disk
        _fail(name, error.strerror or str(error))
    except KeyboardInterrupt:
        os._exit(130)  # at once, for what else is interrupted would tell of it


def _fail(name: str, reason: str) -> None:
    with contextlib.suppress(OSError):
        print(f"{name}: {reason}", file=sys.stderr)  # noqa: T201
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(1)  # a stream that cannot be written would be flushed once more, and that be told


def _open_streams() -> None:
    """Have all three standard streams, if only into nothing: the first file that is opened would become one of them."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            setattr(sys, name, os.fdopen(number, mode))

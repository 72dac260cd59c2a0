"""`moxy completion`: what a shell must be told so that it completes the words of `moxy` and of the original's tools.

Bugs: words are completed where the programs are found on PATH; nothing is completed behind `./run`.
"""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

PROGRAMS = ("moxy", "moxymakedbm", "moxystats", "moxylogalyze")

SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command("completion", short_help="Print the script by which a shell completes commands.")
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete the commands and options of Moxy.

    \b
    bash:  eval "$(moxy completion bash)"     in ~/.bashrc
    zsh:   eval "$(moxy completion zsh)"      in ~/.zshrc, behind compinit
    fish:  moxy completion fish | source      in ~/.config/fish/config.fish
    """
    for program in PROGRAMS:
        click.echo(script(shell, program))


def script(shell: str, program: str) -> str:
    """Click's script for one program: the shell asks the program itself, by a variable named after it."""
    command = click.Command(program)  # only its name matters here; the program that is asked knows its words
    variable = f"_{program.upper()}_COMPLETE"
    return SHELLS[shell](command, {}, program, variable).source()

"""smtp-source, from Postfix: a client that sends many messages over many connections at once."""

from __future__ import annotations

from support.ports import LOOPBACK
from support.processes import require_program, run_to_end


def send_load(
    port: int, recipient: str, *, messages: int = 1, connections: int = 1, size: int = 1_000, reuse: bool = False
) -> None:
    """Send `messages` of `size` octets over `connections` at a time; `reuse` sends one after another over each.

    Raises AssertionError if any command was answered with anything but what a client hopes for.
    """
    arguments = [require_program("smtp-source"), "-s", str(connections), "-m", str(messages), "-l", str(size)]
    arguments += ["-M", "source.test", "-f", "source@source.test", "-t", recipient]
    if reuse:
        arguments.append("-d")
    finished = run_to_end([*arguments, f"{LOOPBACK}:{port}"], seconds=110)
    assert finished.returncode == 0, finished.stdout
    assert not finished.stdout, finished.stdout

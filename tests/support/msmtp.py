"""msmtp: a client without a queue. It gives up the whole message at the first recipient that is refused."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from support.ports import LOOPBACK
from support.processes import PATIENCE, require_program

_REFUSAL = re.compile(r"^msmtp: server message: (.*)", re.MULTILINE)


@dataclass(frozen=True)
class Sent:
    """How msmtp ended (as in sysexits.h), and what it printed."""

    status: int
    output: str

    @property
    def refusal(self) -> str:
        """The server's words, if it was a refusal."""
        return " ".join(line.strip() for line in _REFUSAL.findall(self.output))


def run_msmtp(
    port: int, sender: str, recipients: Sequence[str], content: bytes, *options: str, seconds: float = PATIENCE
) -> Sent:
    """Send this message, content with CRLF as on the wire, through the server at this port of loopback."""
    arguments = [require_program("msmtp"), "--file=/dev/null", f"--host={LOOPBACK}", f"--port={port}"]
    arguments += ["--domain=client.test", f"--from={sender or '<>'}", *options, "--", *recipients]
    done = subprocess.run(
        arguments,
        input=content.replace(b"\r\n", b"\n"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        check=False,
    )
    return Sent(done.returncode, done.stdout.decode(errors="replace"))

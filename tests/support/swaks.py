"""swaks: SMTP as people try it by hand. Its dialogue is what it prints; its exit status names the step that failed."""

from __future__ import annotations

import re

from support.ports import LOOPBACK
from support.processes import PATIENCE, require_program, run_to_end

RCPT_REFUSED = 24
"""swaks' exit status when no recipient was accepted."""

CONTENT_REFUSED = 26
"""swaks' exit status when the content was refused."""

_REPLY = re.compile(r"^<[-~*=][ *>] +(\d\d\d) (.*)", re.MULTILINE)


def run_swaks(port: int, *options: str, status: int = 0, seconds: float = PATIENCE) -> str:
    """Run swaks with these options against this port of loopback; what it shows of the dialogue."""
    arguments = [require_program("swaks"), "--server", LOOPBACK, "--port", str(port), "--helo", "client.test", *options]
    finished = run_to_end(arguments, seconds)
    assert finished.returncode == status, finished.stdout
    return finished.stdout


def replies(dialogue: str) -> list[str]:
    """The last line of each reply in a dialogue."""
    return [f"{code} {text}".rstrip() for code, text in _REPLY.findall(dialogue)]

"""Entries for ledgers, and ledgers for tests: several in one file, as several workers have them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from moxy.ledger import Entry, Ledger, State
from moxy.ledger.shared import SharedLedger
from moxy.ledger.stamp import Stamp
from support.processes import GLANCE, PATIENCE

SOURCE = Path(__file__).resolve().parents[2] / "src"
TESTS = Path(__file__).resolve().parents[1]

SENDER = "ann@a.test"
RECIPIENT = "bob@one.test"
NOW = 1_700_000_000.0


def entry(forward_path: str = RECIPIENT, state: State = State.COMMITTED, **others: Any) -> Entry:
    """An entry like any other, but for what is given. A `digest` may be a number."""
    digest = others.pop("digest", 1)
    fields = {
        "destination": "one",
        "host": "192.0.2.1:25",
        "reverse_path": SENDER,
        "forward_path": forward_path,
        "digest": digest.to_bytes(32) if isinstance(digest, int) else digest,
        "size": 1000,
        "state": state,
        "apart": True,
        "client": "198.51.100.7",
        "hello": "mail.a.test",
        "time": NOW,
    }
    return Entry(**fields | others)


async def written(ledger: Ledger) -> None:
    """Return when all is in the file that was on its way to it."""
    await ledger.rivals(entry())  # a question that only the file can answer


@asynccontextmanager
async def ledgers(
    path: Path, count: int = 1, *, hours: float = 72, entries: int = 1000, now: float = NOW + 1
) -> AsyncIterator[list[SharedLedger]]:
    """So many ledgers in one file, with one stamp."""
    stamp, loop = Stamp(), asyncio.get_running_loop()
    found = [SharedLedger(path, stamp, loop, hours=hours, entries=entries, clock=lambda: now) for _ in range(count)]
    try:
        yield found
    finally:
        for ledger in found:
            ledger.close()


async def until(condition: Callable[[], object], what: str = "a condition") -> None:
    """Wait until it holds."""
    for _ in range(round(PATIENCE / GLANCE)):
        if condition():
            return
        await asyncio.sleep(GLANCE / 10)
    raise AssertionError(f"waited for {what}")


def program(text: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Python in a process of its own, for what may kill it. It may import what tests may."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", text, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{SOURCE}:{TESTS}"},
    )

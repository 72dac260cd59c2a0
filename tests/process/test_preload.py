"""What is needed after the drop is in memory before it: tried with files that cannot be read any more."""

from __future__ import annotations

import subprocess
import sys

import pytest

from moxy.accounting import operatorlog
from support.moxy_commands import environment

# Every import after the drop fails, as where the interpreter lies in a directory that the user cannot read.
AFTER_THE_DROP = """
import asyncio, os, sys
import uvloop
from moxy.accounting import operatorlog
from moxy.process import preload, start

operatorlog.configure("info", sys.argv[1])

class Unreadable:
    def find_spec(self, name, path=None, target=None):
        raise ModuleNotFoundError(f"{name} was not loaded in time")

sys.path_importer_cache.clear()
sys.meta_path.insert(0, Unreadable())

async def lookup():
    loop = asyncio.get_running_loop()
    for name in ("localhost", "b\\u00fccher.invalid"):
        try:
            await loop.getaddrinfo(name, 25)
        except OSError:
            pass
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.001)
    except TimeoutError:
        pass

loop = uvloop.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(lookup())
loop.close()

import traceback
try:
    1 / 0
except ZeroDivisionError:
    traceback.format_exc()
    from structlog import get_logger
    get_logger().exception("told")
for codec in ("ascii", "latin-1", "idna", "punycode", "unicode-escape"):
    "x".encode(codec)
"""


@pytest.mark.parametrize("style", operatorlog.STYLES)
def test_names_are_resolved_and_errors_told_without_another_import(style):
    result = subprocess.run(
        [sys.executable, "-P", "-c", AFTER_THE_DROP, style],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "ZeroDivisionError" in result.stderr
    assert "was not loaded in time" not in result.stdout + result.stderr

"""Many messages and large ones: smtp-source through Moxy to smtp-sink, with every message counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.moxy_process import running_moxy
from support.smtpsink import SmtpSink
from support.smtpsource import send_load

pytestmark = [pytest.mark.interop, pytest.mark.slow]

MESSAGES = 5_000
MEGABYTE = 1_000_000


@pytest.mark.parametrize("reuse", [False, True], ids=["a connection for each", "connections reused"])
def test_every_message_of_a_load_arrives_and_is_recorded_once(directory: Path, reuse: bool) -> None:
    with SmtpSink(directory) as sink, running_moxy(directory, f"one.test {sink.address}\n") as moxy:
        send_load(moxy.port, "ann@one.test", messages=MESSAGES, connections=20, size=4_000, reuse=reuse)
        moxy.wait_until(lambda: len(moxy.records()) >= MESSAGES, f"{MESSAGES} records")
        assert sink.count() == MESSAGES
        assert len(moxy.records()) == MESSAGES


def test_a_message_of_50_megabytes_passes_in_constant_memory(directory: Path) -> None:
    with SmtpSink(directory) as sink, running_moxy(directory, f"one.test {sink.address}\n") as moxy:
        send_load(moxy.port, "ann@one.test", size=MEGABYTE)
        before = moxy.peak_memory()
        send_load(moxy.port, "ann@one.test", size=50 * MEGABYTE)
        assert sink.count() == 2
        assert moxy.peak_memory() - before < 16 * MEGABYTE

"""Recorder: hands each record to every sink, and keeps the sinks' troubles away from the mail."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from structlog import get_logger

from moxy.accounting import Sink
from moxy.accounting.record import Record

QUIET_SECONDS: Final = 60.0
"""A failing sink is reported at most this often: it may fail with every message."""

log = get_logger("moxy.accounting")


class Recorder:
    """Fans records out to `sinks`. `failures` counts the calls that raised; none of them ever raises here.

    `clock` gives seconds, only ever forward.
    """

    def __init__(self, sinks: Sequence[Sink], clock: Callable[[], float] = time.monotonic) -> None:
        self.sinks = tuple(sinks)
        self.failures = 0
        self._clock = clock
        self._quiet_until: dict[Sink, float] = {}

    def record(self, record: Record) -> None:
        """Give `record` to every sink."""
        for sink in self.sinks:
            try:
                sink.record(record)
            except BaseException:  # noqa: BLE001 - whatever a sink does wrong, the mail goes on, even if it wants to exit
                self._failed(sink)

    def reopen(self) -> None:
        """Have every sink open its files anew (log rotation)."""
        for sink in self.sinks:
            try:
                sink.reopen()
            except Exception:  # noqa: BLE001 - as above
                self._failed(sink)

    def close(self) -> None:
        """Close every sink."""
        for sink in self.sinks:
            try:
                sink.close()
            except Exception:  # noqa: BLE001 - the other sinks still hold lines to be written
                self._failed(sink)

    def _failed(self, sink: Sink) -> None:
        """Called while the exception is handled: the log takes it from there."""
        self.failures += 1
        now = self._clock()
        if now < self._quiet_until.get(sink, now):
            return
        self._quiet_until[sink] = now + QUIET_SECONDS
        log.exception("sink_failed", sink=type(sink).__name__, failures=self.failures)

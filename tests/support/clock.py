"""A clock that stands still until a test says otherwise."""

from __future__ import annotations


class Clock:
    """Seconds, as `time.monotonic` gives them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_time(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.now += seconds

"""Adding up the lines of logs: a Selection says which lines count, a Tally adds them up, in total and under names.

Rules: memory grows with the number of different names and with nothing else. A message sent to several recipients at
one destination is one line, and counts once in the total; under recipients it counts for each of them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from moxy.accounting.linereader import LineReader
from moxy.accounting.patterns import recipients, unnamed
from moxy.cli.matching import Test, folded, folded_domain
from moxy.cli.tables import Row

UNNAMED: Final = b"(not named in the log)"
"""The name for recipients that were too many for their line."""

Line = re.Match[bytes]


class Listing(NamedTuple):
    """A way to name lines: the word of the format that it needs, what its table is headed, the names of a line."""

    word: str
    heading: str
    plural: str
    names: Callable[[Line], Iterable[bytes]]


def _domain(address: bytes) -> bytes:
    return folded_domain(address[address.rfind(b"@") + 1 :])


def _recipient_domains(line: Line) -> set[bytes]:
    """Each domain once, however many recipients it has."""
    return {UNNAMED if unnamed(address) else _domain(address) for address in recipients(line["rcpts"])}


LISTINGS: Final = {
    "from": Listing("sender", "sender", "senders", lambda line: (line["sender"],)),
    "ip": Listing("shost", "client", "clients", lambda line: (line["shost"],)),
    "dest": Listing("dhost", "destination", "destinations", lambda line: (line["dhost"],)),
    "rcpt": Listing("rcpts", "recipient", "recipients", lambda line: recipients(line["rcpts"])),
    "from-domain": Listing("sender", "domain", "domains", lambda line: (_domain(line["sender"]),)),
    "rcpt-domain": Listing("rcpts", "domain", "domains", _recipient_domains),
}
"""Listings by what a line says; those by its time are in CALENDARS."""

CALENDARS: Final = {"day": "%Y-%m-%d", "hour": "%Y-%m-%d %H:00"}
"""Listings by local time, and how the day or the hour is called."""


class Selection:
    """Which lines count: for each word one of its tests must hold, and the time be from `since` to before `until`."""

    def __init__(
        self, tests: Mapping[str, Sequence[Test]], since: float | None = None, until: float | None = None
    ) -> None:
        self.tests = {word: tuple(alternatives) for word, alternatives in tests.items() if alternatives}
        self.since = since
        self.until = until

    @property
    def timed(self) -> bool:
        """Whether the time of a line matters."""
        return self.since is not None or self.until is not None

    def takes(self, line: Line) -> bool:
        """Whether the line is wanted, whatever its time."""
        for word, tests in self.tests.items():
            fields = recipients(line[word]) if word == "rcpts" else (line[word],)
            if not any(test(field) for field in fields for test in tests):
                return False
        return True

    def takes_time(self, moment: float) -> bool:
        """Whether a line of that time is wanted."""
        return (self.since is None or moment >= self.since) and (self.until is None or moment < self.until)


class Tally:
    """What the lines add up to. `by` is one of LISTINGS or CALENDARS, or None where only the total is asked for.

    `misfits` are lines that do not fit the format, `foreign` those of other programs in a file of syslog, `undated`
    those that would have counted if it were known when they were written. `show_match` and `show_misfit` are given
    such lines as they come.
    """

    def __init__(
        self,
        reader: LineReader,
        selection: Selection,
        by: str | None = None,
        show_match: Callable[[bytes], None] | None = None,
        show_misfit: Callable[[bytes], None] | None = None,
    ) -> None:
        self.octets = self.messages = self.recipients = 0
        self.misfits = self.foreign = self.undated = 0
        self._reader = reader
        self._selection = selection
        self._by = by
        self._listing = LISTINGS.get(by or "")
        self._timed = selection.timed or by in CALENDARS
        self._count_recipients = "rcpts" in reader.words
        self._show_match = show_match
        self._show_misfit = show_misfit
        self._sums: dict[bytes, list[int]] = {}

    def add(self, lines: Iterable[bytes]) -> None:
        """Add lines, with or without their ends."""
        match = self._reader.match
        takes = self._selection.takes if self._selection.tests else None
        for octets in lines:
            line = match(octets)
            if line is None:
                self._misfit(octets)
            elif takes is None or takes(line):
                names = self._names(line)
                if names is not None:
                    self._add(line, names)
                    if self._show_match is not None:
                        self._show_match(octets)

    def rows(self) -> list[Row]:
        """The sums under each name, in no order. Names that differ in the case of a domain are one."""
        merged: dict[str, list[int]] = {}
        for key, (octets, messages) in self._sums.items():
            name, times = self._named(key)
            sums = merged.setdefault(name, [0, 0])
            sums[0] += octets * times
            sums[1] += messages * times
        return [Row(name, octets, messages) for name, (octets, messages) in merged.items()]

    def total(self) -> Row:
        """The sum of all lines that count."""
        return Row("total", self.octets, self.messages)

    def _names(self, line: Line) -> Iterable[bytes] | None:
        """What to count the line under; None: it does not count, because of its time."""
        if self._timed:
            moment = self._reader.moment(line)
            if moment is None:
                self.undated += 1
                return None
            if not self._selection.takes_time(moment):
                return None
            if self._by in CALENDARS:
                return (time.strftime(CALENDARS[self._by], time.localtime(moment)).encode(),)
        return self._listing.names(line) if self._listing is not None else ()

    def _add(self, line: Line, names: Iterable[bytes]) -> None:
        size = int(line["msize"])
        self.octets += size
        self.messages += 1
        if self._count_recipients:
            self.recipients += _number(line["rcpts"])
        for name in names:
            sums = self._sums.get(name)
            if sums is None:
                self._sums[name] = [size, 1]
            else:
                sums[0] += size
                sums[1] += 1

    def _misfit(self, octets: bytes) -> None:
        if self._reader.is_foreign(octets):
            self.foreign += 1
            return
        self.misfits += 1
        if self._show_misfit is not None:
            self._show_misfit(octets)

    def _named(self, key: bytes) -> tuple[str, int]:
        """How a key is shown, and how often its messages count."""
        times = unnamed(key) if self._by == "rcpt" else 0
        if times:
            return UNNAMED.decode(), times
        if not key:
            return "<>", 1
        address = folded(key) if self._by in ("from", "rcpt") else key.lower() if self._by == "dest" else key
        return address.decode(errors="backslashreplace"), 1


def _number(octets: bytes) -> int:
    """How many recipients a line has."""
    if b'"' not in octets and b",+" not in octets and not octets.startswith(b"+"):
        return octets.count(b",") + 1
    named = recipients(octets)
    return len(named) - 1 + (unnamed(named[-1]) or 1)

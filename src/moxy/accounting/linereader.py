"""LineReader: the reading counterpart of `LineFormat`; a line of a log, in whatever format, taken apart again.

A format is compiled to one pattern. In front of the line there may be what a syslog daemon adds; whether it is there is
seen line by line.

Rules: a line fits or it does not, and a line that `LineFormat` wrote reads back to the same fields. A format in which
that is not certain is refused. Only the pattern of a word decides where it ends, never a search for what comes next.
An empty %sender is no exception: no path can begin with what follows it and go on as the rest of the line must.

RFC 3164 §4.1.2 and RFC 3339 (stamps of syslog).

Bugs: a syslog daemon that folds equal lines into one (`message repeated 2 times`) makes of them a line that does not
fit. The tag in syslog must be `moxy`.
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Final

from moxy.accounting.datereader import DateReader
from moxy.accounting.patterns import WORDS, Piece, joined, literal
from moxy.accounting.textformat import WORD
from moxy.net.syslog import TAG

_CLOCK: Final = rb"[0-9]{2}:[0-9]{2}:[0-9]{2}"
_STAMP: Final = (
    rb"(?:[A-Z][a-z]{2} [ 0-9][0-9] %b" % _CLOCK
    + rb"|[0-9]{4}-[0-9]{2}-[0-9]{2}T%b(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)" % _CLOCK
)
# Behind the stamp the host, and in busybox's logs the severity too.
_BEFORE_TAG: Final = rb"(?:<[0-9]{1,3}>)?(?P<stamp>" + _STAMP + rb") (?:\S++(?<!:) ){0,2}"
_BEHIND_TAG: Final = rb"(?:\[[0-9]++\])?: "
_TAG: Final = TAG.encode()
_PREFIX: Final = _BEFORE_TAG + _TAG + _BEHIND_TAG
_ANY_PREFIX: Final = re.compile(_BEFORE_TAG + rb"(?P<tag>[^\s:\[]++)" + _BEHIND_TAG)

_SYSLOG_DATE: Final = DateReader("%b %e %H:%M:%S")


class LineReader:
    """Reads lines written in `format` with dates in `date_format`, with a prefix of syslog or without.

    `words` are those that the format has. `now` (seconds since the epoch, None: the clock's) is for dates without a
    year. Raises ValueError, with a text for people: no %msize, words that cannot be told apart, a date format that
    cannot be read back.
    """

    def __init__(self, format: str, date_format: str, now: float | None = None) -> None:
        self._date = DateReader(date_format)
        self._now = time.time() if now is None else now
        parts = self._parts(format)
        self.words = frozenset(word for word, _ in parts if word)
        if "msize" not in self.words:
            raise ValueError("the format has no %msize, so there is nothing to add up")
        _check_ends(parts)
        self._dates_tell = "date" in self.words and self._date.tells_day
        self._last: tuple[bytes, float | None] = (b"", None)
        self.match = re.compile(rb"(?:%b)?%b\r?\n?" % (_PREFIX, b"".join(_grouped(parts)))).fullmatch
        """A line of octets to a match with the groups of `words`, or to None if it does not fit. Its end may be there.
        """

    def is_foreign(self, line: bytes) -> bool:
        """Whether a line that does not fit is another program's, in a file that syslog wrote."""
        match = _ANY_PREFIX.match(line)
        return match is not None and match["tag"] != _TAG

    def moment(self, match: re.Match[bytes]) -> float | None:
        """When the line was written, in seconds since the epoch: from its date, else from syslog's; None: not known."""
        date: bytes | None = match["date"] if self._dates_tell else match["stamp"]
        if date is None:
            return None
        if date != self._last[0]:  # a busy log has many lines in a second
            self._last = (date, self._date.moment(date, self._now) if self._dates_tell else self._stamped(date))
        return self._last[1]

    def _stamped(self, stamp: bytes) -> float | None:
        if not stamp[:1].isdigit():
            return _SYSLOG_DATE.moment(stamp, self._now)
        try:
            return datetime.fromisoformat(stamp.decode()).timestamp()
        except (ValueError, OverflowError):
            return None

    def _parts(self, format: str) -> list[tuple[str, Piece]]:
        """The pieces of a line, each with the word that it is; "" for the text between."""
        parts: list[tuple[str, Piece]] = []
        text = ""
        for position, part in enumerate(WORD.split(format)):
            if position % 2 == 0 or part == "%":
                text += part
            else:
                parts += [("", literal(text)), (part, self._date.piece if part == "date" else WORDS[part])]
                text = ""
        return [*parts, ("", literal(text))]


def _grouped(parts: list[tuple[str, Piece]]) -> list[bytes]:
    """The patterns with a group for each word where it comes first; where it comes again it must be the same."""
    patterns: list[bytes] = []
    seen: set[str] = set()
    for word, piece in parts:
        if not word:
            patterns.append(piece.pattern)
        elif word in seen:
            patterns.append(b"(?P=%b)" % word.encode())
        else:
            patterns.append(b"(?P<%b>%b)" % (word.encode(), piece.pattern))
        seen.add(word)
    return patterns


def _check_ends(parts: list[tuple[str, Piece]]) -> None:
    """Raise ValueError for a word whose end could as well be more of it."""
    for position, (word, piece) in enumerate(parts):
        following = parts[position + 1 :]
        if piece.goes_on & joined([piece for _, piece in following]).starts:
            next_word = next(name for name, piece in following if not piece.may_be_empty or name)
            other = f"%{next_word}" if next_word else "the text behind it"
            raise ValueError(
                f"%{word} and {other} cannot be told apart: the format needs a text between them that can be part of"
                " neither"
            )

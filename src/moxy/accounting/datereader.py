"""DateReader: strftime read backwards; a date that a `log_dateformat` wrote becomes a moment.

Rules: names of days and months are English ones, since Moxy writes them so whatever the locale. A date without a zone
is local time. A date without a year is in the latest year that does not put it into the future.

Bugs: `%Z` is read over: a zone's name alone does not tell its distance from UTC; nor do weeks (`%G`, `%V`, `%U`, `%W`)
tell a day. Widths (`%10Y`) and the modifiers `E` and `O` are not known. In the hour that a zone repeats in autumn,
a date without `%z` is taken for the first time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from datetime import time as clock_time
from typing import Final

from moxy.accounting.patterns import Piece, joined, literal, octets_of

AHEAD_SECONDS: Final = 86_400
"""How far in the future a date without a year may be: another machine's clock may be ahead, or its zone."""

YEARS_BACK: Final = 8
"""How far to look for a year that has the date: there may be eight between two 29ths of February."""

_TOGETHER: Final = {
    "c": "%a %b %e %H:%M:%S %Y",
    "D": "%m/%d/%y",
    "F": "%Y-%m-%d",
    "h": "%b",
    "r": "%I:%M:%S %p",
    "R": "%H:%M",
    "T": "%H:%M:%S",
    "x": "%m/%d/%y",
    "X": "%H:%M:%S",
}
"""Letters that stand for several others."""

_DIGITS: Final = dict.fromkeys("CdegHIklmMSUVWy", 2) | {"j": 3, "Y": 4, "G": 4, "u": 1, "w": 1}
"""Numbers of that many digits."""

_BLANK_PADDED: Final = "ekl"
"""Those of them that have blanks in front instead of zeros."""

_MONTHS: Final = {
    name: number for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)
}

_LETTER: Final = octets_of(rb"[A-Za-z]")
_DIGIT: Final = octets_of(rb"[0-9]")

_OTHERS: Final = {
    "a": Piece(rb"[A-Za-z]{3}", _LETTER),
    "A": Piece(rb"[A-Za-z]{6,9}", _LETTER, _LETTER),
    "b": Piece(rb"[A-Za-z]{3}", _LETTER),
    "B": Piece(rb"[A-Za-z]{3,9}", _LETTER, _LETTER),
    "p": Piece(rb"[AaPp][Mm]", _LETTER),
    "P": Piece(rb"[AaPp][Mm]", _LETTER),
    "s": Piece(rb"[0-9]{1,12}", _DIGIT, _DIGIT),
    "z": Piece(rb"[+-][0-9]{4}", octets_of(rb"[+-]")),
    "Z": Piece(rb"[A-Za-z0-9+-]*+", octets_of(rb"[A-Za-z0-9+-]"), octets_of(rb"[A-Za-z0-9+-]"), may_be_empty=True),
    "n": literal("\\x0a"),  # a line end in a line, as LineFormat writes it
    "t": literal("\t"),
    "%": literal("%"),
}

_DIRECTIVE: Final = re.compile(r"%([-_0^#]?.?)", re.DOTALL)


class DateReader:
    """Reads dates as strftime writes them with `format`. `piece` is their pattern; `tells_day` whether they have a day.

    Raises ValueError, with a text for people, for letters that cannot be read back.
    """

    def __init__(self, format: str) -> None:
        parts = list(_parts(format))
        self.piece = joined([piece for _, piece in parts])
        letters = {letter for letter, _ in parts}
        self.tells_day = bool("s" in letters or (letters & set("mbB") and letters & set("de")) or letters >= set("jY"))
        self._fullmatch = re.compile(b"".join(_grouped(parts))).fullmatch

    def moment(self, text: bytes, now: float) -> float | None:
        """Seconds since the epoch; None for what is no whole date. `now` is for dates without a year."""
        match = self._fullmatch(text)
        if match is None or not self.tells_day:
            return None
        fields = match.groupdict()
        try:
            return float(fields["s"]) if "s" in fields else _moment(fields, now)
        except (ValueError, OverflowError, OSError, KeyError):  # the 31st of June; a year beyond what the system counts
            return None


def _parts(format: str) -> Iterator[tuple[str, Piece]]:
    """The pieces of a date, each with the letter that it is of; "" for text between."""
    for position, part in enumerate(_DIRECTIVE.split(format)):
        if position % 2 == 0:
            if part:
                yield "", literal(part)
        elif part in _TOGETHER:
            yield from _parts(_TOGETHER[part])
        else:
            yield part[-1:], _piece(part)


def _piece(directive: str) -> Piece:
    flag, letter = directive[:-1], directive[-1:]
    if letter in _OTHERS:
        return _OTHERS[letter]
    if letter not in _DIGITS:
        raise ValueError(f"the date format has `%{directive}`, which cannot be read back")
    width = _DIGITS[letter]
    if flag == "-":
        return Piece(b"[0-9]{1,%d}" % width, _DIGIT, _DIGIT)
    if flag == "_" or letter in _BLANK_PADDED:
        return Piece(b"[ 0-9]{%d}[0-9]" % (width - 1), _DIGIT | frozenset(b" "))
    return Piece(b"[0-9]{%d}" % width, _DIGIT)


def _grouped(parts: list[tuple[str, Piece]]) -> Iterator[bytes]:
    """The patterns with a group for each letter where it comes first."""
    seen = {"", "%"}
    for letter, piece in parts:
        yield piece.pattern if letter in seen else b"(?P<%s>%s)" % (letter.encode(), piece.pattern)
        seen.add(letter)


def _moment(fields: dict[str, bytes], now: float) -> float:
    """Raises ValueError, OverflowError or KeyError for what is no date."""
    zone = _zone(fields["z"]) if "z" in fields else None
    year = _year(fields)
    if year is not None:
        return _in_year(fields, year, zone)
    latest = now + AHEAD_SECONDS
    this_year = datetime.fromtimestamp(latest, zone).year
    for year in range(this_year, this_year - YEARS_BACK - 1, -1):
        try:
            moment = _in_year(fields, year, zone)
        except ValueError:  # no 29th of February in that year
            continue
        if moment <= latest:
            return moment
    raise ValueError("no year has this date")


def _year(fields: dict[str, bytes]) -> int | None:
    if "Y" in fields:
        return int(fields["Y"])
    if "y" not in fields:
        return None
    year = int(fields["y"])
    if "C" in fields:
        return 100 * int(fields["C"]) + year
    return year + (1900 if year >= 69 else 2000)  # as POSIX reads two digits


def _in_year(fields: dict[str, bytes], year: int, zone: timezone | None) -> float:
    second = min(int(fields.get("S", b"0")), 59)  # a leap second is none to the rest of the world
    clock = clock_time(_hour(fields), int(fields.get("M", b"0")), second, tzinfo=zone)
    return datetime.combine(_day(fields, year), clock).timestamp()


def _day(fields: dict[str, bytes], year: int) -> date:
    if "j" in fields:
        return date(year, 1, 1) + timedelta(days=int(fields["j"]) - 1)
    name = fields.get("b") or fields.get("B")
    month = _MONTHS[name[:3].lower()] if name else int(fields["m"])
    return date(year, month, int(fields["d"] if "d" in fields else fields["e"]))


def _hour(fields: dict[str, bytes]) -> int:
    if "H" in fields or "k" in fields:
        return int(fields["H"] if "H" in fields else fields["k"])
    hour = int(fields.get("I") or fields.get("l") or b"0")
    half = fields.get("p") or fields.get("P")
    if not half:
        return hour
    return (0 if hour == 12 else hour) + (12 if half.lower() == b"pm" else 0)


def _zone(text: bytes) -> timezone:
    distance = timedelta(hours=int(text[1:3]), minutes=int(text[3:]))
    return timezone(-distance if text.startswith(b"-") else distance)

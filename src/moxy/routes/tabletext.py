"""The text of a route table: lines of a key and where its mail goes, as in the original's `moxy.db`.

    # friends
    example.org         mail.example.org:2525
    bigorg.example      10.0.0.5:25, 10.0.0.6:25    # both get every message
    alice@example.org   [2001:db8::1]               # port 25
    here.example        unix:/run/dovecot/lmtp      # a server on this machine, at a Unix socket
    .example.org        customers                   # all sub-domains; a destination of the configuration
    *                   localhost:10025

Rules:
- Blanks and tabs separate; a comment starts with `#` at the start of a line or after a blank. A local part in quotes
  may hold both.
- Every mistake is reported, with its line (up to PROBLEMS_LIMIT).
- Equal values are read once and share what comes of it, a Route as a rule: a table of a million domains has few
  destinations, and must load in seconds.
- A value may be the name of a destination (`hosts.refuse_unknown_name` tells it from a host).

Bugs: a local part that starts with `#` must be written with quotes, `"#1"@example.org`.
"""

from __future__ import annotations

import codecs
import re
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Generic, TypeVar

from moxy.errors import Problem
from moxy.mail.route import Mode, Route
from moxy.routes.hosts import parse_hosts, refuse_unknown_name
from moxy.routes.order import normal_key
from moxy.routes.wording import harmless

PROBLEMS_LIMIT: Final = 1000
"""A text with more mistakes than this is no table at all; reading on would only fill the memory with reports."""

_KEY: Final = re.compile(r'"(?:[^"\\]|\\.)*"[^ \t]*|[^ \t]+')
_COMMENT: Final = re.compile(r"(?:^|[ \t])#.*")
_BLANKS: Final = " \t\r\n"

T = TypeVar("T")


def read_table(
    lines: Iterable[bytes], file: str, mode: Mode, destinations: Mapping[str, Route]
) -> tuple[dict[str, Route], list[Problem]]:
    """The entries of a table, by normal key, and every mistake in it; with mistakes the entries are not complete.

    `file` is the name that the problems tell. `mode` is how the hosts of a value share the mail; `destinations` are
    the routes that a value may name instead.
    """
    return read_entries(lines, file, lambda value: route_of(value, mode, destinations))


def read_entries(lines: Iterable[bytes], file: str, parse: Callable[[str], T]) -> tuple[dict[str, T], list[Problem]]:
    """As `read_table`, for whatever `parse` makes of the text of a value; it raises ValueError for a bad one."""
    reader = _Reader(file, parse)
    given_up = []
    for number, octets in enumerate(lines, 1):
        reader.read(number, octets)
        if reader.mistakes >= PROBLEMS_LIMIT:
            given_up = [Problem(file, number, "", "too many mistakes, the rest was not read")]
            break
    reader.report_repetitions()
    return reader.entries, sorted(reader.problems, key=lambda problem: problem.line) + given_up


def route_of(value: str, mode: Mode, destinations: Mapping[str, Route]) -> Route:
    """The route that the value of an entry spells: a name among `destinations`, or hosts that share the mail by `mode`.

    Raises ValueError, with a text that says what was expected.
    """
    route = destinations.get(value)
    if route is None:
        refuse_unknown_name(value, destinations)
        route = Route(parse_hosts(value), mode)
    return route


def split_line(line: str) -> tuple[str, str] | None:
    """Key and value of a line, both as spelled; None for a blank line or a comment. The value may be empty."""
    line = line.strip(_BLANKS)
    if not line or line.startswith("#"):
        return None
    key = _KEY.match(line)
    end = key.end() if key else 0
    value = line[end:]
    return line[:end], (_COMMENT.sub("", value) if "#" in value else value).strip(_BLANKS)


class _Reader(Generic[T]):
    """A table in the making."""

    def __init__(self, file: str, parse: Callable[[str], T]) -> None:
        self.entries: dict[str, T] = {}
        self.problems: list[Problem] = []
        self._file = file
        self._parse = parse
        self._values: dict[str, T] = {}
        self._line_numbers = array("L")  # of the entries, in their order: a dict of them would double the memory
        self._repetitions: list[tuple[int, str]] = []

    def read(self, number: int, octets: bytes) -> None:
        """Take one line, with or without its line end."""
        spelled = ""
        try:
            fields = split_line(_decoded(number, octets))
            if fields is None:
                return
            spelled, text = fields
            key = normal_key(spelled)
            value = self._values.get(text) or self._new_value(text)
        except ValueError as error:
            self.problems.append(Problem(self._file, number, harmless(spelled), str(error)))
            return
        if key in self.entries:
            self._repetitions.append((number, key))
        else:
            self.entries[key] = value
            self._line_numbers.append(number)

    @property
    def mistakes(self) -> int:
        """How many there are so far."""
        return len(self.problems) + len(self._repetitions)

    def report_repetitions(self) -> None:
        """Tell of every key that came again, and where it stood first: which of the two is meant nobody can know."""
        wanted = {key for _, key in self._repetitions}
        first = {key: number for key, number in zip(self.entries, self._line_numbers, strict=True) if key in wanted}
        for number, key in self._repetitions:
            self.problems.append(Problem(self._file, number, harmless(key), f"stands in line {first[key]} already"))

    def _new_value(self, text: str) -> T:
        value = self._values[text] = self._parse(text)
        return value


def _decoded(number: int, octets: bytes) -> str:
    if number == 1:
        octets = octets.removeprefix(codecs.BOM_UTF8)
    if b"\0" in octets:
        raise ValueError("a NUL octet: this is no text file")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise ValueError("expected UTF-8") from None

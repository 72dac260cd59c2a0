"""LineFormat: the original's `log_format`, compiled once; a record as one line of text.

Rules: a line is one line. Whatever a peer put into an address, and whatever the formats hold, there is no line end in
what `render` returns. Recipients stay as they are spelled, so a comma or a blank in one stands between its quotes.

Bugs: the date has whole seconds; strftime has no word for less.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from operator import attrgetter
from typing import Final

from moxy.accounting.escape import escaped
from moxy.accounting.record import Record

Reader = Callable[[Record], object]

_FIELDS: Final[dict[str, Reader]] = {
    "shost": lambda record: record.client or "unix",
    "sender": attrgetter("reverse_path"),
    "dhost": attrgetter("destination"),
    "rcpts": lambda record: ",".join(record.recipients),
    "msize": attrgetter("size"),
}
"""Every `%word` but `%date`, which belongs to the format as much as to the record."""

WORDS: Final = (*_FIELDS, "date")
"""Every word that a format may have."""

# Alternatives are tried from left to right: the longest name must come first.
WORD: Final = re.compile("%(" + "|".join(["%", *sorted(WORDS, key=len, reverse=True)]) + ")")
"""Splits a format into text, word, text, word, ..., text; the word `%` stands for itself."""


def unknown_words(format: str) -> list[str]:
    """What looks like a word in `format` and is none: it stays as it is, which hardly anybody wants."""
    return [word for text in WORD.split(format)[::2] for word in re.findall("%([A-Za-z_]+)", text)]


class LineFormat:
    """`format` with its `%words` replaced: `%shost %sender %dhost %rcpts %msize %date`.

    %shost is the client's address (`unix` behind a Unix socket), %sender the reverse-path, %dhost the host:port that
    was spoken with, %rcpts the recipients with commas between, %msize the octets of content, %date local time as
    `date_format` says (strftime).
    `%%` is a percent sign; a `%word` that is none of these stays as it is. Raises ValueError for a date format that
    strftime refuses. The example on the original's page of configuration:

        %date: %msize bytes from <%sender> [%shost] to [%dhost] for '%rcpts'        with the date   %d/%m/%y %T %z
        04/12/01 23:43:08 -0800: 26138 bytes from <...> [...] to [...] for '...'
    """

    def __init__(self, format: str, date_format: str) -> None:
        self._date_format = date_format
        self._second = 0
        self._date = self._rendered_date(0)
        self._template, self._readers = self._compile(format)

    def render(self, record: Record) -> str:
        """The line for `record`, without a line end."""
        line = self._template % tuple([read(record) for read in self._readers])
        return line if line.isprintable() else self._template % self._escaped(record)

    def _escaped(self, record: Record) -> tuple[object, ...]:
        """What fills the template, with what strangers have written made harmless."""
        date = self._date_of
        return tuple([read(record) if read == date else escaped(str(read(record))) for read in self._readers])

    def _compile(self, format: str) -> tuple[str, tuple[Reader, ...]]:
        """A %-template with one `%s` for each word, and for each what fills it: the fastest way of those measured."""
        pieces: list[str] = []
        readers: list[Reader] = []
        for position, piece in enumerate(WORD.split(format)):
            if position % 2 == 0:
                pieces.append(_one_line(piece).replace("%", "%%"))
            elif piece == "%":
                pieces.append("%%")
            else:
                pieces.append("%s")
                readers.append(self._date_of if piece == "date" else _FIELDS[piece])
        return "".join(pieces), tuple(readers)

    def _date_of(self, record: Record) -> str:
        """Rendered once a second, not once a line: strftime costs more than all the rest."""
        second = int(record.time)
        if second != self._second:
            self._date = self._rendered_date(second)
            self._second = second
        return self._date

    def _rendered_date(self, second: int) -> str:
        return _one_line(time.strftime(self._date_format, time.localtime(second)))


def _one_line(text: str) -> str:
    """`text` of the operator's own: tabs are welcome as separators, line ends are not."""
    return "\t".join([escaped(part) for part in text.split("\t")])

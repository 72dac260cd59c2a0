"""Dialogues: sessions as the RFC prints them (RFC 5321 appendix D), read from text files and compared line by line.

    # a comment; the first one says what the dialogue shows
    Listener: lmtp                  the client speaks LMTP to us
    Listener: starttls              the client may encrypt
    Limits: transactions=1          bounds of the service, other than by default
    Offer: 8BITMIME DSN             what is offered of that which destinations may lack, other than by default
    Route: example.com U            recipients of a domain (any key of a route table) go to an upstream
    Route: example.net U U2         to two, each with a copy
    Route: example.org nobody       to a port that nobody listens on
    C: NOOP                         what the client says, CRLF added
    S: 250 2.0.0 OK                 what Moxy says to it
    U: RCPT TO:<ann@example.com>    what Moxy says to an upstream (U, U2, ...)
    V: 550 5.1.1 No                 what that upstream says (V, V2, ...)
    C: (starts TLS)                 the client shakes hands, and what follows is encrypted
    V: (closes)                     the connection is closed by who is named
    C: (resets)                     the same, but at once and without a farewell, as when a machine goes down
    R: refused U                    a record of accounting, at the end: what became of the delivery to U

The order of the lines is the order of events: nobody has said anything before its line. Lines of the client that
follow one another leave in one piece. \\r \\n \\t \\0 and \\xFF stand for octets, and \\\\ for the backslash. A line
that ends in \\c has no CRLF: the next line goes on where it ends, as the octets of a chunk may. In what Moxy says `...`
stands for any text. Moxy is mx.moxy.test, and everybody is at 127.0.0.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final

HOST_NAME: Final = "mx.moxy.test"
"""What Moxy calls itself in dialogues."""

CLOSES: Final = b"(closes)"
RESETS: Final = b"(resets)"
STARTS_TLS: Final = b"(starts TLS)"
UNENDED: Final = "\\c"

DIALOGUES: Final = Path(__file__).parents[1] / "dialogues"

_LINE = re.compile(r"(C|S|U\d?|V\d?):(?: (.*))?")
_RECORD = re.compile(r"R: (delivered|refused|aborted|unknown) (U\d?)")
_ROUTE = re.compile(r"Route: (\S+) (nobody|U\d?(?: U\d?)*)")
_OFFER = re.compile(r"Offer: ([A-Z0-9-]+(?: [A-Z0-9-]+)*)")
_BOUND = re.compile(r"Limits: ([a-z_]+)=(\d+)")
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))")
_ESCAPED = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}


@dataclass(frozen=True)
class Line:
    """One line of a dialogue: who speaks, what (octets without CRLF), and where in the file it stands.

    `whole`: does it end in CRLF?
    """

    speaker: str
    text: bytes
    place: str
    whole: bool = True

    @property
    def closes(self) -> bool:
        """Is this the end of a connection?"""
        return self.text in (CLOSES, RESETS)

    @property
    def secures(self) -> bool:
        """Is this a handshake?"""
        return self.text == STARTS_TLS

    @property
    def wire(self) -> bytes:
        return self.text + b"\r\n" if self.whole else self.text

    def matches(self, said: bytes) -> bool:
        """Is this what was said? `said` has no CRLF."""
        pattern = b".*".join(re.escape(part) for part in self.text.split(b"..."))
        return re.fullmatch(pattern, said, re.DOTALL) is not None


@dataclass
class Dialogue:
    """A file of them. `routes` are the names of upstreams for each key; "nobody" is one that is down. `lmtp` is what
    the client speaks, `starttls` whether it may encrypt, `bounds` are those of the service that the dialogue sets,
    `offer` the extensions.

    `records` are outcomes and upstreams of the deliveries, in the order in which they are recorded.
    """

    name: str
    lines: list[Line] = field(default_factory=list)
    routes: dict[str, list[str]] = field(default_factory=dict)
    records: list[tuple[str, str]] = field(default_factory=list)
    lmtp: bool = False
    starttls: bool = False
    bounds: dict[str, int] = field(default_factory=dict)
    offer: frozenset[str] | None = None

    def turns(self) -> Iterator[tuple[str, list[Line]]]:
        """Who speaks, and the lines until someone else does. An end is a turn of its own, and so is a handshake."""
        for (speaker, *_), lines in groupby(self.lines, lambda line: (line.speaker, line.closes, line.secures)):
            yield speaker, list(lines)

    def upstreams(self) -> set[str]:
        return {name for names in self.routes.values() for name in names} - {"nobody"}


def read(file: Path) -> Dialogue:
    """Read a dialogue. Raises ValueError where the notation is not understood."""
    dialogue = Dialogue(file.stem)
    for number, text in enumerate(file.read_text().splitlines(), 1):
        place = f"{file.name}:{number}"
        if not text or text.startswith("#"):
            continue
        if text == "Listener: lmtp":
            dialogue.lmtp = True
        elif text == "Listener: starttls":
            dialogue.starttls = True
        elif bound := _BOUND.fullmatch(text):
            dialogue.bounds[bound[1]] = int(bound[2])
        elif offer := _OFFER.fullmatch(text):
            dialogue.offer = frozenset(offer[1].split())
        elif route := _ROUTE.fullmatch(text):
            dialogue.routes[route[1]] = route[2].split()
        elif record := _RECORD.fullmatch(text):
            dialogue.records.append((record[1], record[2]))
        elif line := _LINE.fullmatch(text):
            said = line[2] or ""
            text = said.removesuffix(UNENDED)
            dialogue.lines.append(Line(line[1], _octets(text), place, text == said))
        else:
            raise ValueError(f"{place}: not understood: {text}")
    return dialogue


def _octets(text: str) -> bytes:
    unescaped = _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else _ESCAPED[match[2]], text)
    return unescaped.encode("latin-1")


def all_dialogues() -> list[Dialogue]:
    """Every dialogue there is."""
    return [read(file) for file in sorted(DIALOGUES.glob("*.txt"))]

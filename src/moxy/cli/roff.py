"""Manual pages: plain text made into roff, with the macros of man(7).

The text is a small part of Markdown, the part in which help texts and the schema are written too:

    # NAME               a section; `## name` is a part of one
    words, `literal`     a paragraph, up to the next empty line
    term                 an entry of a list: the term by itself,
    : what it is         and what it is behind a colon, up to the next empty line
    four blanks          an example, as it stands
    @word argument       whatever the caller puts in its place

Rules: what people copy from a page (options, literals, examples) has ASCII's `-`, `'` and `"`, not those of printers.
Nothing in a text can become a macro.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Final

_WIDTH: Final = 110
_INDENT: Final = "    "

_SPECIAL: Final = {"\\": r"\e", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}

# A literal in backticks, an option, or the name of a page; everything else is prose.
_WORDS: Final = re.compile(
    r"`(?P<literal>[^`]+)`|(?<![\w-])(?P<option>--?[a-zA-Z][\w-]*)|(?P<page>[\w.]+)(?=\([1-8]\))"
)


def title(name: str, section: str, source: str) -> list[str]:
    """What every page begins with. It has no date, since a page changes with what it describes; and no word is
    hyphenated, since many are literals.
    """
    return [f'.TH {name.upper()} {section} "" "{source}" "Moxy"', ".nh", ".ad l"]


def page(text: str, insert: Callable[[str, str], Iterator[str]]) -> Iterator[str]:
    """The lines of roff for a text; `insert` is given word and argument of each `@` line. Raises what it raises."""
    for block in re.split(r"\n(?:[ \t]*\n)+", text.strip("\n")):
        lines = block.split("\n")
        first, _, rest = lines[0].partition(" ")
        if first == "#":
            yield f'.SH "{prose(rest)}"'
        elif first == "##":
            yield subsection(rest)
        elif first.startswith("@"):
            yield from insert(first[1:], rest)
        elif lines[0].startswith(_INDENT):
            yield from example(lines)
        elif len(lines) > 1 and lines[1].startswith(": "):
            yield from entry(prose(lines[0]), " ".join([lines[1][2:], *lines[2:]]))
        else:
            yield from paragraph(block)


def subsection(name: str) -> str:
    """The head of a part of a section."""
    return f'.SS "{prose(name)}"'


def paragraph(text: str) -> Iterator[str]:
    """Text that is filled."""
    yield ".PP"
    yield from _filled(text)


def entry(term: str, text: str) -> Iterator[str]:
    """An entry of a list: a term, in roff already, and what it is."""
    yield ".TP"
    yield _guarded(term)
    yield from _filled(text)


def example(lines: list[str]) -> Iterator[str]:
    """Lines as they stand, indented."""
    yield from (".PP", ".RS 4", ".nf")
    yield from (_guarded(literal(line.removeprefix(_INDENT))) for line in lines)
    yield from (".fi", ".RE")


def prose(text: str) -> str:
    """One line of text: literals, options and names of pages are set in bold."""
    return "".join(_prose(text))


def _prose(text: str) -> Iterator[str]:
    end = 0
    for match in _WORDS.finditer(text):
        yield _escaped(text[end : match.start()])
        yield bold(match["literal"] or match["option"] or match["page"])
        end = match.end()
    yield _escaped(text[end:])


def bold(text: str) -> str:
    """A literal, as it is typed."""
    return rf"\fB{literal(text)}\fR"


def italic(text: str) -> str:
    """A word that stands for another."""
    return rf"\fI{literal(text)}\fR"


def literal(text: str) -> str:
    """Text that people may copy: its hyphens are ASCII's."""
    return _escaped(text).replace("-", r"\-")


def _escaped(text: str) -> str:
    return "".join(
        _SPECIAL.get(character, character if character < "\x7f" else f"\\[u{ord(character):04X}]") for character in text
    )


def _filled(text: str) -> Iterator[str]:
    """Short lines, broken where blanks are outside of literals: roff fills them anyway."""
    for line in textwrap.wrap(prose(" ".join(text.split())), _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield _guarded(line)


def _guarded(line: str) -> str:
    """A line that begins like a macro, kept from being one. (`'` is escaped already.)"""
    return rf"\&{line}" if line.startswith(".") else line

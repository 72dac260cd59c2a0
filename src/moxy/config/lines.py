"""Where in a TOML text each key stands: `tomllib` gives values without lines, and an error message needs the line.

Rules: the text has been accepted by `tomllib`, so this reader checks nothing and may skip what it does not need. Line
ends need no attention either: in a correct file the other tokens alone tell where a statement ends.

Bugs: tables of `[[arrays]]` all have the path of the first; the schema has none.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

from moxy.config.parsed import KeyPath

_TOKEN: Final = re.compile(
    r'''
      (?P<skip> \s+ | \#[^\n]* )
    | (?P<text> """(?:\\.|[^\\])*?"{3,5} | \'\'\'.*?\'{3,5} | "(?:\\.|[^"\\])*" | '[^']*' )
    | (?P<mark> [\[\]{},=] )
    | (?P<word> [0-9]{4}-[0-9]{2}-[0-9]{2}\ [0-9][^\s,\]}#]* | [^\s\[\]{},=\#"']+ )    # a date may hold a space
    ''',
    re.VERBOSE | re.DOTALL,
)


class Lines:
    """The lines of all keys of one TOML text."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._position = 0
        self._lines: dict[KeyPath, int] = {(): 0}
        self._read_statements()

    def find(self, path: KeyPath) -> int:
        """The line of `path`, or of the nearest thing above it that stands in the text; 0 if there is none."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def _read_statements(self) -> None:
        table: KeyPath = ()
        while self._position < len(self._tokens):
            if self._peek() == "[":
                while self._peek() == "[":
                    self._next()
                table = self._read_key(())
                while self._position < len(self._tokens) and self._peek() == "]":
                    self._next()
            else:
                self._read_pair(table)

    def _read_pair(self, table: KeyPath) -> None:
        path = self._read_key(table)
        self._next()  # the equals sign
        self._read_value(path)

    def _read_key(self, table: KeyPath) -> KeyPath:
        """A key, dotted or not. Every part of it gets this line, unless an earlier line has brought it up."""
        path = table
        while self._peek() not in ("=", "]"):
            token, line = self._next()
            for part in _key_parts(token):
                path = (*path, part)
                self._lines.setdefault(path, line)
        return path

    def _read_value(self, path: KeyPath) -> None:
        opening, _ = self._next()
        if opening == "{":
            while self._peek() != "}":
                self._read_pair(path)
                self._skip_comma()
            self._next()
        elif opening == "[":
            index = 0
            while self._peek() != "]":
                self._lines[(*path, index)] = self._tokens[self._position][1]
                self._read_value((*path, index))
                self._skip_comma()
                index += 1
            self._next()

    def _skip_comma(self) -> None:
        if self._peek() == ",":
            self._next()

    def _peek(self) -> str:
        return self._tokens[self._position][0]

    def _next(self) -> tuple[str, int]:
        self._position += 1
        return self._tokens[self._position - 1]


def _tokens(text: str) -> list[tuple[str, int]]:
    """All tokens that mean something, each with its line."""
    tokens = []
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "skip":
            tokens.append((match[0], line))
        line += match[0].count("\n")
    return tokens


def _key_parts(token: str) -> list[str]:
    """The names in one token of a key: `a.b` has two; a quoted one has one; a lone dot has none."""
    if token[0] in "\"'":
        return [tomllib.loads(f"key = {token}")["key"]]
    return [part for part in token.split(".") if part]

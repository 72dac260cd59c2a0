"""Our own format: `moxy.toml`, read by the standard library, with the lines of its keys."""

from __future__ import annotations

import re
import tomllib

from moxy.config.lines import Lines
from moxy.config.parsed import KeyPath, Parsed
from moxy.errors import ConfigError, Problem

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_POSITION = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")


def parse(text: str, file: str) -> Parsed:
    """Read a TOML text. Raises ConfigError with the one problem that made it unreadable; there is no going on behind
    it.
    """
    try:
        data = tomllib.loads(text)
        lines = Lines(text)
    except RecursionError:
        raise ConfigError([Problem(file, 0, "", "lists or tables are nested too deeply")]) from None
    except ValueError as error:  # TOMLDecodeError, and what Python says of numbers it will not read
        raise ConfigError([_syntax_problem(str(error), text, file)]) from None
    return Parsed(data, lambda path: (_dotted(path), lines.find(path)))


def _syntax_problem(message: str, text: str, file: str) -> Problem:
    """tomllib tells the place in its text; "end of document" is the last line."""
    position = _POSITION.search(message)
    if position is None:
        return Problem(file, 0, "", message)
    line = int(position["line"]) if position["line"] else text.rstrip("\n").count("\n") + 1
    return Problem(file, line, "", f"not TOML: {message[: position.start()]}")


def _dotted(path: KeyPath) -> str:
    """A path as it is written in TOML; places in lists are left out, since a message quotes the entry itself."""
    keys = [key for key in path if isinstance(key, str)]
    return ".".join(key if _BARE_KEY.fullmatch(key) else f'"{key}"' for key in keys)

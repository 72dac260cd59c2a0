"""Reading a configuration: a file or text of either format becomes a Config, or a ConfigError that tells every mistake.

Rules: whatever the bytes, one of the two. The ending of the file's name decides the format: `.toml` is ours, everything
else the original's.

Bugs: contradictions between the keys of a section are looked for once each key of it is right by itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from moxy.config import classic, kinds, toml, values
from moxy.config.complaints import complaints
from moxy.config.parsed import KeyPath, Parsed
from moxy.config.schema import Config
from moxy.config.sections import parts
from moxy.config.types import Surroundings
from moxy.errors import ConfigError, Problem
from moxy.net.hostname import own_hostname

Format = Literal["toml", "classic"]

CONFIG_FILES: Final = (Path("/etc/moxy/moxy.toml"), Path("/etc/moxy/moxy.conf"), Path("/usr/local/moxy/moxy.conf"))
"""Where the configuration is looked for if no file is named; the last is the original's place."""

OCTETS_LIMIT: Final = 4 * 1024 * 1024
"""A larger file is no configuration; domains belong into tables."""


def find_config() -> Path:
    """The first of CONFIG_FILES that exists. Raises ConfigError, which names them all, if none does."""
    for path in CONFIG_FILES:
        if path.exists():
            return path
    places = ", ".join(str(path) for path in CONFIG_FILES)
    raise ConfigError([Problem("no configuration", 0, "", f"none of {places} exists; name a file with -c")])


def load(path: Path) -> Config:
    """Read and check the file at `path`. Raises ConfigError, also for a file that cannot be read or is not UTF-8."""
    try:
        octets = _octets(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else None
        raise ConfigError([Problem(str(path), 0, "", f"cannot be read: {reason or error}")]) from None
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(str(path), line, "", "not UTF-8 text")]) from None
    return loads(text, str(path), _format_of(path))


def _octets(path: Path) -> bytes:
    """A pipe that nobody writes to, or a file without an end, must not hold up a Moxy that serves."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no regular file")
        octets = file.read(OCTETS_LIMIT + 1)
    if len(octets) > OCTETS_LIMIT:
        raise ValueError(f"it is larger than {values.format_size(OCTETS_LIMIT)}")
    return octets


def loads(text: str, name: str, format: Format) -> Config:
    """Check a configuration given as text. `name` stands for the file in messages, and its directory for relative
    paths.

    Raises ConfigError with all problems, in the order of their lines.
    """
    parsed = _parsed(text, name, format)
    surroundings = _surroundings(parsed.data, name)
    problems = [*parsed.problems, *_read_foreign(parsed, surroundings, name)]
    try:
        config = Config.model_validate(parsed.data, context=surroundings)
    except ValidationError as error:
        problems += _problems(error.errors(include_url=False), parsed, name)
    if problems:
        raise ConfigError(sorted(problems, key=lambda problem: problem.line))
    return _complete(config, name)


def place_of(path: KeyPath, file: Path) -> tuple[str, int]:
    """The key at `path` in the file's own words, and its line: for what is found wrong after loading."""
    text = _octets(file).decode("utf-8-sig")
    return _parsed(text, str(file), _format_of(file)).place(path)


def _format_of(file: Path) -> Format:
    return "toml" if file.suffix.lower() == ".toml" else "classic"


def _parsed(text: str, name: str, format: Format) -> Parsed:
    return toml.parse(text, name) if format == "toml" else classic.parse(text, name)


def _surroundings(data: dict[str, Any], name: str) -> Surroundings:
    destinations = data.get("destination")
    names = frozenset(destinations) if isinstance(destinations, dict) else frozenset()
    return Surroundings(Path(name).absolute().parent, names)


def _read_foreign(parsed: Parsed, surroundings: Surroundings, name: str) -> Iterator[Problem]:
    """Put what other packages make of the sections of their kinds in the place of these, and tell what is wrong."""
    for section in kinds.GROUPS:
        ours = {part.kind for part in parts() if part.key == section}
        for key, keys in _tables(parsed.data.get(section)).items():
            kind = keys.get("kind")
            if not isinstance(kind, str) or kind in ours or kind not in kinds.installed(section):
                continue
            rest = {word: value for word, value in keys.items() if word != "kind"}
            try:
                parsed.data[section][key] = kinds.read(section, kind, rest, surroundings)
                continue
            except ValidationError as error:
                errors = error.errors(include_url=False)
                yield from _problems(
                    [{**one, "loc": (section, key, kind, *one["loc"])} for one in errors], parsed, name
                )
            except ValueError as error:
                word, line = parsed.place((section, key, "kind"))
                yield Problem(name, line, word, str(error))
            del parsed.data[section][key]


def _tables(section: object) -> dict[str, dict[str, Any]]:
    """The sub-sections of a section that are what they should be; the rest is the schema's to complain of."""
    return (
        {key: value for key, value in section.items() if isinstance(value, dict)} if isinstance(section, dict) else {}
    )


def _problems(errors: list[ErrorDetails], parsed: Parsed, name: str) -> list[Problem]:
    problems = []
    for path, message in complaints(errors):
        key, line = parsed.place(path)
        problems.append(Problem(name, line, key, message))
    return problems


def _complete(config: Config, name: str) -> Config:
    """Fill in what is taken from the machine where the file leaves it empty."""
    try:
        hostname = config.hostname or values.hostname(own_hostname())
        postmaster = config.postmaster or values.mailbox(f"postmaster@{hostname}")
    except ValueError as error:
        message = f"not set, and the machine's own will not do: {error}"
        raise ConfigError([Problem(name, 0, "hostname", message)]) from None
    return config.model_copy(update={"hostname": hostname, "postmaster": postmaster})

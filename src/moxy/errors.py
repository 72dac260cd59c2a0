"""The exceptions that cross packages. Decisions are values (replies); these are for what is not a decision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class MoxyError(Exception):
    """Base of every error that Moxy raises on purpose; its text is fit for a user to read."""


class TemporaryFailure(MoxyError):  # noqa: N818 - named as what it is on the wire, a transient failure
    """A question could not be answered now: not "no", but "don't know". On the wire it becomes a 4xx (contract T49)."""


class UnusableFile(MoxyError):  # noqa: N818 - named as what it is
    """A `file` cannot be read."""

    def __init__(self, file: Path | str, why: str) -> None:
        super().__init__(f"{file} {why}")
        self.file = file


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration or table file, told so that its reader can mend it.

    `line` counts from 1; 0 where no line can be named. `key` is the directive or dotted path (`limits.message_size`).
    """

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(MoxyError):
    """A configuration that cannot be used. `problems` holds every mistake found, not just the first."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems

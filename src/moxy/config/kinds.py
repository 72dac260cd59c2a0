"""Kinds of route tables and logs that other packages bring, found by their entry points.

A package that declares, in its pyproject.toml,

    [project.entry-points."moxy.routes"]
    sqlite = "moxy_sqlite:SqliteTable"

gives `[routes.NAME]` the kind `sqlite`; the group of `[log.NAME]` is "moxy.logs". What the entry point names is a
class: its `Settings`, a `Section`, has the keys (all but `kind`), and it is called with them. A log is also given a
function `later(seconds, callback)`, for what is better done for many records at once. CONTRIBUTING has examples.

Rules: a package is imported only if a configuration names its kind. Our own kinds cannot be replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from moxy.errors import MoxyError

GROUPS: Final = {"routes": "moxy.routes", "log": "moxy.logs"}
"""For each section with kinds, the group of entry points that adds to them."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A checked section whose kind another package brought: its settings, and what makes the table or log of them."""

    kind: str
    make: Callable[..., Any]
    settings: BaseModel

    def made(self, *arguments: object) -> Any:
        """The table or log. Raises MoxyError for whatever its package raises: nobody's traceback is for a user."""
        try:
            return self.make(self.settings, *arguments)
        except MoxyError:
            raise
        except BaseException as error:
            raise MoxyError(f"`{self.kind}` cannot be used: {type(error).__name__}: {error}") from error


def foreign_passes(value: Any, check: Callable[[Any], Any]) -> Any:
    """A pydantic validator: a section that is `Foreign` has been checked already; any other is checked now."""
    return value if isinstance(value, Foreign) else check(value)


def installed(section: str) -> list[str]:
    """The kinds that other packages add to `section`."""
    return sorted(_entry_points(section))


def settings_of(section: str, kind: str) -> type[BaseModel]:
    """The model of the keys of a foreign `kind`. Raises ValueError as `read` does."""
    model: type[BaseModel] = _load(section, kind).Settings
    return model


def read(section: str, kind: str, keys: dict[str, Any], context: object) -> Foreign:
    """Check the `keys` of a section of a foreign kind.

    Raises pydantic's ValidationError, and ValueError, with a text for people, for a package that cannot be used.
    """
    made_by = _load(section, kind)
    try:
        settings = made_by.Settings.model_validate(keys, context=context)
    except ValidationError:
        raise
    except Exception as error:  # a bug there must not end a Moxy that reads its configuration anew
        raise ValueError(f"`{kind}` cannot be used: {type(error).__name__}: {error}") from error
    return Foreign(kind, made_by, settings)


@cache
def _entry_points(section: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUPS[section])}


def _load(section: str, kind: str) -> Any:
    """The class of a foreign kind. Whatever its package does wrong while it is imported is told as a mistake."""
    point = _entry_points(section)[kind]
    try:
        made_by = point.load()
    except BaseException as error:
        raise ValueError(f"`{kind}` cannot be loaded from {point.value}: {error!r}") from error
    settings = getattr(made_by, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, BaseModel)):
        raise ValueError(f"`{kind}` cannot be used: {point.value} has no `Settings`")
    return made_by

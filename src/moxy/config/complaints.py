"""pydantic's errors in Moxy's words: what was expected, what was found, and the nearest legal word.

Rules: the texts name the user's keys and values, never Python's types. A kind of error without a text of its own keeps
pydantic's, which is plain enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pydantic_core import ErrorDetails

from moxy.config import kinds
from moxy.config.parsed import KeyPath
from moxy.config.sections import parts
from moxy.config.values import listed, shown
from moxy.routes.wording import nearest

_QUOTED_WORD = re.compile(r"'([^']*)'")

_TEXTS: Final = {
    "bool_type": "expected true or false, not {found}",
    "int_type": "expected a whole number, not {found}",
    "string_type": "expected a text in quotes, not {found}",
    "greater_than_equal": "expected at least {ge}, not {found}",
    "less_than_equal": "expected at most {le}, not {found}",
    "union_tag_not_found": "is missing, and has no default",
    "missing": "is missing, and has no default",
    "tuple_type": "expected a list in brackets, not {found}",
    "dict_type": "expected a section, not {found}",
    "model_type": "expected a section, not {found}",
    "model_attributes_type": "expected a section, not {found}",
    "contradiction": "{message}",
    "value_error": "{error}",
}


_MEANT: Final = {"auth_password": "auth_secret"}
"""Words that no key is like, and the key that they mean."""


def complaints(errors: Iterable[ErrorDetails]) -> Iterator[tuple[KeyPath, str]]:
    """For each of pydantic's errors, the path in the file's own terms and the message."""
    for error in errors:
        yield _path(error), _message(error)


def _path(error: ErrorDetails) -> KeyPath:
    """pydantic's location without what it adds itself: the chosen kind of a section, and its mark for a bad name."""
    location = error["loc"]
    if len(location) > 2 and location[0] in kinds.GROUPS:
        location = location[:2] + location[3:]
    if location and location[-1] == "[key]":
        location = location[:-1]
    if error["type"].startswith("union_tag"):
        location = (*location, "kind")
    return (*location, *error.get("ctx", {}).get("path", ()))


def _message(error: ErrorDetails) -> str:
    kind = error["type"]
    found = error["input"]
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(str(error["loc"][-1]), _legal_keys(error["loc"]))
    if kind in ("literal_error", "enum"):
        return _one_of(_QUOTED_WORD.findall(context["expected"]), found)
    if kind == "union_tag_invalid":
        ours = _QUOTED_WORD.findall(context["expected_tags"])
        foreign = [kind for kind in kinds.installed(str(error["loc"][0])) if kind not in ours]
        return _one_of(ours + foreign, context["tag"])
    if kind in _TEXTS:
        return _TEXTS[kind].format(found=shown(found), **{str(key): value for key, value in context.items()})
    return error["msg"][:1].lower() + error["msg"][1:]


def _unknown_key(word: str, legal: list[str]) -> str:
    return f"unknown key {shown(word)}" + (nearest(_MEANT.get(word, word), legal) or f"; expected {listed(legal)}")


def _one_of(legal: list[str], found: object) -> str:
    suggestion = nearest(found, legal) if isinstance(found, str) else ""
    return f"expected {listed(legal)}, not {shown(found)}{suggestion}"


def _legal_keys(location: tuple[Any, ...]) -> list[str]:
    """The keys of the section in which an unknown one stands; `location` is pydantic's, the kind still in it."""
    section = location[0] if len(location) > 1 else ""
    for part in parts():
        if part.key == section and (not part.kind or part.kind == location[2]):
            return list(part.model.model_fields)
    return list(kinds.settings_of(section, location[2]).model_fields)

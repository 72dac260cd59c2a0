"""The schema seen as sections and keys, in words: for `describe`, and to know what is legal where a wrong key stands.

Rules: the documentation is the text under each field, taken from the source when it is asked for; a running proxy never
asks, so it is not read at every start.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge
from pydantic.fields import FieldInfo

from moxy.config import ledger, limits, listeners, logs, routes, schema, security
from moxy.config.schema import Config
from moxy.config.types import Form, Section
from moxy.config.values import listed


@dataclass(frozen=True, slots=True)
class Key:
    """One key in words. `default` and `example` are TOML; `default` is "" where the key must be set or is just left
    out.
    """

    name: str
    meaning: str
    form: str
    default: str
    example: str
    required: bool


@dataclass(frozen=True, slots=True)
class Part:
    """One section. `key` is "" for the top; `example` is the NAME of `[key.NAME]`, "" where the section has none.

    `kind` is the value of the key `kind` that chooses this model among several, "" where there is no choice.
    """

    key: str
    model: type[Section]
    example: str = ""
    kind: str = ""

    @property
    def meaning(self) -> str:
        """What the section is for."""
        return _documentation()[self.model.__name__]

    @property
    def introduction(self) -> str:
        """What is to be said, at the first of them, of all sections of this key; often nothing."""
        first = next(part for part in parts() if part.key == self.key)
        return _documentation().get(f"Config.{self.key}", "") if self is first else ""

    @property
    def keys(self) -> list[Key]:
        """The keys that hold values, in the order of the schema: `kind` first, those shared with other kinds last."""
        fields = [(name, field) for name, field in self.model.model_fields.items() if not _models(field.annotation)]
        own = self.model.__annotations__
        return [
            _key(self.model, *item) for item in sorted(fields, key=lambda item: (item[0] != "kind", item[0] not in own))
        ]


@cache
def parts() -> tuple[Part, ...]:
    """All sections, in the order of the schema, the top first."""
    found = [Part("", Config)]
    for key, field in Config.model_fields.items():
        for index, model in enumerate(_models(field.annotation)):
            example = field.examples[index] if field.examples else ""
            found.append(Part(key, model, example, _kind(model)))
    return tuple(found)


def _kind(model: type[Section]) -> str:
    field = model.model_fields.get("kind")
    return get_args(field.annotation)[0] if field else ""


def _models(annotation: Any) -> list[type[Section]]:
    """The models inside a key's type: the type itself, the values of a dictionary, the members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return _models(arguments[1])
    if get_origin(annotation) is Annotated:
        return _models(arguments[0])
    if get_origin(annotation) in (Union, UnionType):
        return [model for argument in arguments for model in _models(argument)]
    return []


def _key(model: type[Section], name: str, field: FieldInfo) -> Key:
    form = next((mark for mark in field.metadata if isinstance(mark, Form)), None) or _form(field.annotation)
    least = next((f", at least {form.write(mark.ge)}" for mark in reversed(field.metadata) if isinstance(mark, Ge)), "")
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    written = "" if default is None else _write(default, form)
    return Key(
        name,
        next(text for owner in model.__mro__ if (text := _documentation().get(f"{owner.__name__}.{name}"))),
        form.name + least.replace('"', ""),
        written,
        _write(field.examples[0], form) if field.examples else written or form.write(get_args(field.annotation)[0]),
        field.is_required(),
    )


def _form(annotation: Any) -> Form:
    """The form of a type that is a choice of words, or one that may be left out."""
    if get_origin(annotation) is Literal:
        return Form(listed(list(get_args(annotation))))
    if get_origin(annotation) is Annotated:
        return next(mark for mark in get_args(annotation) if isinstance(mark, Form))
    return _form(get_args(annotation)[0])


def _write(value: Any, form: Form) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(form.write(entry) for entry in value)}]"
    return form.write(value)


@cache
def _documentation() -> dict[str, str]:
    """The texts of the schema's classes (`Limits`) and of their fields (`Limits.hops`), each as one paragraph."""
    texts = {}
    sources = (schema, listeners, limits, routes, logs, ledger, security)
    modules = [ast.parse(inspect.getsource(module)) for module in sources]
    classes = [node for module in modules for node in module.body if isinstance(node, ast.ClassDef)]
    for node in classes:
        texts[node.name] = ast.get_docstring(node) or ""
        for field, text in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                texts[f"{node.name}.{ast.unparse(field.target)}"] = str(text.value.value)
    return {name: " ".join(text.split()) for name, text in texts.items()}

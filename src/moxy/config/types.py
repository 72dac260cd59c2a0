"""The types of configuration keys: a reader of `values` bound into pydantic, with the words that describe its spelling.

A type carries a `Form`, from which `moxy describe` and the reference page take how a value is written; so nothing is
said twice. What a reader needs to know of the whole file comes as the validation's context, a `Surroundings`.

Rules: a value that already has its Python type passes unread, so that a Config can also be built in Python.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from moxy.config import values
from moxy.config.values import Endpoint, shown
from moxy.mail import Host, Mode
from moxy.mail.client import ClientPattern
from moxy.routes.hosts import refuse_unknown_name


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys are errors, nothing is converted silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is spelled: `name` in words for the reference page, `write` from a value to its TOML text."""

    name: str
    write: Callable[[Any], str] = lambda value: json.dumps(str(value), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What one key's reader needs of the rest: the file's directory, the names of the `[destination.NAME]` sections."""

    directory: Path
    destinations: frozenset[str]


def contradiction(message: str, *path: str | int) -> PydanticCustomError:
    """An error of one value about another; `path` leads from the section that is being checked to the key to blame."""
    # The text goes through the context: as a template, a brace in it would be taken for a placeholder.
    return PydanticCustomError("contradiction", "{message}", {"message": message, "path": path})


def _reader(kind: type, read: Callable[[object], Any]) -> PlainValidator:
    return PlainValidator(lambda value: value if isinstance(value, kind) else read(value))


def _host_or_destination(value: object, info: ValidationInfo) -> Host | str:
    """A host or the name of a destination, told apart as in a route table."""
    if isinstance(value, Host):
        return value
    known = info.context.destinations if isinstance(info.context, Surroundings) else frozenset()
    word = value.strip() if isinstance(value, str) else ""
    if word in known:
        return word
    refuse_unknown_name(word, known)
    return values.host(value)


def _path(value: object, info: ValidationInfo) -> Path:
    """A file's path; a relative one starts at the directory of the configuration, so that it survives a `chdir`."""
    if isinstance(value, Path):
        return value
    text = values.line(value)
    if not text:
        raise ValueError("expected the path of a file, not an empty text")
    return info.context.directory / text if isinstance(info.context, Surroundings) else Path(text)


def unlike(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """No entry twice: in mode `all`, a host named twice would get every message twice."""
    texts = [str(item) for item in items]  # a host's text is without its weight
    for index, text in enumerate(texts):
        if text in texts[:index]:
            raise contradiction(f"{shown(text)} is named twice", index)
    return items


def _some(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """At least one entry. Asked last: pydantic's own bound would also count out the entries that are wrong."""
    if not items:
        raise ValueError("expected at least one entry")
    return items


def check_weights(hosts: Iterable[Host | str], mode: Mode) -> None:
    """Refuse a weight that nothing would look at. Raises the contradiction, placed at the host."""
    for index, host in enumerate(hosts):
        if isinstance(host, Host) and host.weight != 1 and mode is not Mode.BALANCE:
            raise contradiction(f"a weight counts only in mode `balance`, and the mode is `{mode}`", "hosts", index)


def _write_flag(value: bool) -> str:
    return "true" if value else "false"


Flag = Annotated[bool, Form("`true` or `false`", _write_flag)]
Line = Annotated[str, PlainValidator(values.line), Form("text")]
Name = Annotated[str, PlainValidator(values.name)]
Protocol = Literal["smtp", "lmtp"]
HostName = Annotated[str, PlainValidator(values.hostname), Form("host name")]
Mailbox = Annotated[str, PlainValidator(values.mailbox), Form("mail address")]
File = Annotated[Path, PlainValidator(_path), Form("path")]

# Upper bounds: a count must fit the system's integers; a size stays where `1.5GiB` is computed exactly.
Count = Annotated[int, Field(ge=1, le=2**31 - 1), Form("number", str)]
Size = Annotated[
    int,
    BeforeValidator(values.size),
    Field(le=2**53),
    Form("size", lambda octets: f'"{values.format_size(octets)}"'),
]
# Text only: of numbers, `660` would be meant as octal and read as decimal.
FileMode = Annotated[int, PlainValidator(values.mode), Form("file mode", lambda mode: f'"{mode:04o}"')]
Duration = Annotated[
    float, PlainValidator(values.duration), Form("duration", lambda seconds: f'"{values.format_duration(seconds)}"')
]

# `strict=False` on a list or a mode lets TOML's list and text become tuple and enumeration; the entries stay strict.
HostsOrNone = Annotated[
    tuple[Annotated[Host, _reader(Host, values.host)], ...],
    Field(strict=False),
    AfterValidator(unlike),
    Form("list of `host:port`"),
]
Hosts = Annotated[HostsOrNone, AfterValidator(_some)]
HostsOrDestination = Annotated[
    tuple[Annotated[Host | str, PlainValidator(_host_or_destination)], ...],
    Field(strict=False),
    AfterValidator(unlike),
    AfterValidator(_some),
    Form("list of `host:port`, or of one destination's name"),
]
Endpoints = Annotated[
    tuple[Annotated[Endpoint, _reader(Endpoint, values.endpoint)], ...],
    Field(strict=False),
    AfterValidator(unlike),
    AfterValidator(_some),
    Form("list of `address:port` or `unix:/path`"),
]
Names = Annotated[
    tuple[Name, ...],
    Field(strict=False),
    AfterValidator(unlike),
    Form("list of names"),
]
Clients = Annotated[
    tuple[Annotated[ClientPattern, _reader(ClientPattern, values.client)], ...],
    Field(strict=False),
    AfterValidator(unlike),
    Form("list of client addresses"),
]
HostMode = Annotated[Mode, Field(strict=False), Form("`all`, `failover` or `balance`")]

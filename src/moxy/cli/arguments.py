"""Arguments of commands, read by the parsers of the rest of Moxy: an address here is an address there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from moxy.config import values

T = TypeVar("T")


def checked(parse: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """A click callback that reads an option with `parse`; its ValueError becomes a message about the option."""

    def read(context: click.Context, parameter: click.Parameter, text: str | None) -> T | None:
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from None

    return read


def each_checked(
    parse: Callable[[str], T],
) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], tuple[T, ...]]:
    """The same for an option that may be repeated."""

    def read(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[T, ...]:
        try:
            return tuple([parse(text) for text in texts])
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from None

    return read


def size(text: str) -> int:
    """Octets: `10k` as well as what a configuration may say (`10000`, `10kB`, `10KiB`). Raises ValueError."""
    if text.isascii() and text.isdigit() and len(text) < 16:
        return int(text)
    return values.size(text + "B" if text[-1:] in "kKmMgG" else text)


def printable(text: str) -> str:
    """One line of printable characters. Raises ValueError."""
    if not text.isprintable():
        raise ValueError("expected one line of printable characters")
    return text

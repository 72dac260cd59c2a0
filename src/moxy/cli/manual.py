"""The manual pages: texts from `pages`, and what the program itself knows about its options and keys.

A page is a file of `pages` (its form: `moxy.cli.roff`), in which these lines stand for

    @synopsis moxystats    a command and all of its options, briefly
    @options moxystats     the options with their help texts
    @commands              the subcommands of `moxy`, each with its help and its options
    @directives            the directives of `moxy.conf`
    @sections              the sections and keys of `moxy.toml`

Rules: a help text stands beside its option, a key's meaning in the schema, and nowhere else. The pages in man/ are what
`moxy describe --man` prints; a test compares them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click

from moxy import __version__
from moxy.cli import moxy, roff
from moxy.config.classic import DIRECTIVES
from moxy.config.sections import Key, Part, parts

PAGES: Final = ("moxy.8", "moxymakedbm.8", "moxystats.8", "moxylogalyze.8", "moxy.conf.5", "moxy.toml.5")
"""The pages by the names of their files, as man(1) wants them."""

_TEXTS: Final = Path(__file__).with_name("pages")


def page(name: str) -> str:
    """The page with this file name, one of PAGES, in roff."""
    title, section = name.rsplit(".", 1)
    text = (_TEXTS / f"{name}.txt").read_text(encoding="utf-8")
    lines = [*roff.title(title, section, f"Moxy {__version__}"), *roff.page(text, _insert)]
    return "\n".join(lines) + "\n"


def _insert(word: str, argument: str) -> Iterator[str]:
    """The lines of roff that an `@` line stands for."""
    return _INSERTIONS[word](argument)


def _synopsis(program: str) -> Iterator[str]:
    context = _context(program)
    pieces = [f"[{_spelled(option, context, short=True)}]" for option in _options(context)]
    arguments = [piece for piece in context.command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    yield from (".HP", roff.bold(program), *(piece.replace(" ", r"\ ") for piece in pieces))
    yield from map(roff.italic, arguments)


def _described(program: str) -> Iterator[str]:
    context = _context(program)
    yield from _entries(context, _options(context))


def _commands(argument: str) -> Iterator[str]:
    del argument
    for context in _subcommands(_context("moxy")):
        command = context.command
        yield roff.subsection(" ".join([context.command_path, *command.collect_usage_pieces(context)]))
        if f"moxy{context.info_name}.8" in PAGES:
            yield from roff.paragraph(f"The same as moxy{context.info_name}(8).")
        else:
            yield from _help(command)
            yield from _entries(context, _own_options(context))


def _subcommands(parent: click.Context) -> Iterator[click.Context]:
    """The commands of a group, each followed by its own."""
    group = parent.command
    assert isinstance(group, click.Group)  # noqa: S101 - nobody asks for those of another command
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None  # noqa: S101 - the group has just named it
        context = click.Context(command, parent, info_name=name, **command.context_settings)
        yield context
        if isinstance(command, click.Group):
            yield from _subcommands(context)


def _directives(argument: str) -> Iterator[str]:
    del argument
    for directive in DIRECTIVES:
        path = ".".join(str(key) for key in directive.path)
        yield from roff.entry(roff.bold(directive.name), f"{directive.meaning} In moxy.toml: `{path}`.")


def _sections(argument: str) -> Iterator[str]:
    del argument
    for part in parts():
        yield roff.subsection(_section_name(part))
        for text in filter(None, (part.introduction, part.meaning)):
            yield from roff.paragraph(text)
        for key in part.keys:
            yield from roff.entry(roff.bold(key.name), f"{key.meaning} [{key.form}; {_default(key)}]")


def _section_name(part: Part) -> str:
    if not part.key:
        return "At the top"
    name = f"[{part.key}.NAME]" if part.example else f"[{part.key}]"
    return f'{name} with kind = "{part.kind}"' if part.kind else name


def _default(key: Key) -> str:
    if key.required:
        return "required"
    return f"default `{key.default}`" if key.default else "not set by default"


def _context(program: str) -> click.Context:
    """A context for `moxy` itself, or for one of the original's tools, which is a subcommand under another name."""
    command: click.Command | None = moxy
    if program != "moxy":
        command = moxy.get_command(_context("moxy"), program.removeprefix("moxy"))
    assert command is not None  # noqa: S101 - the pages name what there is
    return click.Context(command, info_name=program, **command.context_settings)


def _options(context: click.Context) -> Iterator[click.Option]:
    for parameter in context.command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            yield parameter


def _own_options(context: click.Context) -> Iterator[click.Option]:
    """All but -h, which every command has."""
    return (option for option in _options(context) if not set(option.opts) & set(context.help_option_names))


def _entries(context: click.Context, options: Iterator[click.Option]) -> Iterator[str]:
    for option in options:
        record = option.get_help_record(context)
        assert record is not None  # noqa: S101 - only hidden options have none
        yield from roff.entry(_spelled(option, context), record[1])


def _help(command: click.Command) -> Iterator[str]:
    """A command's help text; in click's form a paragraph behind a backspace stays as it is."""
    for text in inspect.cleandoc(command.help or "").split("\n\n"):  # Python has done that only since 3.13
        if text.startswith("\b\n"):
            yield from roff.example(text.split("\n")[1:])
        else:
            yield from roff.paragraph(text)


def _spelled(option: click.Option, context: click.Context, *, short: bool = False) -> str:
    """An option and its value as people type it: all of its names, or the shortest."""
    names = [*option.opts, *option.secondary_opts]
    names = [min(names, key=len)] if short else sorted(names, key=len)
    value = "" if option.is_flag or option.count else " " + roff.italic(option.make_metavar(context))
    return ", ".join(map(roff.bold, names)) + value


_INSERTIONS: Final[dict[str, Callable[[str], Iterator[str]]]] = {
    "synopsis": _synopsis,
    "options": _described,
    "commands": _commands,
    "directives": _directives,
    "sections": _sections,
}

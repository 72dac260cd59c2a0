"""The configuration described for people, from the schema alone: a complete `moxy.toml`, and the reference page.

Rules: in the file every key stands as a comment, at its default or with an example, so that it changes nothing until a
`#` is taken away, and loads with all of them taken away as well.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from moxy.config.classic import DIRECTIVES
from moxy.config.sections import Key, Part, parts

_WIDTH = 100

_PREAMBLE = """\
# The configuration of Moxy: every key with its meaning. `moxy describe` prints this file.
#
# Lines of `#key = value` hold the defaults, and examples where a key has no default; take the `#` away
# and change the value. Whatever is left out is at its default. `moxy check` finds mistakes before Moxy
# does.
#
# durations  seconds (30, 0.5), or a text with ms, s, m, h or d ("30s", "5m")
# sizes      octets (65536), or a text with kB, MB, GB (thousands) or KiB, MiB, GiB (of 1024)
# hosts      "mail.example.org:2525", "192.0.2.1", "[2001:db8::1]:25", without a port 25; or the Unix
#            socket of a server on this machine, "unix:/run/dovecot/lmtp"
# paths      a relative path starts at the directory of this file
# NAME       letters, digits, `-` and `_`, in sections such as [listener.NAME], of which there may be many
"""

_REFERENCE = """\
# Configuration

Moxy reads one file. If its name ends in `.toml` it is in the format below; otherwise it is a `moxy.conf` as the
original Moxy had it ([last chapter](#moxyconf)). `moxy check` reports every mistake in a file at once;
`moxy describe` prints a complete `moxy.toml` with comments.

- Durations are seconds (`30`, `0.5`), or a text with `ms`, `s`, `m`, `h` or `d` (`"30s"`, `"5m"`).
- Sizes are octets (`65536`), or a text with `kB`, `MB`, `GB` (thousands) or `KiB`, `MiB`, `GiB` (of 1024).
- Hosts are `"mail.example.org:2525"`, `"192.0.2.1"` or `"[2001:db8::1]:25"`, without a port 25; or the Unix socket of
  a server on this machine, `"unix:/run/dovecot/lmtp"`.
- A relative path starts at the directory of the configuration file.
- A `NAME` is made of letters, digits, `-` and `_`; sections with one may occur any number of times.

This page is made from the schema; `moxy describe --reference` prints it.
"""

_CLASSIC = """\
## moxy.conf

The original's file works as it is. Each line is a directive and its value; directives may be written in any case and
stand once. `#` at the start of a line or behind white space begins a comment. A value may stand in double or single
quotes, and must if it holds a `#` behind white space. Directives that another choice makes idle, such as `nodb_dest`
under `dbtype file`, may stay. Whatever `moxy.conf` has no word for, TLS with clients among it, is at its default, and
tables have mode `all`: every host listed for a domain gets the mail.
"""


def describe() -> str:
    """The complete commented `moxy.toml`."""
    lines = [_PREAMBLE.rstrip()]
    for part in parts():
        lines.append("")
        if part.introduction:
            lines += [*_comment(part.introduction), "#"]
        lines += _comment(part.meaning)
        if part.key:
            lines.append(f"#[{_title(part, part.example)}]")
        for key in part.keys:
            lines += ["", *_comment(f"{key.meaning} [{key.form}{_state(key)}]"), f"#{key.name} = {key.example}"]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """The page docs/configuration.md."""
    sections = ["\n".join(_reference_section(part)) for part in parts()]
    return "\n".join([_REFERENCE, *sections, _CLASSIC, *_directives()]) + "\n"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False)


def _state(key: Key) -> str:
    """What the value shown is, where it is not the default."""
    if key.required:
        return "; required" if key.name == "kind" else "; required, this is an example"
    if not key.default:
        return "; not set by default, this is an example"
    return "" if key.example == key.default else f"; default {key.default}, this is an example"


def _title(part: Part, name: str) -> str:
    return f"{part.key}.{name}" if part.example else part.key


def _reference_section(part: Part) -> Iterator[str]:
    kind = f' with `kind = "{part.kind}"`' if part.kind else ""
    yield f"## `[{_title(part, 'NAME')}]`{kind}" if part.key else "## At the top"
    yield ""
    yield f"{part.introduction} {part.meaning}\n".lstrip()
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key in part.keys:
        default = "required" if key.required else f"`{key.default}`" if key.default else "not set"
        yield f"| `{key.name}` | {key.form} | {default} | {key.meaning} |"
    yield ""


def _directives() -> Iterator[str]:
    yield "| directive | key in moxy.toml | meaning |"
    yield "|---|---|---|"
    for directive in DIRECTIVES:
        path = ".".join(str(key) for key in directive.path)
        yield f"| `{directive.name}` | `{path}` | {directive.meaning} |"

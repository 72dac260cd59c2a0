"""Who may import whom. The tables here are the documentation of the layers, and a gate.

A package imports from lower layers and from itself: never upwards, never from its own layer's other packages.
Imports for types only (`if TYPE_CHECKING:`) count like any other: they are dependencies of the reader's mind.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

LAYERS = (
    ("smtp", "message"),  # L0 languages: pure, no input or output, no clock, no chance
    ("mail",),  # L1 nouns: what the languages speak of
    ("net", "delivery", "gdbm"),  # L2 ground: sockets, deadlines, GNU dbm files; the seam between the conversations
    ("routes", "policy", "accounting", "ledger"),  # L3 capabilities: where to, whether, what happened, who has what
    ("inbound", "outbound"),  # L4 conversations: we are the server, we are the client; they meet in delivery
    ("config", "process", "control", "cli"),  # L5 machine: read the wishes, wire it all together, run it
)

SIDEWAYS = {
    "process": {"config"},
    "cli": {"config", "process", "control"},
}
"""The imports inside one layer that are allowed all the same: L5 is where everything comes together."""

FOR_ALL = {"errors"}
"""Modules beside the packages that any of them may use. (So may the version, which is in `moxy` itself.)"""

ABOVE_ALL = {"__main__": {"cli"}}
"""Modules beside the packages, and all that they may use."""

PURE = {"smtp", "message", "mail"}
SYSTEM = {"net", "process", "cli"}

LIBRARY = {
    "asyncio": lambda package: package not in PURE,
    "uvloop": lambda package: package not in PURE,
    "socket": lambda package: package in SYSTEM,
    "ssl": lambda package: package in SYSTEM,
    "ctypes": lambda package: package == "gdbm",
    "os": lambda package: package not in PURE,
    "time": lambda package: package not in PURE,
    "random": lambda package: package not in PURE,
    "secrets": lambda package: package not in PURE,
    "logging": lambda package: package not in PURE,
    "structlog": lambda package: package not in PURE,
}
"""Modules from outside that only some packages may import."""


def permitted(package: str) -> set[str]:
    """What of Moxy this package, or module beside the packages, may import."""
    if package in ABOVE_ALL:
        return ABOVE_ALL[package]
    if package in FOR_ALL:
        return set()
    height = next(height for height, layer in enumerate(LAYERS) if package in layer)
    lower = {name for layer in LAYERS[:height] for name in layer}
    return lower | {package} | SIDEWAYS.get(package, set()) | FOR_ALL


def imported(tree: ast.Module, module: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Each import in a module with this dotted name: its line, and the dotted name that it asks for."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield node.lineno, alias.name.split(".")
            case ast.ImportFrom():
                base = module[: len(module) - node.level] if node.level else []
                base = base + (node.module.split(".") if node.module else [])
                for alias in node.names:
                    yield node.lineno, [*base, alias.name]


def trespasses(path: Path, text: str) -> list[str]:
    """The imports in a file of src/ that its layer does not allow, each told in a line."""
    module = list(path.with_suffix("").parts)
    package = module[1]
    found = []
    for line, name in imported(ast.parse(text), module):
        if name[0] != "moxy":
            allowed = LIBRARY.get(name[0], lambda _: True)(package)
        elif len(name) == 1 or name[1].startswith("__") or package == "__init__":
            allowed = len(name) > 1 and name[1] == "__version__"
        else:
            allowed = name[1] in permitted(package)
        if not allowed:
            found.append(f"{path}:{line}: {package} may not import {'.'.join(name)}")
    return found


def test_every_package_imports_only_what_its_layer_allows() -> None:
    files = sorted(SOURCE.rglob("*.py"))
    assert files
    found = [line for file in files for line in trespasses(file.relative_to(SOURCE), file.read_text())]
    assert not found, "\n".join(found)


def test_every_package_has_its_place_in_the_table() -> None:
    placed = {name for layer in LAYERS for name in layer} | FOR_ALL | set(ABOVE_ALL) | {"__init__"}
    there = {path.stem for path in (SOURCE / "moxy").iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
    assert there <= placed


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("moxy/smtp/reply.py", "from moxy.mail.envelope import Envelope"),
        ("moxy/smtp/reply.py", "import moxy.mail"),
        ("moxy/smtp/reply.py", "from moxy import message"),
        ("moxy/smtp/reply.py", "from ..message import trace"),
        ("moxy/smtp/reply.py", "from .. import message"),
        ("moxy/inbound/connection.py", "import moxy.outbound.pool"),
        ("moxy/inbound/connection.py", "from moxy.config import load"),
        ("moxy/config/load.py", "from moxy.process import worker"),
        ("moxy/control/server.py", "from moxy.config import schema"),
        ("moxy/errors.py", "from moxy.mail import Route"),
        ("moxy/__init__.py", "from moxy.cli import main"),
        ("moxy/mail/route.py", "if TYPE_CHECKING:\n    from moxy.routes.file import FileRoutes"),
        ("moxy/mail/route.py", "def late():\n    from moxy.routes import file"),
        ("moxy/smtp/receiver.py", "import asyncio"),
        ("moxy/smtp/receiver.py", "from time import monotonic"),
        ("moxy/mail/session.py", "from asyncio import Task"),
        ("moxy/outbound/pool.py", "import socket"),
        ("moxy/routes/dbm.py", "import ctypes"),
    ],
)
def test_a_trespass_is_found(path: str, text: str) -> None:
    assert len(trespasses(Path(path), text)) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("moxy/smtp/reply.py", "from moxy.smtp.limits import REPLY_LINE"),
        ("moxy/smtp/reply.py", "from . import limits"),
        ("moxy/smtp/reply.py", "import dataclasses"),
        ("moxy/mail/envelope.py", "from moxy.smtp.address import ForwardPath"),
        ("moxy/routes/file.py", "from moxy.errors import TemporaryFailure"),
        ("moxy/inbound/connection.py", "from moxy.delivery import Destination"),
        ("moxy/inbound/connection.py", "import asyncio"),
        ("moxy/inbound/connection.py", "from moxy import __version__"),
        ("moxy/process/worker.py", "from moxy.config.schema import Listener"),
        ("moxy/cli/serve.py", "from moxy.process import worker"),
        ("moxy/__main__.py", "from moxy.cli import main"),
        ("moxy/net/listening.py", "import socket"),
    ],
)
def test_a_step_down_is_allowed(path: str, text: str) -> None:
    assert not trespasses(Path(path), text)

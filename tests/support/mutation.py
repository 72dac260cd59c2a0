"""Moxy broken on purpose: one named thing in the running code is replaced by one that is wrong.

A name that is there no more is an error at once: then the mutation has to follow the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

Wrong = Callable[[Any], Any]
"""Makes what is wrong out of what is right."""


@contextmanager
def broken(seam: str, wrong: Wrong) -> Iterator[None]:
    """Moxy is so, as long as this is open. `seam` is `module:name` below `moxy`."""
    module, _, path = seam.partition(":")
    *owners, name = path.split(".")
    owner: Any = import_module(f"moxy.{module}")
    for part in owners:
        owner = getattr(owner, part)
    if name not in vars(owner):
        raise LookupError(f"a mutation has lost its seam: there is no moxy.{seam}")
    right = vars(owner)[name]
    setattr(owner, name, wrong(right))
    try:
        yield
    finally:
        setattr(owner, name, right)

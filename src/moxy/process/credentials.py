"""Passwords for destinations, read where the configuration says they stand.

Rules: no text here shows a secret, whatever is wrong with it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from moxy.config.values import SecretPlace
from moxy.errors import MoxyError, UnusableFile

OCTETS: Final = 1024
"""The longest secret. AUTH sends it on one line of at most 12,288 octets (RFC 4954 §4)."""


def read_secret(place: SecretPlace) -> str:
    """The secret there. Raises MoxyError."""
    octets = _from_file(place.where) if place.kind == "file" else _from_environment(place.where)
    octets = octets.partition(b"\n")[0].removesuffix(b"\r")
    try:
        secret = octets.decode()
    except UnicodeDecodeError:
        raise MoxyError(f"{place} is not UTF-8") from None
    if not secret:
        raise MoxyError(f"{place} is empty")
    if len(octets) > OCTETS or "\0" in secret:
        raise MoxyError(f"{place} is no secret: it is longer than {OCTETS} octets, or holds a NUL")
    return secret


def is_for_all(place: SecretPlace) -> bool:
    """May every user of this machine read it?"""
    try:
        return place.kind == "file" and bool(Path(place.where).stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _from_file(path: str) -> bytes:
    """Its beginning. A pipe that nobody writes to must not hold us up."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise MoxyError(f"{path} is no regular file")
            return file.read(OCTETS + 3)
    except OSError as error:
        raise UnusableFile(path, f"cannot be read: {error.strerror}") from None


def _from_environment(name: str) -> bytes:
    if name not in os.environ:
        raise MoxyError(f"there is no variable {name} in the environment")
    return os.fsencode(os.environ[name])

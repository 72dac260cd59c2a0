"""Into the background, and the file that says who is there (the original's `-d`)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from moxy.errors import MoxyError
from moxy.process.privileges import Identity


def detach() -> None:
    """Go on as a process of its own session without a terminal; the calling process exits with 0.

    Call it after everything that can fail with a message, and before anything that a fork would break (event loops).
    Standard error stays where it was sent, unless that is a terminal.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    for _ in range(2):  # the second child leads no session, so it can never get a terminal again
        if os.fork():
            os._exit(0)
        with contextlib.suppress(PermissionError):
            os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        if descriptor < 2 or os.isatty(descriptor):
            os.dup2(null, descriptor)
    os.close(null)


@contextlib.contextmanager
def pid_file(path: Path | None, user: Identity | None) -> Iterator[None]:
    """Keep our process number in `path` meanwhile; it belongs to `user`, who will remove or empty it. None: no file."""
    if path is None:
        yield
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        if user is not None:
            os.fchown(descriptor, user.uid, user.gid)
    except OSError as error:
        raise MoxyError(f"cannot write the pid file {path}: {error.strerror}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)  # the directory may be root's, and the name then stays
            path.unlink()
        os.close(descriptor)

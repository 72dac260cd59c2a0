"""Into the background, and the file that says who is there (the original's `-d`)."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from moxy.errors import MoxyError
from moxy.process.privileges import Identity


def detach() -> Callable[[], None]:
    """Go on as a process of its own session, without a terminal. Call it before anything that a fork would break.

    The calling process waits until what is returned here is called: then it exits with 0, or with 1 if the new process
    ended before. Until then the new one may still complain on standard error; after, it has let go of its streams.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        os._exit(0 if os.read(reading, 1) else 1)
    os.close(reading)
    os.setsid()
    if os.fork():
        os._exit(0)  # the one that leads the session: so nobody in it can get a terminal again
    os.chdir("/")
    os.umask(0o027)

    def ready() -> None:
        let_go()
        os.write(writing, b"1")
        os.close(writing)

    return ready


def let_go() -> None:
    """Part with the streams of who has started us, in this process: who reads a pipe would wait for our end. Only what
    went to a file goes there still.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        if descriptor < 2 or not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.dup2(null, descriptor)
    os.close(null)


@contextlib.contextmanager
def pid_file(path: Path | None, user: Identity | None) -> Iterator[None]:
    """Keep our process number in `path` meanwhile; it belongs to `user`, who will remove or empty it. None: no file.

    Its directory is made if it is missing, for what is in /run is gone with every boot.
    """
    if path is None:
        yield
        return
    try:
        _make_directory(path.parent, user)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        os.fchmod(descriptor, 0o644)  # whatever the umask: others are meant to read it
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


def _make_directory(path: Path, user: Identity | None) -> None:
    if not path.exists():
        path.mkdir()
        path.chmod(0o755)  # whatever the umask
        if user is not None:
            os.chown(path, user.uid, user.gid)

"""Into the background, and the file that says who is there (the original's `-d`)."""

from __future__ import annotations

import contextlib
import fcntl
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

    Its directory is made if it is missing, for what is in /run is gone with every boot. Raises MoxyError, also where
    another Moxy has its number in it.
    """
    if path is None:
        yield
        return
    try:
        make_directory(path.parent, user)
        descriptor = _claimed(path)
        os.fchmod(descriptor, 0o644)  # whatever the umask: others are meant to read it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
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


def _claimed(path: Path) -> int:
    """The open file, locked as long as we have it. In a directory of others, anything may stand in its place."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise MoxyError(f"the pid file {path} is no file of its own")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        number = os.read(descriptor, 20).decode(errors="replace").strip()
        os.close(descriptor)
        raise MoxyError(f"Moxy runs already, process {number}: it holds the pid file {path}") from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def make_directory(path: Path, user: Identity | None) -> None:
    """For a file that does not stay over a boot: make its directory for `user` if it is missing. Raises OSError."""
    if not path.exists():
        path.mkdir()
        path.chmod(0o755)  # whatever the umask
        if user is not None:
            os.chown(path, user.uid, user.gid)

"""From root to an unprivileged user, once and for good (the original's `runas`)."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from moxy.errors import MoxyError


@dataclass(frozen=True, slots=True)
class Identity:
    """A user to become: its name, and the numbers of user and group."""

    name: str
    uid: int
    gid: int


def identity(runas: str) -> Identity:
    """Who `runas` (`user` or `user:group`, names or numbers) is. Raises MoxyError for nobody, and for root."""
    user, _, group = runas.partition(":")
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        uid, gid, name = entry.pw_uid, entry.pw_gid, entry.pw_name
    except KeyError:
        if not (user.isdigit() and group):
            raise MoxyError(f"runas: there is no user `{user}` on this machine") from None
        uid, gid, name = int(user), -1, user  # a number without an entry needs its group spelled out
    if group:
        try:
            gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise MoxyError(f"runas: there is no group `{group}` on this machine") from None
    if 0 in (uid, gid):
        raise MoxyError("runas: root is no unprivileged user or group; name another, for example `nobody`")
    return Identity(name, uid, gid)


def required(runas: str) -> Identity | None:
    """The identity to take on before serving; None when we are nobody special already.

    Raises MoxyError where we are root and no user is named, or where we are not root and cannot become that user.
    """
    if os.geteuid() == 0:
        if not runas:
            raise MoxyError(
                "Moxy does not run as root: name an unprivileged user with `runas`, for example `runas nobody`"
            )
        return identity(runas)
    if runas and identity(runas).uid != os.geteuid():
        raise MoxyError(f"runas: only root can become `{runas}`; start Moxy as root, or as that user")
    return None


def may_write(directory: Path, user: Identity | None) -> bool:
    """Whether `user` may make files in the directory; None: whether we may. By its mode alone, as far as that tells."""
    if user is None:
        return os.access(directory, os.W_OK | os.X_OK)
    return _permissions(directory, user) & 0o3 == 0o3


def may_read(path: Path, user: Identity) -> bool:
    """Whether `user` may read the file, as far as the modes of it and of its directories tell."""
    places = [(path, 0o4), *((directory, 0o1) for directory in path.absolute().parents)]
    return all(_permissions(place, user) & wanted for place, wanted in places)


def remedy(path: Path | str, runas: str) -> str:
    """What is to be done where we, who have become `runas`, may not read a file that is there; "" if it is not that."""
    if runas and os.access(path, os.F_OK) and not os.access(path, os.R_OK):
        return unreadable(path, runas)
    return ""


def unreadable(path: Path | str, runas: str) -> str:
    """That `runas` may not read a file, and what is to be done."""
    return f"{path}: {runas} may not read it, and must: `chown {runas} {path}`"


def _permissions(path: Path, user: Identity) -> int:
    status = path.stat()
    shift = 6 if status.st_uid == user.uid else 3 if status.st_gid == user.gid else 0
    return status.st_mode >> shift & 0o7


def drop(to: Identity) -> None:
    """Become `to`: supplementary groups, group, user, in this order. Raises MoxyError if a way back would be left."""
    try:
        os.setgroups([])
        os.setresgid(to.gid, to.gid, to.gid)
        os.setresuid(to.uid, to.uid, to.uid)
    except OSError as error:
        raise MoxyError(f"runas: cannot become `{to.name}`: {error.strerror}") from error
    if os.getresuid() != (to.uid,) * 3 or os.getresgid() != (to.gid,) * 3 or os.getgroups():
        raise MoxyError(f"runas: privileges were not dropped to `{to.name}`")

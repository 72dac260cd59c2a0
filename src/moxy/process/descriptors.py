"""File descriptors: as many as the system lets us have, and no more sessions than there are descriptors for.

Without one, a client would be accepted and closed without a word: the event loop has no way to greet it.
"""

from __future__ import annotations

import resource
from typing import Final

from structlog import get_logger

from moxy.config.schema import Config

FOR_CLIENTS: Final = 0.75
"""The part of a worker's descriptors that clients may take. The rest is for destinations, logs and tables."""

log = get_logger("moxy")


def raise_limit() -> None:
    """Take all descriptors that the system lets this process have; for programs of long ago the usual limit is low."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def fitting_sessions(sessions: int) -> int:
    """As many sessions of one worker as there are descriptors for, `sessions` at most."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(sessions, int(limit * FOR_CLIENTS)))


def warn_of_few(config: Config) -> None:
    """Tell the operator if fewer sessions fit than `limits.sessions` promises."""
    wanted = config.limits.sessions
    fitting = fitting_sessions(max(1, wanted // config.workers)) * config.workers
    if fitting < wanted - wanted % config.workers:
        log.warning("few_descriptors", sessions=fitting, wanted=wanted, remedy="raise `ulimit -n`")

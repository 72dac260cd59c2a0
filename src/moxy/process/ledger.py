"""Where the ledger's file is, and what its users share.

Rules: a supervisor has one `Home`, made before privileges are dropped and before workers are forked; each worker opens
a ledger of its own in it.

Bugs: a supervisor that is killed leaves its temporary directory.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final, Self

from structlog import get_logger

from moxy.config.schema import Config
from moxy.ledger import Ledger, NoLedger
from moxy.ledger.shared import SharedLedger
from moxy.ledger.stamp import Stamp
from moxy.process.privileges import Identity

NAME: Final = "ledger.db"

STATE_DIRECTORY: Final = "STATE_DIRECTORY"
"""The variable by which systemd tells a service its StateDirectory, or several with colons (systemd.exec(5))."""

USUAL: Final = Path("/var/lib/moxy") / NAME
"""Where the file is if systemd starts Moxy as in etc/systemd/moxy.service."""

log = get_logger("moxy")


def lasting(config: Config) -> Path | None:
    """The ledger's file, if it has one that outlives Moxy."""
    if config.ledger.path is not None:
        return config.ledger.path
    directory = os.environ.get(STATE_DIRECTORY, "").split(":")[0]
    return Path(directory) / NAME if directory else None


class Home:
    """The place of the ledgers of one supervisor's workers. Leave the block, and what was temporary is gone."""

    def __init__(self) -> None:
        self._stamp = Stamp()
        self._temporary: Path | None = None
        self._why_not = ""

    def prepare(self, config: Config, user: Identity | None = None) -> None:
        """Have a place for the file: where none lasts a temporary one, which belongs to `user`."""
        if not config.ledger.hours or lasting(config) is not None or self._temporary is not None:
            return
        try:
            self._temporary = Path(tempfile.mkdtemp(prefix="moxy-ledger-"))
            if user is not None:
                os.chown(self._temporary, user.uid, user.gid)
        except OSError as error:  # mail goes on without
            self._why_not = f"cannot make a temporary directory: {error.strerror}"

    def warn(self, config: Config) -> None:
        """Tell the operator if entries will be gone with this Moxy, or there can be none."""
        if not config.ledger.hours or lasting(config) is not None:
            return
        remedy = "set `path` in [ledger]"
        if self._temporary is None:
            log.warning("ledger_failed", error=self._why_not, remedy=remedy)
        else:
            log.info("ledger_temporary", directory=str(self._temporary), remedy=remedy)

    def open(self, config: Config, loop: asyncio.AbstractEventLoop) -> Ledger:
        """The ledger of one worker."""
        path = lasting(config)
        if path is None and self._temporary is not None:
            path = self._temporary / NAME
        if not config.ledger.hours or path is None:
            return NoLedger()
        return SharedLedger(path, self._stamp, loop, hours=config.ledger.hours, entries=config.ledger.entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

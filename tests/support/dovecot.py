"""A private Dovecot with LMTP, and SASL for a Postfix (passwords): its own configuration, sockets and mailboxes.

It must be started by root: it changes its users.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.directories import UNPRIVILEGED, is_root, make_writable
from support.ports import LOOPBACK, free_port
from support.processes import GLANCE, PATIENCE, Running, is_alive, require_program

CONFIGURATION = """\
protocols = lmtp
ssl = {ssl}
hostname = mailboxes.test
base_dir = {home}/run
state_dir = {home}/run
log_path = {home}/dovecot.log
auth_mechanisms = plain login cram-md5 scram-sha-256
disable_plaintext_auth = no
auth_failure_delay = 0
mail_location = maildir:~/mail
mail_uid = {user}
mail_gid = nogroup
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = {home}/users
}}
userdb {{
  driver = passwd-file
  args = {home}/users
}}
protocol lmtp {{
  mail_plugins = quota
}}
plugin {{
  quota = maildir:all
}}
service lmtp {{
  unix_listener {home}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
    {listener}
  }}
}}
service auth {{
  unix_listener {home}/auth {{
    mode = 0666
  }}
}}
{sections}
"""

PASSWORD = "correct horse"
"""Everybody's."""

FULL = "userdb_quota_rule=*:bytes=1"


class Dovecot(Running):
    """A Dovecot with mailboxes for these addresses; true: there is room in it, false: it is full.

    `ssl` as in its configuration, `listener` are settings of its LMTP port, `sections` any others.
    """

    def __init__(
        self,
        directory: Path,
        mailboxes: Mapping[str, bool],
        *,
        ssl: str = "no",
        listener: str = "",
        sections: str = "",
        greets: bool = True,
    ) -> None:
        program = require_program("dovecot")
        if not is_root():
            pytest.skip("a private Dovecot can only be started by root")
        self.port = free_port()
        self.address = f"{LOOPBACK}:{self.port}"
        self._home = directory / "dovecot"
        for name in ("", "run", "mailboxes"):
            (self._home / name).mkdir()
        make_writable(self._home / "mailboxes")
        self.socket = self._home / "lmtp"
        self.auth_socket = self._home / "auth"
        users = [
            f"{address}:{{PLAIN}}{PASSWORD}::::{self._mailbox(address)}::{'' if room else FULL}\n"
            for address, room in mailboxes.items()
        ]
        (self._home / "users").write_text("".join(users))
        configuration = self._home / "dovecot.conf"
        values = {"home": self._home, "port": self.port, "user": UNPRIVILEGED, "ssl": ssl}
        configuration.write_text(CONFIGURATION.format(**values, listener=listener, sections=sections))
        super().__init__([program, "-F", "-c", str(configuration)], self._home / "dovecot.out")
        if greets:
            self.wait_for_greeting(self.port)
        else:
            self.wait_for_port(self.port)

    def _mailbox(self, address: str) -> Path:
        return self._home / "mailboxes" / address

    def log(self) -> str:
        """Dovecot's own log."""
        file = self._home / "dovecot.log"
        return file.read_text() if file.exists() else ""

    def delivered(self, address: str) -> list[bytes]:
        """The messages in this mailbox."""
        return [file.read_bytes() for file in (self._mailbox(address) / "mail" / "new").glob("*")]

    def __exit__(self, *_: object) -> None:
        """End all of its processes: told to stop, it would sleep for a second."""
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()
        deadline = time.monotonic() + PATIENCE
        while is_alive(self.pid) and time.monotonic() < deadline:
            time.sleep(GLANCE)

"""A private Dovecot that does nothing but LMTP: its own configuration, sockets and mailboxes.

It must be started by root: it changes its users.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from support.directories import UNPRIVILEGED, is_root, make_writable
from support.ports import LOOPBACK, free_port
from support.processes import Running, require_program

CONFIGURATION = """\
protocols = lmtp
ssl = no
hostname = mailboxes.test
base_dir = {home}/run
state_dir = {home}/run
log_path = {home}/dovecot.log
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
  }}
}}
"""

FULL = "userdb_quota_rule=*:bytes=1"


class Dovecot(Running):
    """A Dovecot with mailboxes for these addresses; true: there is room in it, false: it is full."""

    def __init__(self, directory: Path, mailboxes: Mapping[str, bool]) -> None:
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
        users = [
            f"{address}:{{PLAIN}}::::{self._mailbox(address)}::{'' if room else FULL}\n"
            for address, room in mailboxes.items()
        ]
        (self._home / "users").write_text("".join(users))
        configuration = self._home / "dovecot.conf"
        configuration.write_text(CONFIGURATION.format(home=self._home, port=self.port, user=UNPRIVILEGED))
        super().__init__([program, "-F", "-c", str(configuration)], self._home / "dovecot.out")
        self.wait_for_greeting(self.port)

    def _mailbox(self, address: str) -> Path:
        return self._home / "mailboxes" / address

    def log(self) -> str:
        """Dovecot's own log."""
        file = self._home / "dovecot.log"
        return file.read_text() if file.exists() else ""

    def delivered(self, address: str) -> list[bytes]:
        """The messages in this mailbox."""
        return [file.read_bytes() for file in (self._mailbox(address) / "mail" / "new").glob("*")]

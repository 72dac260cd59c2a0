"""A private Postfix: its own configuration, queue, data and ports; the system's own instance is left alone.

Postfix must be started by root: its master changes users for its daemons.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from support.directories import UNPRIVILEGED, is_root, make_writable
from support.ports import LOOPBACK, free_port
from support.processes import GLANCE, PATIENCE, Running, require_program, run_to_end
from support.submit import EIGHT_BIT, submit

DAEMONS = Path("/usr/lib/postfix/sbin")

MAIN = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
default_privs = {unprivileged}
maillog_file = {home}/mail.log
maillog_file_prefixes = {home}
myhostname = {host_name}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
smtp_host_lookup = native
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = none
smtp_tls_security_level = none
alias_maps =
local_recipient_maps =
local_header_rewrite_clients =
message_size_limit = 104857600
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n - n 60    1 pickup
cleanup   unix  n - n -     0 cleanup
qmgr      unix  n - n 300   1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n -     - trivial-rewrite
bounce    unix  - - n -     0 bounce
defer     unix  - - n -     0 bounce
trace     unix  - - n -     0 bounce
flush     unix  n - n 1000? 0 flush
smtp      unix  - - n -     - smtp
relay     unix  - - n -     - smtp
lmtp      unix  - - n -     - lmtp
showq     unix  n - n -     - showq
error     unix  - - n -     - error
retry     unix  - - n -     - error
discard   unix  - - n -     - discard
virtual   unix  - n n -     - virtual
anvil     unix  - - n -     1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""


_DELIVERY = re.compile(r" (\w+): to=<([^>]*)>, .* status=(\w+) ")

_UNDER_WAY = re.compile(r'"queue_name": "(?:active|incoming|maildrop)"')


class Postfix(Running):
    """A running Postfix with these `settings` of main.cf besides the plainest ones.

    `greets`: does it greet who connects, without TLS or a PROXY header?
    """

    def __init__(self, directory: Path, host_name: str, settings: Mapping[str, str], *, greets: bool = True) -> None:
        postfix = require_program("postfix")
        if not is_root():
            pytest.skip("a private Postfix can only be started by root")
        self.port = free_port()
        self.host_name = host_name
        self.home = directory / host_name
        self._configuration = self.home / "etc"
        self._prepare(settings)
        checked = run_to_end([postfix, "-c", str(self._configuration), "check"])
        assert checked.returncode == 0, checked.stdout
        master = [str(DAEMONS / "master"), "-c", str(self._configuration), "-d"]
        super().__init__(master, self.home / "master.out", os.environ | {"LC_ALL": "C"})
        if greets:
            self.wait_for_greeting(self.port)
        else:
            self.wait_for_port(self.port)

    def _prepare(self, settings: Mapping[str, str]) -> None:
        for name in ("", "etc", "queue", "data"):
            (self.home / name).mkdir()
        shutil.chown(self.home / "data", "postfix")
        main = MAIN.format(home=self.home, daemons=DAEMONS, unprivileged=UNPRIVILEGED, host_name=self.host_name)
        lines = [line for line in main.splitlines() if line.partition(" =")[0] not in settings]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        file = self._configuration / "main.cf"
        file.write_text("\n".join(lines) + "\n")
        an_hour_ago = time.time() - 3600
        os.utime(file, (an_hour_ago, an_hour_ago))  # of a new one Postfix waits for the end, some 2 s
        (self._configuration / "master.cf").write_text(MASTER.format(port=self.port))

    def log(self) -> str:
        """Postfix's own log: what it did with each message, and what its destinations said."""
        file = self.home / "mail.log"
        return file.read_text() if file.exists() else ""

    def wait_for_log(self, text: str, times: int = 1) -> None:
        try:
            self.wait_until(lambda: self.log().count(text) >= times, f"{times} times {text!r} in the log")
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.log()}") from None

    def processes(self, name: str) -> list[int]:
        """Its own processes of this name, such as `smtp`."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == name]

    def queue(self) -> str:
        """What is still to be delivered, a line of JSON for each message; empty when there is nothing."""
        listed = run_to_end([require_program("postqueue"), "-c", str(self._configuration), "-j"])
        assert listed.returncode == 0, listed.stdout
        return listed.stdout

    def wait_for_empty_queue(self) -> None:
        self.wait_until(lambda: not self.queue(), "an empty queue")


class PostfixClient(Postfix):
    """A Postfix that sends everything through the relay at `relay_port`, but throws away mail for its own senders.

    Further `settings` win. Nothing is tried again before `try_again` says so, or an hour has passed.
    """

    def __init__(
        self, directory: Path, relay_port: int, sender_domain: str, settings: Mapping[str, str] | None = None
    ) -> None:
        own = {
            "relayhost": f"[{LOOPBACK}]:{relay_port}",
            "transport_maps": f"inline:{{ {{ {sender_domain} = discard: }} }}",
            "minimal_backoff_time": "1h",
            "maximal_queue_lifetime": "1h",
            "smtp_destination_concurrency_failed_cohort_limit": "0",  # no destination is given up for a while
            "lmtp_destination_concurrency_failed_cohort_limit": "0",
            "transport_retry_time": "1s",  # after a process of its own has died
            "service_throttle_time": "1s",
        }
        super().__init__(directory, "client.test", {**own, **(settings or {})})

    def take(
        self,
        sender: str,
        recipients: Sequence[str],
        content: bytes,
        mail: Sequence[str] = EIGHT_BIT,
        rcpt: Sequence[str] = (),
    ) -> str:
        """Put a message into the queue, with these parameters of MAIL and RCPT; its id. It is delivered at once."""
        return submit(self.port, sender, recipients, content, mail, rcpt).rpartition(" ")[2]

    def try_again(self) -> None:
        """Try to deliver all that was put off, now."""
        flushed = run_to_end([require_program("postqueue"), "-c", str(self._configuration), "-f"])
        assert flushed.returncode == 0, flushed.stdout

    def deliver_all(self, seconds: float = PATIENCE) -> None:
        """Try again whenever all that is left has been put off, until nothing is left, or that time is over."""
        deadline = time.monotonic() + seconds
        while (queue := self.queue()) and time.monotonic() < deadline:
            if not _UNDER_WAY.search(queue):
                self.try_again()
            time.sleep(GLANCE)

    def verdicts(self) -> dict[str, dict[str, tuple[str, str]]]:
        """For each message, the last thing that the log says about each recipient: its status, and the whole line."""
        told: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        for line in self.log().splitlines():
            if found := _DELIVERY.search(line):
                told[found[1]][found[2]] = found[3], line
        return told

    def wait_for_verdicts(self, message: str, count: int, seconds: float = PATIENCE) -> dict[str, tuple[str, str]]:
        """What became of this message for so many recipients."""
        self.wait_until(lambda: len(self.verdicts()[message]) >= count, f"{count} verdicts on {message}", seconds)
        return self.verdicts()[message]


class PostfixDestination(Postfix):
    """A Postfix that has mailboxes (maildirs) for these users of `domain`, and refuses all others.

    A user may have a domain of its own: `sender@sender.test`. Further `settings` win.
    """

    def __init__(
        self,
        directory: Path,
        domain: str,
        users: Sequence[str],
        settings: Mapping[str, str] | None = None,
        *,
        greets: bool = True,
    ) -> None:
        self._mailboxes = directory / "mailboxes"
        self._mailboxes.mkdir()
        make_writable(self._mailboxes)
        paths = {user: user if "@" in user else f"{user}@{domain}" for user in users}
        known = " ".join(f"{{ {path} = {user}/ }}" for user, path in paths.items())
        own = {
            "virtual_mailbox_domains": " ".join({domain, *(path.partition("@")[2] for path in paths.values())}),
            "virtual_mailbox_base": str(self._mailboxes),
            "virtual_mailbox_maps": f"inline:{{ {known} }}",
            "virtual_uid_maps": f"static:{self._mailboxes.stat().st_uid}",
            "virtual_gid_maps": f"static:{self._mailboxes.stat().st_uid}",
            "virtual_mailbox_limit": "0",
        }
        super().__init__(directory, "destination.test", own | dict(settings or {}), greets=greets)

    def delivered(self, user: str) -> list[bytes]:
        """The files in this user's mailbox."""
        return [file.read_bytes() for file in (self._mailboxes / user / "new").glob("*")]

    def wait_for_mail(self, user: str) -> bytes:
        """The one message in this user's mailbox, once it is there."""
        (message,) = self.wait_until(lambda: self.delivered(user), f"mail for {user}")
        return message

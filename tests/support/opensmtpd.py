"""A private OpenSMTPD: its own configuration, queue, control socket and mailboxes, as a client or as a destination.

Its Debian package excludes Postfix's, so `tests/interop/install` unpacks it beside, as it does Exim's. Where its queue,
its socket and its helpers are is compiled in; so each instance sees directories of its own there, in a mount namespace
(mount_namespaces(7)). For that, and because it changes its users, it must be started by root.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.directories import UNPRIVILEGED, is_root, make_writable
from support.exim import BESIDE
from support.ports import LOOPBACK, free_port
from support.processes import PATIENCE, Running, require_program, run_to_end
from support.submit import EIGHT_BIT, submit

LISTEN = """\
smtp max-message-size 100M
listen on 127.0.0.1 port {port} hostname {host_name} {options}
"""

CLIENT = """\
bounce warn-interval 1h
action "relay" relay host "{relay}" {relay_options}
action "own" maildir "{home}/mailboxes/own" virtual {{ "@" = {user} }}
match from any for domain "{sender_domain}" action "own"
match from any for any action "relay"
"""

SERVER = """\
table known {{ {known} }}
action "box" maildir "{home}/mailboxes/%{{rcpt.user}}" virtual {{ "@" = {user} }}
match from any for rcpt-to <known> action "box"
"""

_STATUS = {"Ok": "sent", "PermFail": "bounced", "TempFail": "deferred"}
_DELIVERY = re.compile(r' mta delivery evpid=(.{8})\S+ .* to=<(\S*)> .* result="?(\w+)"? stat="?(.*?)"?$', re.MULTILINE)


def require_opensmtpd() -> str:
    """The program; the test is skipped where it cannot run (with CI=true that is a failure)."""
    program = BESIDE / "bin" / "opensmtpd"
    if not program.exists():
        pytest.skip("OpenSMTPD is not unpacked; ./run test does it as root")
    if not is_root() or not _can_mount():
        pytest.skip("a private OpenSMTPD can only be started by root that may make mount namespaces")
    return str(program)


@functools.cache
def _can_mount() -> bool:
    return run_to_end([require_program("unshare"), "--mount", "true"]).returncode == 0


class OpenSmtpd(Running):
    """A running OpenSMTPD. `head` comes before its `listen` line, which has these `options`, and `body` after it."""

    def __init__(
        self,
        directory: Path,
        host_name: str,
        body: str,
        *,
        head: str = "",
        options: str = "",
        greets: bool = True,
        **values: str,
    ) -> None:
        program = require_opensmtpd()
        self.port = free_port()
        self.address = f"{LOOPBACK}:{self.port}"
        self.host_name = host_name
        self.home = directory / host_name
        for name in ("", "spool", "run", "mailboxes"):
            (self.home / name).mkdir()
        (self.home / "spool" / "smtpd").mkdir(0o711)
        make_writable(self.home / "mailboxes")
        values |= {"home": str(self.home), "port": str(self.port), "user": UNPRIVILEGED}
        values |= {"host_name": host_name, "options": options}
        file = self.home / "smtpd.conf"
        file.write_text(head + (LISTEN + body).format(**values))
        places = {
            self.home / "spool": "/var/spool",
            self.home / "run": "/run",
            BESIDE / "opensmtpd" / "usr" / "libexec": "/usr/libexec",
        }
        steps = [f"mount --bind {shlex.quote(str(own))} {place}" for own, place in places.items()]
        steps.append(f"exec {program} -d -f {shlex.quote(str(file))}")
        script = " && ".join(steps)
        super().__init__([require_program("unshare"), "--mount", "sh", "-c", script], self.home / "smtpd.out")
        self.name = "smtpd"
        if greets:
            self.wait_for_greeting(self.port)
        else:
            self.wait_for_port(self.port)

    def log(self) -> str:
        """Its own log: what it did with each message, and what its destinations said."""
        return self.text()

    def control(self, *words: str) -> str:
        """What `smtpctl` says to these words."""
        program = str(BESIDE / "opensmtpd" / "usr" / "sbin" / "smtpctl")
        return run_to_end([require_program("nsenter"), f"--mount=/proc/{self.pid}/ns/mnt", program, *words]).stdout


class OpenSmtpdClient(OpenSmtpd):
    """An OpenSMTPD that sends everything to the relay at `relay`, but keeps the bounces for its own senders.

    `relay` is a URL as in smtpd.conf(5), such as smtp+notls://127.0.0.1:2525.
    """

    def __init__(
        self, directory: Path, relay: str, sender_domain: str, *, head: str = "", relay_options: str = ""
    ) -> None:
        super().__init__(
            directory,
            "client.test",
            CLIENT,
            head=head,
            relay=relay,
            sender_domain=sender_domain,
            relay_options=relay_options,
        )

    def take(
        self,
        sender: str,
        recipients: Sequence[str],
        content: bytes,
        mail: Sequence[str] = EIGHT_BIT,
        rcpt: Sequence[str] = (),
    ) -> str:
        """Put a message into the queue, with these parameters of MAIL and RCPT; its id. It is delivered at once."""
        return submit(self.port, sender, recipients, content, mail, rcpt).split()[1]

    def verdicts(self) -> dict[str, dict[str, tuple[str, str]]]:
        """For each message, the last thing that the log says about each recipient: its status, and the reply."""
        told: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        for message, recipient, result, reply in _DELIVERY.findall(self.log()):
            told[message][recipient] = _STATUS[result], reply
        return told

    def wait_for_verdicts(self, message: str, count: int, seconds: float = PATIENCE) -> dict[str, tuple[str, str]]:
        """What became of this message for so many recipients."""
        self.wait_until(lambda: len(self.verdicts()[message]) >= count, f"{count} verdicts on {message}", seconds)
        return self.verdicts()[message]

    def try_again(self) -> None:
        """Try to deliver all that was put off, now."""
        self.control("schedule", "all")

    def bounces(self) -> list[bytes]:
        """What its own senders have got."""
        return [file.read_bytes() for file in (self.home / "mailboxes" / "own" / "new").glob("*")]


class OpenSmtpdDestination(OpenSmtpd):
    """An OpenSMTPD that has mailboxes (maildirs) for these users of `domain`, and refuses all others.

    A user may have a domain of its own; the mailbox is that of the local part.
    """

    def __init__(
        self,
        directory: Path,
        domain: str,
        users: Sequence[str],
        *,
        head: str = "",
        options: str = "",
        greets: bool = True,
    ) -> None:
        known = ", ".join(f'"{user if "@" in user else f"{user}@{domain}"}"' for user in users)
        super().__init__(directory, "destination.test", SERVER, head=head, options=options, greets=greets, known=known)

    def delivered(self, user: str) -> list[bytes]:
        """The files in this user's mailbox."""
        return [file.read_bytes() for file in (self.home / "mailboxes" / user / "new").glob("*")]

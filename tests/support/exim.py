"""A private Exim: its own configuration, spool and logs; without a daemon as a client, with one as a destination.

Exim's Debian package excludes Postfix's, so `tests/interop/install` unpacks it beside, in /var/lib/moxy-interop (or the
directory that the variable MOXY_INTEROP names); `bin/exim` there starts it. It must be started by root: it changes its
user.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from support.directories import UNPRIVILEGED, is_root, make_writable
from support.ports import LOOPBACK, free_port
from support.processes import GLANCE, PATIENCE, Running, is_alive, run_to_end
from support.submit import EIGHT_BIT

BESIDE = Path(os.environ.get("MOXY_INTEROP", "/var/lib/moxy-interop"))

MAIN = """\
exim_path = {program}
exim_user = {user}
exim_group = nogroup
never_users =
spool_directory = {home}/spool
log_file_path = {home}/log/%slog
log_selector = +smtp_confirmation +subject
keep_environment =
primary_hostname = {host_name}
local_interfaces = 127.0.0.1
disable_ipv6 = true
deliver_drop_privilege = true
smtp_accept_max = 0
message_size_limit = 100M
smtp_accept_queue_per_connection = 0
tls_advertise_hosts =
"""

CLIENT = """\
acl_smtp_rcpt = accept

begin routers
own:
  driver = redirect
  domains = {sender_domain}
  data = :blackhole:
relay:
  driver = manualroute
  route_list = * {relay}
  self = send
  transport = relay

begin transports
relay:
  driver = smtp
  port = {relay_port}
  hosts_try_prdr = {prdr}
  hosts_avoid_pipelining = {no_pipelining}
  hosts_try_dane =
  hosts_try_fastopen =
  dnssec_request_domains =
{transport}

begin retry
* * F,1h,1s
"""

SERVER = """\
prdr_enable = true
acl_smtp_rcpt = rcpt
acl_smtp_data_prdr = content_for_one
acl_smtp_data = content
host_lookup =
rfc1413_query_timeout = 0s

begin acl
rcpt:
  accept domains = {domain}
         local_parts = {users}
  deny   message = 550 5.1.1 <$local_part@$domain> is nobody here
content_for_one:
{each}  accept
content:
{alone}  accept

begin routers
mailbox:
  driver = accept
  local_parts = {users}
  transport = mailbox

begin transports
mailbox:
  driver = appendfile
  directory = {home}/mailboxes/$local_part_data
  maildir_format = true
  create_directory = true
  user = {user}
{authenticators}
"""

AUTHENTICATORS = """\
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{login}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and{{{{eq{{$auth1}}{{{login}}}}}{{eq{{$auth2}}{{{password}}}}}}}}}
  server_set_id = $auth1
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${{if eq{{$auth1}}{{{login}}}{{{password}}}fail}}
  server_set_id = $auth1
"""

REFUSED_OF_SEVERAL = """\
  {verb} local_parts = {user}
         message = {message}
"""

REFUSED_ALONE = """\
  {verb} condition = ${{if eq{{$recipients}}{{{user}@{domain}}}}}
         message = {message}
"""


def require_exim() -> str:
    """The program; the test is skipped where it is missing (with CI=true that is a failure)."""
    program = BESIDE / "bin" / "exim"
    if not program.exists():
        pytest.skip("Exim is not unpacked; ./run test does it as root")
    if not is_root():
        pytest.skip("a private Exim can only be started by root")
    return str(program)


_STATUS = {"=>": "sent", "->": "sent", "**": "bounced", "==": "deferred"}
_DELIVERY = re.compile(r"\S+ \S+ (\S+) (=>|->|\*\*|==) (\S+) ")


class _Instance:
    """The directories of an Exim, and its configuration."""

    def __init__(self, directory: Path, host_name: str) -> None:
        self.program = require_exim()
        self.host_name = host_name
        self.home = directory / host_name
        for name in ("", "spool", "log", "mailboxes"):
            path = self.home / name
            path.mkdir()
            make_writable(path)
        self.configuration = self.home / "exim.conf"

    def configure(self, text: str, *, settings: Mapping[str, str] | None = None, **values: str) -> None:
        """Write the configuration. `settings` are of the main section, and win; no option may stand there twice."""
        values |= {"home": str(self.home), "program": self.program, "user": UNPRIVILEGED, "host_name": self.host_name}
        lines = (MAIN + text).format(**values).splitlines(keepends=True)
        own = [f"{name} = {value}\n" for name, value in (settings or {}).items()]
        rest = [line for line in lines if line.partition(" =")[0] not in (settings or {})]
        self.configuration.write_text("".join(own + rest))

    def command(self, *options: str) -> list[str]:
        return [self.program, "-C", str(self.configuration), *options]

    def log(self) -> str:
        """Exim's own log: what it did with each message, and what its destinations said."""
        file = self.home / "log" / "mainlog"
        return file.read_text(errors="replace") if file.exists() else ""


class EximClient(_Instance):
    """An Exim that sends everything through the relay, but throws away mail for its own senders.

    It has no daemon: `take` puts a message into its queue, `attempt` tries to deliver it once. `relay` are addresses of
    loopback that it tries in this order; `settings` of its main configuration, and `transport` of its transport, win.
    """

    def __init__(
        self,
        directory: Path,
        relay_port: int,
        sender_domain: str,
        *,
        prdr: bool = True,
        pipelining: bool = True,
        relay: Sequence[str] = (LOOPBACK,),
        settings: Mapping[str, str] | None = None,
        transport: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory, "client.test")
        self.configure(
            CLIENT,
            settings=settings,
            transport="".join(f"  {name} = {value}\n" for name, value in (transport or {}).items()),
            relay=":".join(relay),
            relay_port=str(relay_port),
            sender_domain=sender_domain,
            prdr="*" if prdr else "",
            no_pipelining="" if pipelining else "*",
        )

    def take(
        self,
        sender: str,
        recipients: Sequence[str],
        content: bytes,
        mail: Sequence[str] = EIGHT_BIT,
        rcpt: Sequence[str] = (),
    ) -> str:
        """Put a message in wire form into the queue, with these parameters of MAIL and RCPT; its id.

        It is only delivered when it is told to.
        """
        envelope = [" ".join([f"MAIL FROM:<{sender}>", *mail])]
        envelope += [" ".join([f"RCPT TO:<{recipient}>", *rcpt]) for recipient in recipients]
        dialogue = "\r\n".join(["EHLO localhost", *envelope, "DATA", ""]).encode() + content + b".\r\nQUIT\r\n"
        done = subprocess.run(
            self.command("-bs", "-odq"), input=dialogue, capture_output=True, timeout=PATIENCE, check=False
        )
        accepted = re.search(rb"^250 OK id=(\S+)", done.stdout, re.MULTILINE)
        assert accepted, done.stdout + done.stderr
        return accepted[1].decode()

    def attempt(self, message: str) -> None:
        """Try to deliver this message now, to all recipients that are left, whatever its retry times are."""
        self.attempting(message).wait(PATIENCE)

    def attempting(self, message: str) -> subprocess.Popen[bytes]:
        """Begin such an attempt, in a process group of its own."""
        return subprocess.Popen(
            self.command("-M", message),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run_queue(self) -> None:
        """Try to deliver everything once."""
        done = run_to_end(self.command("-qff"))
        assert done.returncode == 0, done.stdout

    def deliver_all(self, rounds: int = 12) -> None:
        """Try again until nothing is left, or that many times."""
        for _ in range(rounds):
            if self.queue():
                self.run_queue()

    def queue(self) -> list[str]:
        """The ids of the messages that are still to be delivered."""
        return sorted(file.name.removesuffix("-H") for file in (self.home / "spool" / "input").glob("*-H"))

    def has(self, message: str) -> bool:
        """Is this message still to be delivered to anybody?"""
        return message in self.queue()

    def verdicts(self) -> dict[str, dict[str, tuple[str, str]]]:
        """For each message, the last thing that the log says about each recipient: its status, and the whole line."""
        told: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        for line in self.log().splitlines():
            if found := _DELIVERY.match(line):
                told[found[1]][found[3]] = _STATUS[found[2]], line
        return told


class EximDestination(_Instance, Running):
    """An Exim that has mailboxes (maildirs) for these `users` of `domain`, and speaks PRDR.

    `refusals` are of content, after the dot: a user, and the reply. Without PRDR only who is alone is refused.
    `settings` are of its main configuration, and win; `options` of its command line. `login`, a name and a password,
    has it offer AUTH.
    """

    def __init__(
        self,
        directory: Path,
        domain: str,
        users: Sequence[str],
        refusals: Mapping[str, str] | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        login: tuple[str, str] | None = None,
        greets: bool = True,
    ) -> None:
        _Instance.__init__(self, directory, "destination.test")
        self.port = free_port()
        self.address = f"{LOOPBACK}:{self.port}"
        checks = {"each": "", "alone": ""}
        for user, message in (refusals or {}).items():
            values = {"user": user, "message": message, "domain": domain}
            values["verb"] = "defer" if message.startswith("4") else "deny"
            checks["each"] += REFUSED_OF_SEVERAL.format(**values)
            checks["alone"] += REFUSED_ALONE.format(**values)
        authenticators = AUTHENTICATORS.format(login=login[0], password=login[1]) if login else ""
        values = {"domain": domain, "users": " : ".join(users), "authenticators": authenticators}
        self.configure(SERVER, settings=settings, **values, **checks)
        Running.__init__(self, self.command("-bdf", *options, "-oX", str(self.port)), self.home / "exim.out")
        if greets:
            self.wait_for_greeting(self.port)
        else:
            self.wait_for_port(self.port)

    def delivered(self, user: str) -> list[bytes]:
        """The files in this user's mailbox."""
        return [file.read_bytes() for file in (self.home / "mailboxes" / user / "new").glob("*")]

    def wait_for_mail(self, user: str) -> list[bytes]:
        """The messages in this user's mailbox, once there is one."""
        return self.wait_until(lambda: self.delivered(user), f"mail for {user}")

    def __exit__(self, *about: object) -> None:
        """End the daemon, and wait for the processes that still deliver: their directory will be removed."""
        Running.__exit__(self, *about)
        deadline = time.monotonic() + PATIENCE
        while is_alive(self.pid) and time.monotonic() < deadline:
            time.sleep(GLANCE)

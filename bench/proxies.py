"""The proxies that are measured, and how one of them runs with a sink behind it.

All have one destination on loopback, if nothing else is said, and as far as possible their defaults: HAProxy with two
threads, nginx with two workers, Moxy with its one process. In their files `$host` and `$port` stand for the address and
the port to listen on, `$sink` for the port of the destination, and `$oracle` for one more free port.

Rules: each program leads a session of its own, by which its whole tree is known, measured and ended. CPU time comes
from a cgroup (version 1, as root) where that is possible, else from /proc. Memory is PSS, in which processes that share
a page divide it.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template

LOOPBACK = "127.0.0.1"
PATIENCE = 60.0  # seconds for what should take less than ten
PORTS = itertools.count(20_000)  # below those that the kernel gives to clients: the load takes thousands of these
ACCOUNTING = Path("/sys/fs/cgroup/cpuacct")
NGINX_MAIL = Path("/usr/lib/nginx/modules/ngx_mail_module.so")
IS_ROOT = os.geteuid() == 0


@dataclass(frozen=True)
class Proxy:
    """A program to be started in a directory that holds these files. Without a command there is no proxy at all."""

    command: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    packages: str = ""
    module: Path | None = None
    options: tuple[str, ...] = ()
    """How the load generator sends through it, if not as it does through the others."""
    copies: int = 1
    """In how many sinks each message arrives: in `$sink`, `$sink2` and so on."""

    def is_installed(self) -> bool:
        has_program = not self.command or shutil.which(self.command[0]) is not None
        return has_program and (self.module is None or self.module.exists())


# Not as a mail proxy but as a relay of octets that knows no SMTP: the least that a proxy can cost.
HAPROXY = """
global
    nbthread 2
    maxconn 1200
defaults
    mode tcp
    timeout connect 5s
    timeout client 300s
    timeout server 300s
listen smtp
    bind $host:$port
    server sink $host:$sink
"""

# nginx asks an HTTP server where each session goes. Here that is nginx too, so the CPU time of the answer counts.
NGINX = f"""
load_module {NGINX_MAIL};
daemon off;
pid nginx.pid;
worker_processes 2;
events {{ worker_connections 4000; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen $host:$oracle;
        add_header Auth-Status OK;
        add_header Auth-Server $host;
        add_header Auth-Port $sink;
        location / {{ return 204; }}
    }}
}}
mail {{
    server_name proxy.test;
    auth_http $host:$oracle/;
    smtp_auth none;
    xclient off;
    timeout 300s;
    server {{ listen $host:$port; protocol smtp; }}
}}
"""

MOXY = f"""
listen $host
port $port
hostname proxy.test
{"runas nobody" if IS_ROOT else ""}
dbtype file
dbname moxy.db
logtype filelog
logfile_name moxy.log
"""

NGINX_COMMAND = ("nginx", "-p", "./", "-c", "nginx.conf", "-e", "error.log")
MOXY_COMMAND = (sys.executable, "-P", "-m", "moxy", "-c")


def moxy(copies: int = 1) -> Proxy:
    """Moxy before so many destinations, each of which gets every message (mode `all`)."""
    hosts = ", ".join(f"$host:${name}" for name in sinks(copies))
    files = (("moxy.conf", MOXY), ("moxy.db", f"destination.test {hosts}\n"), ("moxy.log", ""))
    return Proxy((*MOXY_COMMAND, "moxy.conf"), files, copies=copies)


def sinks(copies: int) -> list[str]:
    """The names that the ports of so many sinks have in the files."""
    return ["sink", *(f"sink{number}" for number in range(2, copies + 1))]


PROXIES = {
    "direct": Proxy(),
    "haproxy": Proxy(("haproxy", "-db", "-f", "haproxy.cfg"), (("haproxy.cfg", HAPROXY),), "haproxy"),
    "nginx": Proxy(NGINX_COMMAND, (("nginx.conf", NGINX),), "nginx libnginx-mod-mail", NGINX_MAIL),
    "moxy": moxy(),
}


class MeasurementError(Exception):
    """A measurement that does not count, and why."""


class Program:
    """A running program. It leads a session of its own, by which its whole tree is known and ended."""

    def __init__(self, command: Sequence[str], directory: Path, output: str) -> None:
        self.output = directory / output
        self._group: Path | None = None
        with suppress(OSError):
            self._group = Path(tempfile.mkdtemp(prefix="moxy-bench-", dir=ACCOUNTING))
            command = ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self._group / "cgroup.procs"), *command]
        with self.output.open("wb") as file:
            self._process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )

    def wait_for_greeting(self, port: int) -> None:
        wait_until(lambda: greets(port) or self._process.poll() is not None)
        if not greets(port):
            raise MeasurementError(f"no greeting; {self.output.read_text(errors='replace')[-500:].strip()}")

    def cpu(self) -> float:
        """Seconds of CPU time so far."""
        if self._group:
            return int((self._group / "cpuacct.usage").read_text()) / 1e9
        ticks = (int(used) for _, stat in self._members() for used in stat[11:13])  # proc(5): utime and stime
        return sum(ticks) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """KiB of memory (PSS)."""
        rollups = [(process / "smaps_rollup").read_text() for process, _ in self._members()]
        return sum(int(size) for rollup in rollups for size in re.findall(r"^Pss: +(\d+)", rollup, re.MULTILINE))

    def _members(self) -> Iterator[tuple[Path, list[str]]]:
        """The processes of the session, each with its fields of /proc/PID/stat from the third on."""
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                stat = (process / "stat").read_text().rpartition(")")[2].split()
                if int(stat[3]) == self._process.pid:
                    yield process, stat

    def close(self) -> None:
        """Kill the whole tree: none of it has anything to lose, so nothing needs to be waited for."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if group := self._group:
            wait_until(lambda: not (group / "cgroup.procs").read_text())
            group.rmdir()


@dataclass(frozen=True)
class Setup:
    """Sinks, the proxy before them, and the port that clients connect to."""

    sinks: Sequence[Program]
    proxy: Program | None
    port: int
    options: tuple[str, ...] = ()

    def received(self) -> int:
        """How many messages the sinks have received. They print their counters endlessly; the last ones count."""
        return sum(map(_received, self.sinks))

    def cpu(self) -> float:
        return self.proxy.cpu() if self.proxy else 0.0


def _received(sink: Program) -> int:
    with sink.output.open("rb") as output:
        output.seek(max(0, output.seek(0, os.SEEK_END) - 200))
        counts = re.findall(rb"mesg=(\d+)\r", output.read())
    return int(counts[-1]) if counts else 0


@contextmanager
def running(proxy: Proxy) -> Iterator[Setup]:
    """The proxy and its sinks, started in a temporary directory; all are ended and the directory is removed."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moxy-bench-")))
        directory.chmod(0o755)
        names = sinks(proxy.copies)
        ports = dict(zip((*names, "port", "oracle"), filter(is_free, PORTS), strict=False))
        started = [start_sink(stack, directory, ports[name], f"{name}.output") for name in names]
        if not proxy.command:
            yield Setup(started, None, ports["sink"])
            return
        for name, text in proxy.files:
            file = directory / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(Template(text).substitute(ports, host=LOOPBACK))
            if IS_ROOT:
                shutil.chown(file, "nobody")
        program = stack.enter_context(closing(Program(proxy.command, directory, "output")))
        program.wait_for_greeting(ports["port"])
        yield Setup(started, program, ports["port"], proxy.options)


def start_sink(stack: ExitStack, directory: Path, port: int, output: str) -> Program:
    user = ("-u", "nobody") if IS_ROOT else ()
    command = ("smtp-sink", "-4", "-c", *user, "-m", "4000", f"{LOOPBACK}:{port}", "4000")
    sink = stack.enter_context(closing(Program(command, directory, output)))
    sink.wait_for_greeting(port)
    return sink


def greets(port: int) -> bool:
    with suppress(OSError), socket.create_connection((LOOPBACK, port), PATIENCE) as connection:
        return connection.recv(512).startswith(b"220")
    return False


def is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server((LOOPBACK, port)):
        return True
    return False


def wait_until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; or does not after all, for whoever asks must look again anyway."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)

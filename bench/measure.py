"""Measure Moxy beside HAProxy, nginx and no proxy at all, on loopback, in the same run: `./run bench`.

Figures of different days or machines cannot be compared; ratios of one run can. So every round measures all proxies,
each round begins with another one, and every measurement starts a proxy and a sink of its own.

Postfix's smtp-source sends, its smtp-sink receives and counts: a sample counts only if exactly the messages that were
sent have arrived.

Bugs: load generator and sink share the processors with the proxy, so messages/s is a lower bound; compare CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from proxies import LOOPBACK, PATIENCE, PROXIES, MeasurementError, Setup, running, wait_until

SETTLE = 0.3  # seconds in which a proxy ends what the last message or connection left it to do
IDLE_CONNECTIONS = 1000
IDLE = "(d) KiB for each idle connection"


@dataclass(frozen=True)
class Load:
    """Messages of `size` octets from so many `clients`. CPU time is given for `per` messages, which are a `unit`."""

    name: str
    clients: int
    size: int
    warm_up: int
    per: int
    unit: str
    options: tuple[str, ...] = ()

    @property
    def rate(self) -> str:
        return f"{self.name}: messages/s"

    @property
    def cpu(self) -> str:
        return f"{self.name}: CPU s per {self.unit}"


LOADS = (
    Load("(a) 1 KB, a connection each", 20, 1 << 10, 500, 1000, "1,000"),
    Load("(b) 1 KB, connections reused", 20, 1 << 10, 500, 1000, "1,000", ("-d",)),
    Load("(c) 1 MB", 10, 1 << 20, 20, 1024, "GiB"),
)
FIGURES = (*(figure for load in LOADS for figure in (load.rate, load.cpu)), IDLE)


def measure_load(load: Load, seconds: float, setup: Setup) -> dict[str, float]:
    """Warm up, and see from that how many messages make about so many seconds."""
    warm_up, _ = send(load, setup, load.warm_up)
    messages = max(load.warm_up, round(load.warm_up / warm_up * seconds))
    elapsed, cpu = send(load, setup, messages)
    return {load.rate: messages / elapsed} | ({load.cpu: cpu / messages * load.per} if setup.proxy else {})


def send(load: Load, setup: Setup, messages: int) -> tuple[float, float]:
    """The seconds until the sink has all these messages, and the seconds of CPU time that the proxy took for them."""
    command = ["smtp-source", "-4", *load.options, "-s", str(load.clients), "-l", str(load.size), "-m", str(messages)]
    command += ["-M", "client.test", "-f", "a@client.test", "-t", "b@destination.test", f"{LOOPBACK}:{setup.port}"]
    expected = setup.received() + messages
    cpu, start = setup.cpu(), time.perf_counter()
    try:
        subprocess.check_output(command, stderr=subprocess.STDOUT, timeout=PATIENCE)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise MeasurementError(f"{error} {error.output!r}") from error
    wait_until(lambda: setup.received() >= expected)
    elapsed = time.perf_counter() - start
    time.sleep(SETTLE)
    if setup.received() != expected:
        raise MeasurementError(f"of {messages} messages {expected - setup.received()} are missing at the sink")
    return elapsed, setup.cpu() - cpu


def measure_idle(setup: Setup) -> dict[str, float]:
    """What the proxy's memory grows by while clients are connected that have said EHLO and nothing more."""
    if not setup.proxy:
        return {}
    before = setup.proxy.memory()
    with ExitStack() as stack:
        for _ in range(IDLE_CONNECTIONS):
            connection = stack.enter_context(socket.create_connection((LOOPBACK, setup.port), PATIENCE))
            greet(connection)
        time.sleep(SETTLE)
        return {IDLE: (setup.proxy.memory() - before) / IDLE_CONNECTIONS}


def greet(connection: socket.socket) -> None:
    """Go as far as a client can without a transaction."""
    lines = connection.makefile("rb")
    lines.readline()
    connection.sendall(b"EHLO client.test\r\n")
    if not any(line.startswith(b"250 ") for line in lines):
        raise MeasurementError("a connection was not greeted")


Results = dict[str, dict[str, list[float | None]]]
"""For each figure and proxy what each round gave; None for what does not count."""


def measure(names: Sequence[str], rounds: int, seconds: float) -> Results:
    results: Results = {figure: {name: [None] * rounds for name in names} for figure in FIGURES}
    measurements: list[Callable[[Setup], dict[str, float]]] = [partial(measure_load, load, seconds) for load in LOADS]
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            for measurement in (*measurements, measure_idle):
                try:
                    with running(PROXIES[name]) as setup:
                        for figure, value in measurement(setup).items():
                            results[figure][name][number] = value
                except MeasurementError as failure:
                    print(f"does not count: {failure}", file=sys.stderr)
    return results


def table(results: Results, names: Sequence[str]) -> str:
    """The medians in Markdown, each with the least and the greatest; ratios are taken within a round."""
    peers = [name for name in ("haproxy", "nginx") if name in names and "moxy" in names]
    lines = [
        ["median (least/greatest)", *names, *(f"moxy to {peer}" for peer in peers)],
        ["---"] * (1 + len(names) + len(peers)),
    ]
    for figure, row in results.items():
        ratios = [
            [ours / theirs for ours, theirs in zip(row["moxy"], row[peer], strict=True) if ours and theirs]
            for peer in peers
        ]
        lines.append([figure, *(summary(row[name]) for name in names), *map(summary, ratios)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary(values: Sequence[float | None]) -> str:
    counted = [value for value in values if value is not None]
    if not counted:
        return "–"
    median, least, greatest = (
        f"{value:,.0f}" if value >= 99.5 else f"{value:#.3g}"
        for value in (statistics.median(counted), min(counted), max(counted))
    )
    return f"{median} ({least}/{greatest})"


def installed(wanted: Sequence[str]) -> list[str]:
    """Those of the proxies that can be measured here; says what the others need."""
    has_load = shutil.which("smtp-source") is not None
    names = [name for name in PROXIES if name in wanted and has_load and PROXIES[name].is_installed()]
    if missing := [name for name in PROXIES if name in wanted and name not in names]:
        packages = ["" if has_load else "postfix", *(PROXIES[name].packages for name in missing)]
        install = " ".join(("apt-get install --no-install-recommends", *filter(None, packages)))
        print(f"left out: {', '.join(missing)}; as root: {install}", file=sys.stderr)
    return names


def leave(number: int, _: object) -> NoReturn:
    """End by way of all `with` blocks, which a second signal must not cut short."""
    for either in (signal.SIGINT, signal.SIGTERM):
        signal.signal(either, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run bench", description="Measure Moxy beside its peers, on loopback.")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (default: 3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long each load lasts (default: 2)")
    parser.add_argument("--only", nargs="+", choices=PROXIES, default=list(PROXIES), help="measure only these")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin"

    names = installed(options.only)
    if not names:
        return 1
    results = measure(names, options.rounds, options.seconds)
    print(table(results, names))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

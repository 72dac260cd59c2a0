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
import random
import resource
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from generator import connect
from loads import Load
from proxies import MOXY_COMMAND, PATIENCE, MeasurementError, Proxy, Setup, running, wait_until
from suites import IDLE, SUITES, Suite

SETTLE = 0.3  # seconds in which a proxy ends what the last message or connection left it to do
IDLE_CONNECTIONS = 1000
BEFORE = " before"


def measure_load(load: Load, seconds: float, setup: Setup) -> dict[str, float]:
    """Warm up, and see from that how many messages make about so many seconds."""
    warm_up, _ = send(load, setup, load.warm_up)
    messages = max(load.warm_up, round(load.warm_up / warm_up * seconds))
    elapsed, cpu = send(load, setup, messages)
    return {load.rate: messages / elapsed} | ({load.cpu: cpu / messages * load.per} if setup.proxy else {})


def send(load: Load, setup: Setup, messages: int) -> tuple[float, float]:
    """The seconds until each sink has all these messages, and the seconds of CPU time that the proxy took for them."""
    command = [*load.command(setup.port, messages), *setup.options]
    expected = setup.received() + messages * len(setup.sinks)
    cpu, start = setup.cpu(), time.perf_counter()
    try:
        output = subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE).stdout
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise MeasurementError(f"{error} {(error.stderr or b'')[-500:].decode()}") from error
    load.check(output)
    wait_until(lambda: setup.received() >= expected)
    elapsed = time.perf_counter() - start
    time.sleep(SETTLE)
    if setup.received() != expected:
        raise MeasurementError(f"of {messages} messages {expected - setup.received()} are missing")
    return elapsed, setup.cpu() - cpu


def measure_idle(context: ssl.SSLContext | None, setup: Setup) -> dict[str, float]:
    """What the proxy's memory grows by while clients are connected that have said EHLO and nothing more."""
    if not setup.proxy:
        return {}
    before = setup.proxy.memory()
    with ExitStack() as stack:
        for _ in range(IDLE_CONNECTIONS):
            stack.enter_context(connect(setup.port, context))
        time.sleep(SETTLE)
        return {IDLE: (setup.proxy.memory() - before) / IDLE_CONNECTIONS}


Results = dict[str, dict[str, list[float | None]]]
"""For each figure and proxy what each round gave; None for what does not count."""


def measure(suite: Suite, proxies: Mapping[str, Proxy], rounds: int, seconds: float) -> Results:
    names = tuple(proxies)
    results: Results = {figure: {name: [None] * rounds for name in names} for figure in suite.figures}
    measurements: list[Callable[[Setup], dict[str, float]]] = [
        partial(measure_load, load, seconds) for load in suite.loads
    ]
    if suite.idle:
        measurements.append(partial(measure_idle, suite.idle()))
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            for measurement in measurements:
                try:
                    with running(proxies[name]) as setup:
                        for figure, value in measurement(setup).items():
                            results[figure][name][number] = value
                except MeasurementError as failure:
                    print(f"does not count: {failure}", file=sys.stderr)
    return results


def measure_bursts(suite: Suite, proxies: Mapping[str, Proxy], bursts: int) -> Results:
    """Short loads in turns, while all proxies run side by side: what else the machine does, it does to all of them."""
    results: Results = {load.cpu: {name: [None] * bursts for name in proxies} for load in suite.loads}
    for load in suite.loads:
        print(load.name, file=sys.stderr)
        with ExitStack() as stack:
            setups = {name: stack.enter_context(running(proxy)) for name, proxy in proxies.items()}
            turns = list(setups)
            for number in range(-1, bursts):  # the first one warms up
                random.shuffle(turns)
                for name in turns:
                    try:
                        _, cpu = send(load, setups[name], load.warm_up)
                    except MeasurementError as failure:
                        print(f"does not count: {failure}", file=sys.stderr)
                        continue
                    if number >= 0 and setups[name].proxy:
                        results[load.cpu][name][number] = cpu / load.warm_up * load.per
    return results


def table(results: Results, names: Sequence[str], ratios: Sequence[tuple[str, str]]) -> str:
    """The medians in Markdown, each with the least and the greatest; ratios are taken within a round."""
    pairs = [(ours, theirs) for ours, theirs in ratios if ours in names and theirs in names]
    lines = [
        ["median (least/greatest)", *names, *(f"{ours} to {theirs}" for ours, theirs in pairs)],
        ["---"] * (1 + len(names) + len(pairs)),
    ]
    for figure, row in results.items():
        quotients = [
            [over / under for over, under in zip(row[ours], row[theirs], strict=True) if over and under]
            for ours, theirs in pairs
        ]
        lines.append([figure, *(summary(row[name]) for name in names), *map(summary, quotients)])
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


def earlier(proxies: Mapping[str, Proxy], checkout: Path) -> dict[str, Proxy]:
    """Those of the proxies that are Moxy, with the code of another checkout and the packages of this one."""
    if not (checkout / "src/moxy").is_dir():
        raise SystemExit(f"{checkout}: no checkout of Moxy: there is no src/moxy")
    command = ("env", f"PYTHONPATH={(checkout / 'src').resolve()}")
    return {
        f"{name}{BEFORE}": replace(proxy, command=(*command, *proxy.command))
        for name, proxy in proxies.items()
        if proxy.command[: len(MOXY_COMMAND)] == MOXY_COMMAND
    }


def installed(proxies: Mapping[str, Proxy]) -> dict[str, Proxy]:
    """Those of the proxies that can be measured here; says what the others need."""
    has_load = shutil.which("smtp-source") is not None
    able = {name: proxy for name, proxy in proxies.items() if has_load and proxy.is_installed()}
    if missing := [name for name in proxies if name not in able]:
        packages = ["" if has_load else "postfix", *(proxies[name].packages for name in missing)]
        install = " ".join(("apt-get install --no-install-recommends", *filter(None, packages)))
        print(f"left out: {', '.join(missing)}; as root: {install}", file=sys.stderr)
    return able


def leave(number: int, _: object) -> NoReturn:
    """End by way of all `with` blocks, which a second signal must not cut short."""
    for either in (signal.SIGINT, signal.SIGTERM):
        signal.signal(either, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run bench", description="Measure Moxy beside its peers, on loopback.")
    parser.add_argument("suite", nargs="?", choices=SUITES, default="plain", help="what to measure (default: plain)")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (default: 3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long each load lasts (default: 2)")
    parser.add_argument("--only", nargs="+", metavar="COLUMN", help="measure only these of the table's columns")
    parser.add_argument("--bursts", type=int, metavar="N", help="measure N short loads in turns instead: only CPU time")
    parser.add_argument("--against", type=Path, metavar="DIR", help="measure Moxy as it is in another checkout, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin"

    suite = SUITES[options.suite]
    proxies, ratios = suite.proxies(), list(suite.ratios)
    if options.against:
        before = earlier(proxies, options.against)
        proxies |= before
        ratios += [(name.removesuffix(BEFORE), name) for name in before]
    if unknown := set(options.only or ()) - set(proxies):
        parser.error(f"no such column: {', '.join(unknown)}; there are {', '.join(proxies)}")
    proxies = installed({name: proxy for name, proxy in proxies.items() if name in (options.only or proxies)})
    if not proxies:
        return 1
    if options.bursts:
        results = measure_bursts(suite, proxies, options.bursts)
    else:
        results = measure(suite, proxies, options.rounds, options.seconds)
    print(table(results, tuple(proxies), ratios))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What can be measured: `plain` is what Moxy is compared by, the others are for one question each."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import encrypted
import loads
from generator import client_context
from loads import Load
from proxies import PROXIES, Proxy, moxy

IDLE = "(d) KiB for each idle connection"


@dataclass(frozen=True)
class Suite:
    """What is measured in one run: columns, rows, and which column is divided by which."""

    proxies: Callable[[], dict[str, Proxy]]
    loads: Sequence[Load]
    ratios: Sequence[tuple[str, str]]
    idle: Callable[[], ssl.SSLContext | None] | None = None
    """What clients of (d) need for TLS; without it idle connections are not measured."""

    @property
    def figures(self) -> tuple[str, ...]:
        return (*(figure for load in self.loads for figure in (load.rate, load.cpu)), *([IDLE] if self.idle else ()))


SUITES = {
    "plain": Suite(lambda: PROXIES, loads.PLAIN, (("moxy", "haproxy"), ("moxy", "nginx")), lambda: None),
    "tls": Suite(
        partial(encrypted.proxies, "ec"),
        loads.TLS,
        (("moxy", "nginx"), ("moxy", "haraka")),
        partial(client_context, "1.3"),
    ),
    "tls-rsa": Suite(partial(encrypted.proxies, "rsa:2048"), loads.TLS_RSA, (("moxy", "nginx"), ("moxy", "haraka"))),
    "several": Suite(
        lambda: {"one": PROXIES["moxy"], "two": moxy(copies=2), "three": moxy(copies=3)},
        loads.SMALL,
        (("two", "one"), ("three", "one")),
    ),
    "content": Suite(
        lambda: {
            "data": PROXIES["moxy"],
            "bdat": replace(PROXIES["moxy"], options=("--bdat",)),
            "bdat-64k": replace(PROXIES["moxy"], options=("--bdat", "--chunk", "65536")),
        },
        loads.CONTENT,
        (("bdat", "data"), ("bdat-64k", "data")),
    ),
}

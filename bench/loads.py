"""What is sent through a proxy: so many messages of one size by so many clients, and the command that sends them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from proxies import LOOPBACK, MeasurementError

GENERATOR = Path(__file__).with_name("generator.py")
RESUMED_LEAST = 0.9  # of all connections; each client's first one has nothing to resume


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

    def command(self, port: int, messages: int) -> list[str]:
        """Postfix's load generator."""
        counts = ["-s", str(self.clients), "-l", str(self.size), "-m", str(messages)]
        envelope = ["-M", "client.test", "-f", "a@client.test", "-t", "b@destination.test"]
        return ["smtp-source", "-4", *self.options, *counts, *envelope, f"{LOOPBACK}:{port}"]

    def check(self, output: bytes) -> None:
        """Raises MeasurementError if this was not the load that was wanted. Postfix's exit code has told already."""


@dataclass(frozen=True)
class OwnLoad(Load):
    """Messages from our own generator, over connections that must have agreed on what is `agreed`."""

    agreed: str = "plain"

    def command(self, port: int, messages: int) -> list[str]:
        counts = ["--clients", str(self.clients), "--size", str(self.size), "--messages", str(messages)]
        return [sys.executable, str(GENERATOR), *self.options, *counts, str(port)]

    def check(self, output: bytes) -> None:
        agreements: dict[str, int] = json.loads(output)
        least = RESUMED_LEAST * sum(agreements.values())
        allowed = {self.agreed, self.agreed.removesuffix(" resumed")}
        if not allowed.issuperset(agreements) or agreements.get(self.agreed, 0) < least:
            raise MeasurementError(f"agreed were {agreements}, not {self.agreed}")


def encrypted(name: str, cipher: str, version: str, *, resumed: bool = False) -> OwnLoad:
    options = ("--tls", version, *(("--resume",) if resumed else ()))
    return OwnLoad(name, 20, 1 << 10, 500, 1000, "1,000", options, f"TLSv{version} {cipher}{' resumed' * resumed}")


AES_1_3 = "TLS_AES_256_GCM_SHA384"
ECDSA_1_2 = "ECDHE-ECDSA-AES256-GCM-SHA384"
RSA_1_2 = "ECDHE-RSA-AES256-GCM-SHA384"

SMALL = (
    Load("(a) 1 KB, a connection each", 20, 1 << 10, 500, 1000, "1,000"),
    Load("(b) 1 KB, connections reused", 20, 1 << 10, 500, 1000, "1,000", ("-d",)),
)
PLAIN = (*SMALL, Load("(c) 1 MB", 10, 1 << 20, 20, 1024, "GiB"))
TLS = (
    OwnLoad("(e) 1 KB, a connection each, no TLS", 20, 1 << 10, 500, 1000, "1,000"),
    encrypted("(f) the same with TLS 1.3", AES_1_3, "1.3"),
    encrypted("(g) TLS 1.3, resumed", AES_1_3, "1.3", resumed=True),
    encrypted("(h) TLS 1.2", ECDSA_1_2, "1.2"),
    encrypted("(i) TLS 1.2, resumed", ECDSA_1_2, "1.2", resumed=True),
)
TLS_RSA = (
    encrypted("(f) 1 KB, a connection each, TLS 1.3", AES_1_3, "1.3"),
    encrypted("(h) the same with TLS 1.2", RSA_1_2, "1.2"),
)
CONTENT = (
    OwnLoad("(k) 1 MB", 10, 1 << 20, 20, 1024, "GiB"),
    OwnLoad("(l) 50 MB", 2, 50 << 20, 2, 20.48, "GiB"),
)

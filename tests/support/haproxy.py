"""A private HAProxy before a server on loopback, with TLS towards clients if it has a certificate."""

from __future__ import annotations

import socket
from pathlib import Path

from support.ports import LOOPBACK, free_port
from support.processes import Running, require_program, run_to_end

CONFIGURATION = """\
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend clients
    bind {address}:{port}{tls}
    default_backend moxy
backend moxy
    server moxy {address}:{target} {option}
"""


class HaProxy(Running):
    """A HAProxy that passes connections on to `target` with this `option` (`send-proxy`, `send-proxy-v2-ssl`)."""

    def __init__(self, directory: Path, target: int, option: str, *, tls: bool = False) -> None:
        program = require_program("haproxy")
        self.port = free_port()
        home = directory / f"haproxy-{self.port}"
        home.mkdir()
        bind = f" ssl crt {certificate(home)}" if tls else ""
        configuration = home / "haproxy.cfg"
        configuration.write_text(
            CONFIGURATION.format(address=LOOPBACK, port=self.port, tls=bind, target=target, option=option)
        )
        super().__init__([program, "-db", "-f", str(configuration)], home / "haproxy.out")
        if tls:
            self.wait_until(lambda: _listens(self.port), "HAProxy to listen")
        else:
            self.wait_for_greeting(self.port)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def certificate(home: Path) -> Path:
    """A certificate of its own with its key, in one file."""
    key, chain, both = home / "key.pem", home / "chain.pem", home / "both.pem"
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=mx.moxy.test"]
    done = run_to_end([require_program("openssl"), "req", *options, "-keyout", str(key), "-out", str(chain)])
    assert done.returncode == 0, done.stdout
    both.write_text(chain.read_text() + key.read_text())
    return both

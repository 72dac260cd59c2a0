"""Free ports for the servers of the tests."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"

# Below the kernel's ephemeral ports (32768 and up on Linux): no outgoing connection of the same test can take one
# between the moment it is chosen and the moment the server binds it.
CANDIDATES = range(10_000, 30_000)

_given: set[int] = set()


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now, never the same twice in a run."""
    while True:
        port = random.choice(CANDIDATES)
        if port not in _given and _can_be_bound(port):
            _given.add(port)
            return port


def _can_be_bound(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True

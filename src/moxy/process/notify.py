"""Telling the service manager how we are: the datagrams of sd_notify(3), sent where NOTIFY_SOCKET says.

Rules: never raises; without a service manager, does nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time


def ready(status: str) -> None:
    """We serve; `status` is for people."""
    _send(f"READY=1\nSTATUS={status}")


def reloading() -> None:
    """The configuration is being read again; `ready` follows."""
    _send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """We are about to end."""
    _send("STOPPING=1")


def _send(text: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # a name in the abstract namespace, unix(7)
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)
        sender.sendto(text.encode(), address)

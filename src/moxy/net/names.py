"""Host names and addresses, as the system's resolver knows them."""

from __future__ import annotations

import asyncio
import ipaddress
import socket


async def addresses(name: str, port: int) -> list[str]:
    """A host's addresses, in the resolver's order, each once; a literal is its own. Raises OSError, UnicodeError."""
    try:
        return [str(ipaddress.ip_address(name))]
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

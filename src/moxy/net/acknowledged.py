"""Whether the peer has got what we sent: octets that its end has not acknowledged yet.

A further command shows that a client has read our reply, unless it was sent ahead; the kernel knows better. A peer that
resets a connection has nothing of it left to ask: that must be judged by who sees the reset.

Bugs: only Linux tells (SIOCOUTQ, of tcp(7) and unix(7)); elsewhere everything counts as acknowledged once written.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from array import array
from typing import Final

_TELLS: Final = sys.platform == "linux"
_COUNT: Final = array("i", [0])  # made once: it costs as much as the question


def unacknowledged(transport: asyncio.Transport) -> int:
    """Octets written to `transport` that its peer's system has not acknowledged, or that we still hold.

    1 where nobody can tell any more. (TIOCOUTQ is SIOCOUTQ by another name.)
    """
    held = transport.get_write_buffer_size()
    if held or not _TELLS:
        return held
    try:
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, _COUNT)
    except (OSError, ValueError):  # closed meanwhile: nobody can tell any more
        return 1
    return _COUNT[0]

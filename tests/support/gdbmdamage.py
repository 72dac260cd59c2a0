"""A program: damages a gdbm file in many ways, always the same, and uses each; ends if libgdbm lets it.

    python gdbmdamage.py FILE READ|WRITE TIMES

Prints how many of the files were called damaged, and how many could be used. Room and memory are limited, so that a
wild number in a file cannot take the machine's.
"""

from __future__ import annotations

import random
import resource
import struct
import sys
from pathlib import Path

from moxy.gdbm import Access, GdbmError, GdbmFile

NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31), 4096, 8192, 2**40)
"""What is likely to be wrong for a size, a count or a place."""


def damaged(octets: bytes, chance: random.Random) -> bytes:
    """The octets with some of them changed, cut off or added; the header and the first bucket are hit more often."""
    result = bytearray(octets)
    for _ in range(chance.choice((1, 1, 2, 5, 50))):
        limit = chance.choice((64, 4096, 12288, len(octets)))
        place = chance.randrange(limit)
        kind = chance.random()
        if kind < 0.3:
            result[place : place + 1] = bytes([chance.randrange(256)])
        elif kind < 0.9:
            size = chance.choice((4, 8))
            place -= place % size
            result[place : place + size] = struct.pack("<q", chance.choice(NUMBERS))[:size]
        elif kind < 0.95:
            del result[place:]
        else:
            result += bytes(place)
    return bytes(result)


def use(path: Path, access: Access) -> None:
    """Everything that can be done with a file."""
    with GdbmFile(path, access) as file:
        for number in range(0, 300, 7):
            key = b"d%d.example.org" % number
            file.fetch(key)
            if access is Access.WRITE:
                file.store(key, b"v" * number)
        dict(file.items())


def main() -> None:
    path, access, times = Path(sys.argv[1]), Access[sys.argv[2]], int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_FSIZE, (32 << 20, 32 << 20))
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    octets = path.read_bytes()
    found = 0
    for seed in range(times):
        path.write_bytes(damaged(octets, random.Random(seed)))
        try:
            use(path, access)
        except (GdbmError, OSError):
            found += 1
    print(found, times - found)


if __name__ == "__main__":
    main()

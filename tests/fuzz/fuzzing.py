"""What all fuzz targets share: run one case after another for some time, and say how to repeat the one that failed.

    python tests/fuzz/receiver.py --seconds 60
    python tests/fuzz/receiver.py --case 123456

A case is made of nothing but its number, so a number is all that a report needs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from random import Random

SPICE = [b"\r", b"\n", b"\r\n", b".", b"\r\n.\r\n", b"\n.\n", b"\0", b" ", b"<", b">", b"@", b":", b'"', b"\xff", b"-"]


def noise(random: Random, words: list[bytes], longest: int = 30) -> bytes:
    """Octets that look like the real thing for a while: words, what means something between them, and rubbish."""
    parts: list[bytes] = []
    for _ in range(random.randrange(longest)):
        chance = random.random()
        if chance < 0.7:
            parts.append(random.choice(words))
        elif chance < 0.95:
            parts.append(random.choice(SPICE))
        else:
            parts.append(random.randbytes(random.randrange(1, 200)) * random.choice([1, 1, 1, 40]))
    return b"".join(parts)


def pieces(random: Random, stream: bytes) -> list[bytes]:
    """The stream in pieces of random lengths."""
    longest = random.choice([1, 5, 50, 1000, 100_000])
    found: list[bytes] = []
    start = 0
    while start < len(stream):
        end = start + random.randint(1, longest)
        found.append(stream[start:end])
        start = end
    return found


def main(case: Callable[[Random], None]) -> None:
    """Run cases until the time is over. Ends with status 1, a traceback and the number of the case if one fails."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to go on (10)")
    parser.add_argument("--case", type=int, help="the one case to run")
    arguments = parser.parse_args()
    if arguments.case is not None:
        case(Random(arguments.case))
        return
    end = time.monotonic() + arguments.seconds
    first = count = time.time_ns()
    while time.monotonic() < end:
        try:
            case(Random(count))
        except BaseException:
            print(f"failed; to see it again: --case {count}", file=sys.stderr)
            raise
        count += 1
    print(f"{count - first} cases")

"""`./run conformance`: play every trap, and write docs/conformance.md anew. Fails where one does not hold."""

from __future__ import annotations

import sys

from conformance import plays, report
from conformance.trap import Trap


def holds(trap: Trap) -> bool:
    """Play it; what is wrong is told."""
    try:
        trap.hold()
    except (AssertionError, OSError, TimeoutError, ExceptionGroup) as error:
        print(f"T{trap.number} does not hold: {error!r}", flush=True)
        return False
    return True


def main() -> int:
    """The exit status."""
    results: dict[int, tuple[bool, bool]] = {}
    for number, trap in sorted(plays.all_traps().items()):
        results[number] = holds(trap), trap.find()
        print(f"T{number}: {trap.shows}", flush=True)
    report.PAGE.write_text(report.page(results))
    bad = [number for number, result in results.items() if not all(result)]
    print(f"{report.PAGE}: {len(results)} traps, {len(bad)} that do not hold or whose mistake is not found")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

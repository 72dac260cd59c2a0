"""`./run promise`: play every scenario, and write docs/promise.md anew. Fails where the promise is broken."""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor

from chaos.judge import Result
from chaos.mutations import MUTATIONS
from chaos.report import PAGE, page
from chaos.run import find, play_section
from chaos.sections import IN_TROUBLE, SECTIONS
from chaos.sender import ROUNDS
from support.scenario import scenario

ALL = (*SECTIONS, *IN_TROUBLE)


def play(number: int) -> Result:
    """One section, in a process of its own."""
    results: list[Result] = []

    @scenario
    async def played() -> None:
        results.append(await play_section(ALL[number]))

    played()
    return results[0]


def break_it(number: int) -> dict[str, int]:
    """One mutation: what was found of it."""
    return dict(find(MUTATIONS[number]).faults)


def main() -> int:
    """The exit status."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context) as pool:
        played = pool.map(play, range(len(ALL)))
        broken = pool.map(break_it, range(len(MUTATIONS)))
        results: dict[str, Result] = {}
        for section, result in zip(ALL, played, strict=True):
            results[section.title] = result
            print(f"{section.title}: {result.scenarios} scenarios, {result.faults.total()} faults", flush=True)
            if result.first:
                print(f"\n{result.first}\n", flush=True)
        found = {mutation.name: faults for mutation, faults in zip(MUTATIONS, broken, strict=True)}
    troubled = {section.title: results.pop(section.title) for section in IN_TROUBLE}
    PAGE.write_text(page(results, troubled, found, ROUNDS))
    faults = sum(result.faults.total() for result in (*results.values(), *troubled.values()))
    missed = [mutation.name for mutation in MUTATIONS if not mutation.found_as & set(found[mutation.name])]
    print(f"{PAGE}: {faults} faults, {len(missed)} mistakes not found")
    return 1 if faults or missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Play whole sections: many small stages side by side in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from random import Random
from unittest.mock import patch

import structlog.testing
import uvloop

from chaos.judge import Result
from chaos.ledgers import full_disk, patience
from chaos.mutations import Mutation
from chaos.scenario import NEVER, Cut, Length, Near, Scenario
from chaos.sections import Section, cuts
from chaos.stage import stage
from moxy.inbound import connection

LATE = 2.0
"""Seconds after which Moxy takes an acknowledgement for a receipt, though the sender did not close. Shorter than this a
machine under load may take to read what its kernel has acknowledged, and a sender that dies has not read it."""

STAGES = 16
"""Scenarios at work side by side."""


async def play_section(section: Section, most: int | None = None) -> Result:
    """Every scenario of a section; or so many of them, drawn from all, but the same each time."""
    scenarios = await scenarios_of(section)
    if most is not None and most < len(scenarios):
        scenarios = Random(section.title).sample(scenarios, most)  # a step would always meet the same ones
    with full_disk() if section.full_disk else nullcontext():
        return await play_all(scenarios, section.destinations, section.tolerates)


async def scenarios_of(section: Section) -> list[Scenario]:
    """All of them; where connections are to be cut at every octet, the octets are counted first."""
    if section.scenarios is not None:
        return list(section.scenarios())
    return [cut for base in section.cut for cut in cuts(base, await measure(base), section.kinds)]


async def expanded(scenarios: Iterable[Scenario | Near]) -> list[Scenario]:
    """All of them, where `Near` stands for several."""
    found: list[Scenario] = []
    for one in scenarios:
        found += one.scenarios(await measure(one.base)) if isinstance(one, Near) else [one]
    return found


async def measure(base: Scenario) -> Length:
    """How many octets go which way when nothing breaks."""
    async with stage(len(base.scripts)) as whole:
        await whole.play(replace(base, cut=Cut(None, NEVER)))
        return whole.passed


async def play_all(scenarios: Iterable[Scenario], destinations: int, tolerates: frozenset[str] = frozenset()) -> Result:
    """Play scenarios, several at a time, and add up what comes of them."""
    total = Result()
    todo = iter(list(scenarios))

    async def work() -> None:
        async with stage(destinations) as mine:
            for scenario in todo:
                try:
                    total.add(await mine.play(scenario), tolerates)
                except Exception as error:
                    error.add_note(f"in: {scenario}\n{mine.story()}")
                    raise

    with patch.object(connection, "FIRST_LOOK", LATE), patience(0.05 if tolerates else 20.0):
        async with asyncio.TaskGroup() as group:
            for _ in range(STAGES):
                group.create_task(work())
    return total


def find(mutation: Mutation) -> Result:
    """Play the scenarios that must find a mutation, with it. What it logs and leaves behind does not matter."""

    async def played() -> Result:
        scenarios = await expanded(mutation.scenarios)
        with mutation.applied():
            return await play_all(scenarios, max(len(one.scripts) for one in scenarios))

    with structlog.testing.capture_logs(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(played())

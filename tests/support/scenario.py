"""Run a test inside an event loop of its own, and see that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import structlog.testing
import uvloop

PATIENCE = 20.0
"""Seconds to wait for what should take milliseconds: long enough for a machine under load."""

GLANCE = 0.001
"""Seconds between two looks at a condition."""

OUR_OWN_MISTAKES = {"bug", "chore_failed"}
"""Events of the operator's log that no peer, whatever it does, may be able to cause."""


def scenario(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A coroutine as a test. It fails too where a task is left over, a callback raised, or Moxy logged its own bug."""
    return _run_on(uvloop.new_event_loop, test)


def scenario_on_asyncio(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """The same on the standard library's loop, which differs from uvloop in when it pauses, closes and reports ends."""
    return _run_on(asyncio.new_event_loop, test)


def _run_on(new_loop: Callable[[], asyncio.AbstractEventLoop], test: Callable[..., Awaitable[None]]) -> Any:
    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        raised: list[dict[str, Any]] = []
        with structlog.testing.capture_logs() as logged, asyncio.Runner(loop_factory=new_loop) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: raised.append(context))
            runner.run(_watched(test(*arguments, **named)))
        mistakes = [entry for entry in logged if entry["event"] in OUR_OWN_MISTAKES]
        assert not raised, f"raised in a callback: {raised}"
        assert not mistakes, f"logged as our own mistake: {mistakes}"

    return run


async def _watched(test: Awaitable[None]) -> None:
    await test
    left_over = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left_over, f"tasks left over: {left_over}"


async def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Let the loop turn until `condition` holds; AssertionError, saying `what` was waited for, if it never does."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(GLANCE)

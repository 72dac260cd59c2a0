"""Coroutines run at once and on from where they waited, on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
import uvloop

from moxy.net.steps import Answer, Steps, together


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    made = request.param()
    yield made
    made.close()


class Ending:
    """What became of a coroutine."""

    def __init__(self) -> None:
        self.results: list[object] = []
        self.errors: list[BaseException] = []

    def start(self, coroutine) -> None:
        Noted(coroutine, self)()


class Noted(Steps[object]):
    """Steps that note how they end."""

    def __init__(self, coroutine, ending: Ending) -> None:
        super().__init__(coroutine)
        self.ending = ending

    def done(self, result: object) -> None:
        self.ending.results.append(result)

    def failed(self, error: BaseException) -> None:
        self.ending.errors.append(error)


async def doubled(answer: Answer[int]) -> int:
    return 2 * await answer


def turn(loop: asyncio.AbstractEventLoop, times: int = 1) -> None:
    """Let the loop do all that is due."""
    for _ in range(times):
        loop.call_soon(loop.stop)
        loop.run_forever()


async def added(*futures: asyncio.Future[int]) -> int:
    total = 0
    for future in futures:
        total += await future
    return total


async def nested(future: asyncio.Future[int]) -> int:
    return 1 + await added(future)


def test_what_waits_for_nothing_is_done_before_start_returns(loop):
    ending = Ending()
    ending.start(added())
    assert ending.results == [0]


def test_a_future_that_is_done_is_not_waited_for(loop):
    ending = Ending()
    future = loop.create_future()
    future.set_result(2)
    ending.start(nested(future))
    assert ending.results == [3]


def test_what_waits_goes_on_when_the_future_is_done(loop):
    ending = Ending()
    first, second = loop.create_future(), loop.create_future()
    ending.start(added(first, second))
    assert not ending.results
    second.set_result(2)
    turn(loop)
    assert not ending.results
    first.set_result(1)
    turn(loop)
    assert ending.results == [3]
    assert not ending.errors


def test_several_wait_for_one_future(loop):
    ending = Ending()
    future = loop.create_future()
    for _ in range(3):
        ending.start(nested(future))
    future.set_result(1)
    turn(loop)
    assert ending.results == [2, 2, 2]


async def through_a_task(loop: asyncio.AbstractEventLoop) -> str:
    async def inner() -> str:
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        return "done"

    return await loop.create_task(inner())


def test_tasks_and_their_timeouts_can_be_awaited(loop):
    ending = Ending()

    async def main() -> None:
        ending.start(through_a_task(loop))

    loop.run_until_complete(main())
    turn(loop, 4)
    assert ending.results == ["done"]


def test_gathered_coroutines_can_be_awaited(loop):
    ending = Ending()

    async def several() -> list[int]:
        return await asyncio.gather(added(), added())

    async def main() -> None:
        ending.start(several())

    loop.run_until_complete(main())
    turn(loop, 4)
    assert ending.results == [[0, 0]]


def fails(future: asyncio.Future[int]) -> None:
    future.set_exception(ValueError("why"))


def is_cancelled(future: asyncio.Future[int]) -> None:
    future.cancel()


@pytest.mark.parametrize(("happens", "error"), [(fails, ValueError), (is_cancelled, asyncio.CancelledError)])
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_the_coroutine_raises_is_told(
    loop, happens: Callable[[asyncio.Future[int]], None], error: type[BaseException], when: str
):
    ending = Ending()
    future = loop.create_future()
    if when == "before":
        happens(future)
    ending.start(nested(future))
    if when == "after":
        assert not ending.errors
        happens(future)
        turn(loop)
    assert [type(raised) for raised in ending.errors] == [error]
    assert not ending.results


def test_an_error_of_a_future_can_be_handled_in_the_coroutine(loop):
    async def careful(future: asyncio.Future[int]) -> str:
        try:
            await future
        except ValueError as error:
            return str(error)
        return "no error"

    ending = Ending()
    future = loop.create_future()
    ending.start(careful(future))
    fails(future)
    turn(loop)
    assert ending.results == ["why"]


def test_an_answer_resumes_who_awaits_it_inside_set(loop):
    ending = Ending()
    answer: Answer[int] = Answer(loop)
    ending.start(doubled(answer))
    assert not ending.results
    answer.set(21)
    assert ending.results == [42]


def test_an_answer_that_is_there_is_not_waited_for(loop):
    ending = Ending()
    answer: Answer[int] = Answer(loop)
    answer.set(21)
    ending.start(doubled(answer))
    assert ending.results == [42]


def test_a_task_may_await_an_answer_and_goes_on_in_its_own_turn(loop):
    answer: Answer[int] = Answer(loop)
    task = loop.create_task(doubled(answer))
    turn(loop)
    answer.set(21)
    assert not task.done()
    assert loop.run_until_complete(task) == 42


def test_an_answer_cannot_be_cancelled(loop):
    answer: Answer[int] = Answer(loop)
    task = loop.create_task(doubled(answer))
    turn(loop)
    task.cancel()
    turn(loop, 2)
    assert not task.done()
    answer.set(21)
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


async def answer_of(answer: Answer[str]) -> str:
    return await answer


def test_several_run_together_and_their_results_keep_their_order(loop: asyncio.AbstractEventLoop) -> None:
    first, second = Answer[str](loop), Answer[str](loop)

    async def run() -> list[str]:
        loop.call_soon(second.set, "second")
        loop.call_soon(first.set, "first")
        return await together([answer_of(first), answer_of(second)])

    assert loop.run_until_complete(run()) == ["first", "second"]


def test_what_one_of_several_raises_is_raised_at_once(loop: asyncio.AbstractEventLoop) -> None:
    silent, heard = Answer[str](loop), Answer[str](loop)

    async def break_down(answer: Answer[str]) -> str:
        raise ValueError(await answer)

    async def run() -> list[str]:
        loop.call_soon(heard.set, "heard")
        return await together([answer_of(silent), break_down(heard), break_down(silent)])

    with pytest.raises(ValueError, match="heard"):
        loop.run_until_complete(run())
    silent.set("too late for both")


def test_none_together_are_done_at_once(loop: asyncio.AbstractEventLoop) -> None:
    assert loop.run_until_complete(together([])) == []

"""The traps of the contract, each played against a real Moxy over real sockets, and against a Moxy that falls into it.

A play is a coroutine that fails where Moxy does not do what docs/contract.md says; its docstring tells what it shows.
A mistake is a mutation of the running code that makes Moxy fall into the trap: with it, the play must fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from support.mutation import Wrong, broken
from support.scenario import scenario

Play = Callable[[], Coroutine[Any, Any, None]]

SOON: Final = 2.0
"""Seconds after which the play of a broken Moxy counts as failed: it waits for what does not come."""


@dataclass(frozen=True)
class Mistake:
    """What is wrong, in words, and how it is made: one thing, or several that only together let the trap in.

    See `support.mutation`.
    """

    name: str
    made: Sequence[tuple[str, Wrong]]

    @contextmanager
    def made_now(self) -> Iterator[None]:
        """Moxy is so, as long as this is open."""
        with ExitStack() as stack:
            for seam, wrong in self.made:
                stack.enter_context(broken(seam, wrong))
            yield


@dataclass(frozen=True)
class Trap:
    """One trap. `against` says with what peers it is played."""

    number: int
    play: Play
    against: str
    mistake: Mistake

    @property
    def shows(self) -> str:
        """What the play shows, in one paragraph."""
        return " ".join((self.play.__doc__ or "").split())

    def hold(self) -> None:
        """Play it. Raises AssertionError where Moxy falls into the trap."""
        scenario(self.play)()

    def find(self) -> bool:
        """Play it with the mistake made: is that found?"""
        with self.mistake.made_now():
            try:
                scenario(self._hurried)()
            except (AssertionError, TimeoutError, ExceptionGroup):
                return True
        return False

    async def _hurried(self) -> None:
        async with asyncio.timeout(SOON):
            await self.play()


TRAPS: Final[dict[int, Trap]] = {}
"""All of them, by number."""


def trap(
    number: int, against: str, mistake: str, seam: str, wrong: Wrong, *more: tuple[str, Wrong]
) -> Callable[[Play], Play]:
    """The decorator of a play. `more` are further seams of the same mistake."""

    def enter(play: Play) -> Play:
        if number in TRAPS:
            raise ValueError(f"two plays for T{number}")
        TRAPS[number] = Trap(number, play, against, Mistake(mistake, [(seam, wrong), *more]))
        return play

    return enter

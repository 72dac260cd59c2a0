"""Host names and addresses, as the system's resolver knows them."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final

REMEMBERED: Final = 4096
"""Names whose last addresses are kept for when the resolver is silent."""


class Names:
    """Looks up names, with one question at a time for each name.

    A name server that does not answer keeps a question waiting for long. So whoever asks for the same name joins the
    question under way, and gets the last known addresses when patience ends: not knowing now is not "no".
    """

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Task[list[str]]] = {}
        self._known: dict[str, list[str]] = {}

    async def addresses(self, name: str, patience: float) -> list[str]:
        """A host's addresses, in the resolver's order, each once; a literal is its own. Needs a task to run in.

        Raises OSError or UnicodeError if it has none, TimeoutError if that is not known after `patience` seconds.
        """
        try:
            return [str(ipaddress.ip_address(name))]
        except ValueError:
            pass
        question = self._asked.get(name)
        if question is None:
            question = asyncio.get_running_loop().create_task(_look_up(name))
            question.add_done_callback(lambda done: self._learn(name, done))
            self._asked[name] = question
        await asyncio.wait([question], timeout=patience)
        known = self._known.get(name)
        if not question.done():
            if known is None:
                raise TimeoutError(f"no answer for {name}")
            return known
        error = question.exception()
        if isinstance(error, socket.gaierror) and error.errno in _UNSURE and known is not None:
            return known
        return question.result()

    def _learn(self, name: str, question: asyncio.Task[list[str]]) -> None:
        del self._asked[name]
        if question.cancelled() or question.exception() is not None:
            return
        self._known.pop(name, None)
        self._known[name] = question.result()
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]


_UNSURE: Final = frozenset({socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM})
"""The resolver's ways to say that it could not find out."""


async def _look_up(name: str) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))

"""A verb that has to wait: its reply, or its bug, reaches the connection with the command."""

from __future__ import annotations

from typing import Any

from moxy.inbound.answering import Answering
from moxy.net.steps import Answer
from moxy.smtp import replies
from moxy.smtp.command import Noop
from support.scenario import scenario


class Connection:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def answered(self, *what: Any) -> None:
        self.told += what

    failed = answered


@scenario
async def test_the_reply_comes_with_the_command_when_it_is_there() -> None:
    import asyncio

    connection, command = Connection(), Noop()
    reply: Answer[Any] = Answer(asyncio.get_running_loop())

    async def verb() -> Any:
        return await reply

    Answering(connection, command, verb())()  # type: ignore[arg-type]
    assert connection.told == []
    reply.set(replies.OK)
    assert connection.told == [command, replies.OK]


def test_a_bug_comes_with_the_command() -> None:
    connection, command, bug = Connection(), Noop(), ValueError("x")

    async def verb() -> Any:
        raise bug

    Answering(connection, command, verb())()  # type: ignore[arg-type]
    assert connection.told == [command, bug]

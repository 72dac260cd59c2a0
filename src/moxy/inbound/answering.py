"""Answering: a verb that may have to wait, on its way to its reply."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from moxy.net.steps import Steps
from moxy.smtp.command import Command
from moxy.smtp.reply import Replies, Reply

if TYPE_CHECKING:
    from moxy.inbound.connection import ClientConnection


class Answering(Steps[Reply | Replies]):
    """One command whose answer the connection is to hear of."""

    __slots__ = ("_command", "_connection")

    def __init__(
        self, connection: ClientConnection, command: Command, verb: Coroutine[Any, Any, Reply | Replies]
    ) -> None:
        self._coroutine = verb  # as the base class does; one call less, three times a message
        self._connection = connection
        self._command = command

    def done(self, result: Reply | Replies) -> None:
        """The reply is there."""
        self._connection.answered(self._command, result)

    def failed(self, error: BaseException) -> None:
        """There is a bug instead."""
        self._connection.failed(self._command, error)

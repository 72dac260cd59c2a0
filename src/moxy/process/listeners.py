"""The listening sockets of a configuration, kept from one configuration to the next."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from moxy.config.schema import Config
from moxy.config.values import Endpoint
from moxy.net import listening


class Listeners:
    """The sockets for all endpoints of the configuration's listeners. Raises MoxyError if one cannot be bound."""

    def __init__(self, config: Config) -> None:
        self._bound = _bind(_endpoints(config))
        self._leaving: dict[Endpoint, list[socket.socket]] = {}

    @property
    def sockets(self) -> list[socket.socket]:
        """All of them; `*` makes two."""
        return [listener for listeners in self._bound.values() for listener in listeners]

    @contextlib.contextmanager
    def changed(self, config: Config) -> Iterator[None]:
        """Listen as `config` says: meanwhile, and for good if the block succeeds; else as before.

        What both have stays open. Raises MoxyError if a new one cannot be bound.
        """
        wanted = _endpoints(config)
        before = self._bound
        new = _bind([endpoint for endpoint in wanted if endpoint not in before])
        self._bound = {endpoint: new.get(endpoint) or before[endpoint] for endpoint in wanted}
        self._leaving = {endpoint: bound for endpoint, bound in before.items() if endpoint not in wanted}
        try:
            yield
        except BaseException:
            self._bound, self._leaving = before, {}
            _close(new)
            raise
        self.close_leaving()

    def close_leaving(self) -> None:
        """Close what the new configuration has no more; in its workers too, or clients could still reach them there."""
        _close(self._leaving)
        self._leaving = {}

    def close(self) -> None:
        """Close all of them in this process."""
        _close(self._bound)
        self._bound = {}


def _endpoints(config: Config) -> list[Endpoint]:
    return [endpoint for section in config.listener.values() for endpoint in section.listen]


def _bind(endpoints: list[Endpoint]) -> dict[Endpoint, list[socket.socket]]:
    bound: dict[Endpoint, list[socket.socket]] = {}
    try:
        for endpoint in endpoints:
            bound.setdefault(endpoint, []).extend(listening.bind([(endpoint.host, endpoint.port)]))  # port 0 may repeat
    except BaseException:
        _close(bound)
        raise
    return bound


def _close(bound: dict[Endpoint, list[socket.socket]]) -> None:
    for listeners in bound.values():
        for listener in listeners:
            listener.close()

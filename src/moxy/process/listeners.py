"""The listening sockets of a configuration, kept from one configuration to the next.

Rules: who has made the file of a Unix socket removes it, in the end or when a new configuration has it no more. A
worker only closes what it has inherited.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moxy.config.listeners import Listener as Section
from moxy.config.schema import Config
from moxy.config.values import Endpoint
from moxy.errors import MoxyError
from moxy.net import listening
from moxy.net.listening import Listener, SocketFile
from moxy.process.certificates import listeners_tls, load_libraries
from moxy.process.daemon import make_directory
from moxy.process.privileges import Identity

if TYPE_CHECKING:
    from moxy.net.tlsserver import ServerTls

Place = tuple[Endpoint, str]
"""What a configuration and the next may have in common: an endpoint, and where that is a new port each time (0) the
listener's name.
"""


@dataclass(frozen=True, slots=True)
class _Bound:
    """What listens at one place: `*` makes two sockets, a Unix socket has a file."""

    sockets: list[socket.socket]
    file: SocketFile | None = None

    def close(self) -> None:
        for listener in self.sockets:
            listener.close()

    def remove(self) -> None:
        self.close()
        if self.file is not None:
            self.file.remove()


class Listeners:
    """The sockets for all endpoints of the configuration's listeners. Raises MoxyError if one cannot be bound.

    `user` is to own the files of Unix sockets; None: who makes them.
    """

    def __init__(self, config: Config, user: Identity | None = None) -> None:
        load_libraries(config)
        self._user = user
        self._sections = _sections(config)
        self._leaving: dict[Place, _Bound] = {}
        self._tls: dict[Place, ServerTls] = {}
        self._bound = self._bind(self._sections)

    def read_certificates(self, config: Config) -> None:
        """Have TLS ready, as the user that we serve as. Raises MoxyError."""
        self._tls = _tls(config)

    @property
    def all(self) -> list[Listener]:
        """Every socket, with what the configuration says of it."""
        return [
            _listener(listener, self._sections[place], self._tls.get(place))
            for place, bound in self._bound.items()
            for listener in bound.sockets
        ]

    @contextlib.contextmanager
    def changed(self, config: Config) -> Iterator[None]:
        """Listen as `config` says: meanwhile, and for good if the block succeeds; else as before.

        What both have stays open. Raises MoxyError if a new one cannot be bound, or a certificate not be used.
        """
        self._user = None  # nobody who serves already is root, to give files away
        before, sections_before, tls_before = self._bound, self._sections, self._tls
        sections, tls = _sections(config), _tls(config)
        new = self._bind({place: section for place, section in sections.items() if place not in before})
        self._sections, self._tls = sections, tls
        self._bound = {place: new.get(place) or before[place] for place in sections}
        self._leaving = {place: bound for place, bound in before.items() if place not in sections}
        try:
            yield
        except BaseException:
            self._bound, self._sections, self._tls, self._leaving = before, sections_before, tls_before, {}
            _remove(new)
            raise
        _remove(self._leaving)
        self._leaving = {}
        self._set_modes()

    def close_leaving(self) -> None:
        """In a worker of the new configuration: close what that has no more, or clients could still reach it there."""
        for bound in self._leaving.values():
            bound.close()
        self._leaving = {}

    def close(self) -> None:
        """Close all of them, and remove the files of Unix sockets: in the process that has made them."""
        _remove(self._bound)
        self._bound = {}

    def _bind(self, sections: dict[Place, Section]) -> dict[Place, _Bound]:
        bound: dict[Place, _Bound] = {}
        try:
            for place, section in sections.items():
                bound[place] = self._listen(place[0], section)
        except BaseException:
            _remove(bound)
            raise
        return bound

    def _listen(self, endpoint: Endpoint, section: Section) -> _Bound:
        if not endpoint.local:
            return _Bound(listening.bind([(endpoint.host, endpoint.port)]))
        user = self._user
        try:
            make_directory(Path(endpoint.host).parent, user)
        except OSError as error:
            raise MoxyError(f"cannot listen on {endpoint}: its directory cannot be made: {error.strerror}") from error
        owner = (user.uid, user.gid) if user is not None else None
        listener, file = listening.bind_unix(endpoint.host, section.socket_mode, owner)
        return _Bound([listener], file)

    def _set_modes(self) -> None:
        """Files that stay may have got another mode."""
        for (endpoint, _), section in self._sections.items():
            if endpoint.local:
                with contextlib.suppress(OSError):  # somebody has removed it
                    Path(endpoint.host).chmod(section.socket_mode)


def _listener(bound: socket.socket, section: Section, tls: ServerTls | None) -> Listener:
    return Listener(bound, section.protocol == "lmtp", section.proxy_from, section.xclient_from, tls)


def _place(endpoint: Endpoint, name: str) -> Place:
    return endpoint, "" if endpoint.port or endpoint.local else name


def _sections(config: Config) -> dict[Place, Section]:
    """The configuration's listeners by all of their places."""
    return {_place(endpoint, name): section for name, section in config.listener.items() for endpoint in section.listen}


def _tls(config: Config) -> dict[Place, ServerTls]:
    """What TLS there is, by place. None on Unix sockets: who could listen in there could also read our memory."""
    return {
        _place(endpoint, name): tls
        for name, tls in listeners_tls(config).items()
        for endpoint in config.listener[name].listen
        if not endpoint.local
    }


def _remove(bound: dict[Place, _Bound]) -> None:
    for one in bound.values():
        one.remove()

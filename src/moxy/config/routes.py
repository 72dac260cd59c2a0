"""The sections `[routes.NAME]` and `[relay]` of the schema: where mail goes. The text under a key documents it."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, WrapValidator, model_validator

from moxy.config.kinds import foreign_passes
from moxy.config.types import (
    Clients,
    File,
    HostMode,
    HostsOrDestination,
    HostsOrNone,
    Section,
    check_weights,
    contradiction,
)
from moxy.mail import Host, Mode, Route


class FileRoutes(Section):
    """A table of domains and addresses in a text file, read again whenever it changes."""

    kind: Literal["file"]
    """A text file."""

    path: File = Field(examples=["moxy.db"])
    """The file, with lines of `domain host:port[,host:port...]`. A relative path starts where this file is."""

    mode: HostMode = Mode.ALL
    """How the hosts of one line share its mail; `all`, as in the original, gives every host every message."""


class DbmRoutes(Section):
    """The same table in a GNU dbm file: stays on disk however many domains it has, and other programs may change it
    entry by entry while Moxy runs. `moxymakedbm` makes it from the text. Who changes it must not keep it open: while it
    is locked, recipients wait for five seconds and are then told to come again.
    """

    kind: Literal["dbm"]
    """A GNU dbm file."""

    path: File = Field(examples=["moxy.gdbm"])
    """The file: a domain or address is a key, `host:port[,host:port...]` its value. A relative path starts where this
    file is.
    """

    mode: HostMode = Mode.ALL
    """How the hosts of one entry share its mail; `all`, as in the original, gives every host every message."""


class NodbRoutes(Section):
    """The same hosts for every recipient: for counting mail, or for one server behind Moxy. Ask it last: it knows
    everybody.
    """

    kind: Literal["nodb"]
    """No table at all."""

    hosts: HostsOrDestination = Field(examples=[[Host("127.0.0.1", 10025)]])
    """The servers; or the name of one `[destination.NAME]`, whose mode then holds. Where there are destinations, a
    host needs a dot or a port."""

    mode: HostMode = Mode.ALL
    """How the hosts share the mail; `all`, as in the original, gives every host every message."""

    @model_validator(mode="after")
    def _name_stands_alone(self) -> "NodbRoutes":
        for index, host in enumerate(self.hosts):
            if isinstance(host, str) and len(self.hosts) > 1:
                message = f"the destination `{host}` must stand alone: it has hosts of its own"
                raise contradiction(message, "hosts", index)
        check_weights(self.hosts, self.mode)
        return self

    def route(self, destinations: Mapping[str, Route]) -> Route:
        """Where this table sends everybody; `destinations` are those of `Config.destination_routes`."""
        first = self.hosts[0]
        if isinstance(first, str):
            return destinations[first]
        return Route(tuple(host for host in self.hosts if isinstance(host, Host)), self.mode)


class Relay(Section):
    """Who may send mail to anywhere, and the mail server that takes it from there. Both keys, or neither."""

    allow_from: Clients = Field(default=(), examples=[["127.0.0.1", "::1", "192.168.*.*", "2001:db8::/32"]])
    """Client addresses: exact ones, networks, or IPv4 octets with `*`. Everybody else reaches only the domains of the
    tables.
    """

    send_to: HostsOrNone = Field(default=(), examples=[["127.0.0.1:10025"]])
    """The servers that deliver such mail, in order: the next is asked when one does not answer."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> "Relay":
        if self.allow_from and not self.send_to:
            raise contradiction("is missing: the hosts that take the mail of the clients allowed to relay", "send_to")
        if self.send_to and not self.allow_from:
            raise contradiction("is missing: the clients that may relay through these hosts", "allow_from")
        return self

    @property
    def route(self) -> Route | None:
        """Where mail for unknown domains goes; None where nobody may relay."""
        return Route(self.send_to, Mode.FAILOVER) if self.send_to else None


Routes = Annotated[FileRoutes | DbmRoutes | NodbRoutes, Field(discriminator="kind"), WrapValidator(foreign_passes)]

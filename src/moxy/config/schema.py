"""The schema: every key of the configuration, its type, default and documentation, declared once.

The sections about listeners and their certificates stand in `listeners`, those about how much and how long in `limits`,
those about tables in `routes`, those about logs in `logs`, that about the ledger in `ledger`; the keys about encryption
and authentication towards destinations in `security`.

`moxy.toml` is these models spelled in TOML; the original's `moxy.conf` is mapped to the same keys (`classic`). `moxy
describe` and docs/configuration.md are made from the text under each field, so a key is documented here or nowhere.

Rules: frozen; unknown keys are errors; nothing is converted silently (`"yes"` is no `true`). Durations are seconds and
sizes octets once read. `load` fills in `hostname` and `postmaster`, so a loaded Config has neither empty.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from moxy.config.extensions import Extensions
from moxy.config.kinds import Foreign
from moxy.config.ledger import Ledger
from moxy.config.limits import Limits, Timeouts
from moxy.config.listeners import Certificate, Listener
from moxy.config.logs import Log, OperatorLog
from moxy.config.routes import NodbRoutes, Relay, Routes
from moxy.config.security import OwnSecurity, Security, check
from moxy.config.types import (
    Count,
    File,
    Flag,
    HostMode,
    HostName,
    Hosts,
    HostsOrNone,
    Line,
    Mailbox,
    Name,
    Protocol,
    Section,
    check_weights,
    contradiction,
)
from moxy.config.values import Endpoint, shown
from moxy.mail import Host, Mode, Route
from moxy.mail.route import SMTP_PORT
from moxy.net.syslog import DEVICE
from moxy.outbound.identity import PERSONAL, Identity
from moxy.routes.wording import nearest

Lease = Literal["transaction", "session"]
EightBit = Literal["refuse", "pass"]
Chunking = Literal["as-received", "always", "never"]


def _check_lease(identity: str, lease: str, *section: str) -> None:
    """T25. Raises the contradiction, placed at the `lease` of a section that says it."""
    if identity in PERSONAL and lease != "session":
        message = f'with `identity = "{identity}"` each client has a connection of its own: leave `lease` out'
        raise contradiction(message, *section, "lease")


class Delivery(Security):
    """How Moxy speaks with destinations, where a `[destination.NAME]` does not say otherwise."""

    protocol: Protocol = "smtp"
    """What destinations speak: `smtp`, or `lmtp` (RFC 2033), as Dovecot and others do on a socket such as
    `unix:/run/dovecot/lmtp`: they say of each recipient whether the message was delivered. Port 25 is for `smtp` only.
    """

    lease: Lease = "transaction"
    """How long a client holds a connection: for one `transaction` (few connections serve many clients), or for its
    `session`.
    """

    connections: Count = 40
    """Connections to one host at once. Further transactions wait for one to become free."""

    transactions: Count = 100
    """Transactions on one connection before it is closed, since some servers refuse after so many."""

    eight_bit: EightBit = "refuse"
    """8-bit mail where the destination lacks 8BITMIME: `refuse` it, or `pass` it as it is (RFC 6152 §3)."""

    identity: Identity = "header"
    """How destinations hear who the client is: by the trace field (`header`); that and `xforward`, with each message,
    for their logs; as if the client itself had connected (`xclient`, or a PROXY header: `proxy-v1`, `proxy-v2`); by its
    name in EHLO alone (`helo`); or not at all (`none`). `xclient`, `proxy-v1`, `proxy-v2` and `helo` need a connection
    for each client, so `lease` is `session` with them. docs/identity.md has what each needs at the destination.
    """
    chunking: Chunking = "as-received"
    """When content goes by BDAT to a destination that offers CHUNKING (RFC 3030): `as-received`, that is when it came
    so; `always`, which spares an exchange; or `never`, but for BINARYMIME, which has no other way.
    """

    @model_validator(mode="after")
    def _identity_has_its_lease(self) -> "Delivery":
        if "lease" in self.model_fields_set:
            _check_lease(self.identity, self.lease)
        return self


class Destination(OwnSecurity):
    """The servers of one destination, to be named by a route. Connection keys left out are those of `[delivery]`."""

    hosts: Hosts = Field(examples=[[Host("192.0.2.10", 25), Host("192.0.2.11", 2525)]])
    """The servers. `host:port*3` gives a server three shares in mode `balance`."""

    mode: HostMode = Mode.ALL
    """`all`: every host gets every message; `failover`: the first that answers; `balance`: one of them, drawn by
    weight.
    """

    best_effort: HostsOrNone = Field(default=(), examples=[[Host("archive.example.org")]])
    """Further servers, each of which gets a copy of every message if it can, in any mode: for an archive, or a new
    server on trial. Nobody waits for them and no sender hears of them: if they are down, slow or refuse, that is
    recorded and there is no copy. There is one only of messages that all who must take them have accepted.
    """

    protocol: Protocol | None = Field(default=None, examples=["smtp"])
    """As in `[delivery]`; for `best_effort`, too."""

    lease: Lease | None = Field(default=None, examples=["transaction"])
    """As in `[delivery]`."""

    connections: Count | None = Field(default=None, examples=[40])
    """As in `[delivery]`."""

    transactions: Count | None = Field(default=None, examples=[100])
    """As in `[delivery]`."""

    eight_bit: EightBit | None = Field(default=None, examples=["refuse"])
    """As in `[delivery]`."""

    identity: Identity | None = Field(default=None, examples=["header"])
    """As in `[delivery]`; for `best_effort`, too."""

    chunking: Chunking | None = Field(default=None, examples=["as-received"])
    """As in `[delivery]`."""

    @model_validator(mode="after")
    def _weights_count(self) -> "Destination":
        check_weights(self.hosts, self.mode)
        return self

    @model_validator(mode="after")
    def _copies_go_elsewhere(self) -> "Destination":
        required = {str(host) for host in self.hosts}
        for index, host in enumerate(self.best_effort):
            if str(host) in required:
                message = f"`{host}` is one of `hosts` already: it must take every message, and cannot be left out"
                raise contradiction(message, "best_effort", index)
            if host.weight != 1:
                raise contradiction("a weight counts only in `hosts`: each of these gets a copy", "best_effort", index)
        return self


def _banner(text: str) -> str:
    """RFC 5321 §4.2: the greeting is printable ASCII, and with the host name it must fit a reply line of 512 octets."""
    if not re.fullmatch(r"[ -~]{0,200}", text):
        raise ValueError("expected at most 200 characters of printable ASCII")
    return text


def _path(section: object) -> Path | None:
    """The file of a section, ours or of another package, if it has one."""
    return getattr(section.settings if isinstance(section, Foreign) else section, "path", None)


def _user(text: str) -> str:
    """A user, and behind a colon a group; whether they exist is asked when they are needed."""
    if text and not re.fullmatch(r"[^\s:]+(:[^\s:]+)?", text):
        raise ValueError(f"expected a user, or a user and a group (`nobody`, `65534`, `moxy:mail`), not {shown(text)}")
    return text


def _endpoints_differ(listeners: dict[str, Listener]) -> dict[str, Listener]:
    """At least one listener, and no address and port in two of them; port 0 is a new port each time."""
    if not listeners:
        raise ValueError("expected at least one [listener.NAME]")
    taken: dict[Endpoint, str] = {}
    for name, listener in listeners.items():
        for index, endpoint in enumerate(listener.listen):
            if (endpoint.port or endpoint.local) and endpoint in taken:
                message = f"`{endpoint}` already belongs to [listener.{taken[endpoint]}]"
                raise contradiction(message, name, "listen", index)
            taken[endpoint] = name
    return listeners


class Config(Section):
    """Settings of the whole program."""

    hostname: HostName = Field(default="", examples=["mx.example.org"])
    """The name Moxy gives itself in greetings, replies and trace fields. Empty: the machine's own full name."""

    banner: Annotated[Line, AfterValidator(_banner)] = "ESMTP Moxy"
    """What follows the host name in the greeting."""

    runas: Annotated[Line, AfterValidator(_user)] = Field(default="", examples=["nobody"])
    """The user, by name or number, that Moxy becomes once its ports are open; `user:group` if the group is not the
    user's own. As root Moxy does not start without it.
    """

    pid_file: File | None = Field(default=None, examples=["/run/moxy/moxy.pid"])
    """The file that holds the process number while Moxy runs. Left out: none is written."""

    spread: Literal["fan-out", "first"] = "fan-out"
    """Recipients of several destinations in one message: `fan-out` serves all of them at once; `first` takes those of
    the first one's destination, and has the sender send the others after (451).
    """

    workers: Annotated[Count, Field(le=256)] = 1
    """Processes that serve clients, for machines with several cores. They share the bounds of `[limits]` and
    `[delivery]` that count sessions and connections: each has its part.
    """

    syslog_socket: File = DEVICE
    """The socket of the local syslog daemon, for the logs that go there."""

    hide_destinations: Flag = True
    """Whether names and addresses of destinations are replaced in the replies that reach clients, so that the servers'
    location stays hidden.
    """

    extensions: Extensions = "auto"
    """The extensions offered to clients in EHLO, of those that destinations may lack. `auto`: what the destinations
    themselves announce, `8BITMIME` before that is known. Or a list, which is offered whatever they announce: of
    `8BITMIME`, `SMTPUTF8`, `DSN`, `BINARYMIME`, `REQUIRETLS`, `DELIVERBY`, `FUTURERELEASE` and `MT-PRIORITY`.
    """

    probe: Flag = True
    """Whether destinations are asked for their extensions before there is mail for them, and once an hour. `false`:
    they are learned of as mail goes there.
    """

    postmaster: Mailbox = Field(default="", examples=["postmaster@example.org"])
    """The address whose route takes mail for `<Postmaster>` without a domain (RFC 5321 §4.5.1). Empty: postmaster at
    `hostname`.
    """

    listener: Annotated[dict[Name, Listener], AfterValidator(_endpoints_differ)] = Field(
        default_factory=lambda: {"mx": Listener()}, examples=["mx"]
    )
    certificate: dict[Name, Certificate] = Field(default={}, examples=["mx"])
    limits: Limits = Limits()

    timeouts: Timeouts = Timeouts()
    destination: dict[Name, Destination] = Field(default={}, examples=["alpha"])
    routes: dict[Name, Routes] = Field(default={}, examples=["domains", "customers", "others"])
    """Tables that tell where a recipient's mail goes. They are asked in the order of the file; the first that knows the
    recipient decides. A recipient whom none knows is refused, unless the client may relay.
    """

    delivery: Delivery = Delivery()
    relay: Relay = Relay()
    ledger: Ledger = Ledger()
    log: dict[Name, Log] = Field(default={}, examples=["mail", "syslog", "totals", "both", "nothing"])
    """Logs of what was delivered. Any number; none by default."""

    operator_log: OperatorLog = OperatorLog()

    @model_validator(mode="after")
    def _what_is_written_has_a_file_of_its_own(self) -> "Config":
        """Else totals would count twice, lines stand among totals, or a log take the place of a table."""
        taken = {_path(section): f"[routes.{name}]" for name, section in self.routes.items()}
        taken[self.pid_file] = "`pid_file`"
        for name, log in self.log.items():
            path = _path(log)
            if path is not None and path in taken:
                raise contradiction(f"`{path}` already belongs to {taken[path]}", "log", name, "path")
            taken[path] = f"[log.{name}]"
        if self.ledger.path is not None and self.ledger.path in taken:
            message = f"`{self.ledger.path}` already belongs to {taken[self.ledger.path]}"
            raise contradiction(message, "ledger", "path")
        return self

    @model_validator(mode="after")
    def _identities_have_their_lease(self) -> "Config":
        for name, section in self.destination.items():
            if section.lease is not None:
                _check_lease(section.identity or self.delivery.identity, section.lease, "destination", name)
        return self

    @model_validator(mode="after")
    def _lmtp_keeps_off_the_port_of_smtp(self) -> "Config":
        """RFC 2033 §5. Hosts in the files of tables are seen only when they are used, and refused then."""
        for path, hosts in self._lmtp_hosts():
            for index, host in enumerate(hosts):
                if isinstance(host, Host) and host.port == SMTP_PORT:
                    message = f"`{host}` cannot speak LMTP: port 25 is for SMTP (RFC 2033 §5)"
                    raise contradiction(message, *path, index)
        return self

    @model_validator(mode="after")
    def _listeners_have_their_certificates(self) -> "Config":
        for name, listener in self.listener.items():
            if listener.tls != "none" and not self.certificate:
                message = "TLS needs a certificate: a section [certificate.NAME]"
                raise contradiction(message, "listener", name, "tls")
            for index, certificate in enumerate(listener.certificates):
                if certificate not in self.certificate:
                    message = f"there is no [certificate.{certificate}]{nearest(certificate, self.certificate)}"
                    raise contradiction(message, "listener", name, "certificates", index)
        return self

    @model_validator(mode="after")
    def _security_contradicts_nothing(self) -> "Config":
        check(self.delivery, self.delivery, self.certificate, "delivery")
        for name, section in self.destination.items():
            check(section, self.connection_settings(name), self.certificate, "destination", name)
        return self

    def _lmtp_hosts(self) -> Iterator[tuple[tuple[str, ...], Iterable[Host | str]]]:
        """The lists of hosts that are spoken with in LMTP, and where they stand."""
        for name, section in self.destination.items():
            if self.connection_settings(name).protocol == "lmtp":
                yield ("destination", name, "hosts"), section.hosts
                yield ("destination", name, "best_effort"), section.best_effort
        if self.delivery.protocol == "lmtp":
            for name, table in self.routes.items():
                if isinstance(table, NodbRoutes):
                    yield ("routes", name, "hosts"), table.hosts
            yield ("relay", "send_to"), self.relay.send_to

    def destination_routes(self) -> dict[str, Route]:
        """The route of every named destination, for the tables that name them."""
        return {
            name: Route(section.hosts, section.mode, name, section.best_effort)
            for name, section in self.destination.items()
        }

    def connection_settings(self, name: str) -> Delivery:
        """The connection settings of the destination `name`, `[delivery]` filling what it leaves out; "" gives
        `[delivery]`.
        """
        if not name:
            return self.delivery
        own = {key: getattr(self.destination[name], key) for key in Delivery.model_fields}
        return self.delivery.model_copy(update={key: value for key, value in own.items() if value is not None})

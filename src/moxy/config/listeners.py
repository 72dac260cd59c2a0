"""The sections `[listener.NAME]` and `[certificate.NAME]` of the schema: where clients connect, and how they are kept
from eavesdroppers. As in `schema`, the text documents the key.
"""

from typing import Literal

from pydantic import Field, model_validator

from moxy.config.types import Clients, Endpoints, File, FileMode, Names, Protocol, Section, contradiction
from moxy.config.values import Endpoint
from moxy.mail.route import SMTP_PORT


def _everywhere() -> tuple[Endpoint, ...]:
    return Endpoint("0.0.0.0", SMTP_PORT), Endpoint("::", SMTP_PORT)  # noqa: S104 (a mail server is for everybody)


class Listener(Section):
    """Where clients connect. Any number of listeners, each with a name of its own."""

    listen: Endpoints = Field(default_factory=_everywhere)
    """Addresses and ports. `*` is every interface, IPv4 and IPv6; port 0 is any free port. Below 1024 root is needed.
    `unix:/run/moxy/lmtp.sock` is a Unix socket; who connects to one has no address, and may not relay.
    """

    protocol: Protocol = "smtp"
    """What clients speak here: `smtp`, or `lmtp`, with an answer for each recipient (RFC 2033). LMTP is for mail
    servers nearby, and never on port 25.
    """

    socket_mode: FileMode = 0o660
    """The permissions of Unix sockets, whose owner is the user that Moxy becomes: who may write may connect."""

    proxy_from: Clients = ()
    """Proxies, such as HAProxy or a cloud's balancer, that begin each connection with a PROXY header (version 1 or 2):
    the client is who stands there, for relaying, logs and destinations. From these addresses the header must come; from
    all others none is understood.
    """

    xclient_from: Clients = ()
    """Proxies, such as nginx, that may tell with XCLIENT who their client is. It is offered to them alone, and once
    they have given an address they are that client.
    """

    tls: Literal["none", "starttls", "implicit"] = Field(default="none", examples=["starttls"])
    """How connections are encrypted: `starttls` offers it, and the client decides (RFC 3207); `implicit` begins with
    the first octet, as on port 465 (RFC 8314); `none` does not offer it. At least TLS 1.2. Not on Unix sockets, which
    stay as with `none`.
    """

    certificates: Names = Field(default=(), examples=[["mx"]])
    """The NAMEs of the `[certificate.NAME]` sections from which a client gets the one for the host name that it asks
    for (SNI); the first is for those who ask for none, or for one that none is for. Empty: all, in the order of the
    file.
    """

    client_ca: File | None = Field(default=None, examples=["/etc/moxy/clients-ca.pem"])
    """Authorities (PEM), whose certificates clients may show; who shows one is named in the records of the accounting.
    Nobody must have one. But whoever shows another authority's, or one out of date, gets no TLS here: set this only
    where clients know of it. Left out: no client is asked.
    """

    @model_validator(mode="after")
    def _lmtp_keeps_off_port_25(self) -> "Listener":
        """RFC 2033 §5: it must not be spoken on SMTP's port."""
        for index, endpoint in enumerate(self.listen):
            if self.protocol == "lmtp" and endpoint.port == SMTP_PORT:
                raise contradiction("LMTP must not be spoken on port 25 (RFC 2033 §5)", "listen", index)
        return self

    @model_validator(mode="after")
    def _unix_sockets_have_no_tls(self) -> "Listener":
        if self.tls != "none" and all(endpoint.local for endpoint in self.listen):
            raise contradiction("there is no TLS on Unix sockets, and this listener has no other", "tls")
        return self

    @model_validator(mode="after")
    def _without_tls_nothing_is_shown(self) -> "Listener":
        for key in ("certificates", "client_ca"):
            if self.tls == "none" and getattr(self, key):
                raise contradiction("nothing is encrypted here, for `tls` is `none`", key)
        return self


class Certificate(Section):
    """A certificate of ours, ECDSA or RSA, for the host names that stand in it. Its files are read again when they
    change; the user that Moxy becomes must be able to read them. `moxy cert` makes one to begin with.
    """

    chain: File = Field(examples=["/etc/moxy/mx.pem"])
    """The certificate (PEM), and behind it those of the authorities between it and a root."""

    key: File | None = Field(default=None, examples=["/etc/moxy/mx.key"])
    """Its private key (PEM), without a passphrase. Left out: it stands in the file of `chain`."""

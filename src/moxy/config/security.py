"""The keys about encryption and authentication towards destinations, in `[delivery]` and `[destination.NAME]`.

As in `schema`, the text under a field documents the key. `Delivery` has the keys of `Security`; `Destination` has those
of `OwnSecurity`, and what it leaves out is as in `[delivery]`. What contradicts itself is looked for here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator

from moxy.config import values
from moxy.config.types import File, Flag, Form, HostName, Line, Section, contradiction, unlike
from moxy.config.values import SecretPlace, shown
from moxy.routes.wording import nearest
from moxy.smtp.sasl import MECHANISMS, PLAINTEXT

Policy = Literal["none", "opportunistic", "required", "verified"]

Fingerprints = Annotated[
    tuple[Annotated[str, PlainValidator(values.fingerprint)], ...],
    Field(strict=False),
    AfterValidator(unlike),
    Form("list of SHA-256 fingerprints"),
]


def _name(text: str) -> str:
    """An address has no brackets in a certificate; and of what is asked for by SNI, it is none."""
    if text.startswith("["):
        raise ValueError(f"expected a host name (`mail.example.org`), not {shown(text)}")
    return text


CertificateName = Annotated[HostName, AfterValidator(_name)]
CertificateOrNone = Annotated[str, PlainValidator(lambda value: value and values.name(value)), Form("name")]
Secret = Annotated[
    SecretPlace, PlainValidator(lambda value: value if isinstance(value, SecretPlace) else values.secret(value)),
    PlainSerializer(str), Form("`file:/path` or `env:NAME`"),
]  # fmt: skip
Mechanism = Literal["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"]
Mechanisms = Annotated[
    tuple[Mechanism, ...],
    Field(strict=False),
    AfterValidator(unlike),
    Form("list of `SCRAM-SHA-256`, `CRAM-MD5`, `PLAIN`, `LOGIN`"),
]


class Security(Section):
    """Those of `[delivery]`."""

    tls: Policy = Field(default="opportunistic", examples=["verified"])
    """How connections to destinations are encrypted: `none`, not at all; `opportunistic`, by STARTTLS where it is
    offered, whatever the certificate, and in clear where it is not or fails; `required`, always, or there is no mail
    (451); `verified`, the same, and the certificate must be for the host and from an authority that is trusted. At
    least TLS 1.2. Unix sockets need none and have none.
    """

    tls_implicit: Flag = False
    """Whether TLS begins with the connection, as on port 465 (RFC 8314), and not with STARTTLS. With it
    `opportunistic` means `required`, and `none` is an error.
    """

    tls_ca: File | None = Field(default=None, examples=["/etc/moxy/ca.pem"])
    """For `verified`: the file of the authorities that are trusted, in PEM. Left out: those of the system."""

    tls_name: CertificateName = Field(default="", examples=["mail.example.org"])
    """The name that the certificate must be for with `verified`, and that the server is asked for (SNI). Empty: the
    host's own as it stands in the route.
    """

    tls_fingerprints: Fingerprints = Field(default=(), examples=[["ab" * 32]])
    """For `required` and `verified`: only certificates with one of these SHA-256 fingerprints are taken. `openssl x509
    -noout -fingerprint -sha256` shows them. With `required` that is all that is asked of them.
    """

    tls_certificate: CertificateOrNone = Field(default="", examples=["mx"])
    """The NAME of the `[certificate.NAME]` that is shown to servers which ask for one. Empty: none. Read at the start
    and at a reload.
    """

    auth_user: Line = Field(default="", examples=["moxy"])
    """Who we are to a server that wants to know (AUTH, RFC 4954). No mail is sent to one that does not let us in (451),
    and for a minute it is not told the secret again (ten seconds where it says 4xx). Its reason is in the operator's
    log (`not_let_in`). Empty: nobody in particular.
    """

    auth_secret: Secret | None = Field(default=None, examples=[SecretPlace("file", "/etc/moxy/secret")])
    """Where the password stands: the first line of a file that the user whom Moxy becomes can read, or a variable of
    the environment. Read at the start and at a reload.
    """

    auth_mechanisms: Mechanisms = Field(default=tuple(MECHANISMS))  # type: ignore[arg-type]
    """What may be used; the first in this list that the server offers is taken. `PLAIN` and `LOGIN` only inside TLS,
    unless `auth_in_clear`.
    """

    auth_in_clear: Flag = False
    """Whether `PLAIN` and `LOGIN`, which tell the password itself, may be used where nothing is encrypted."""


class OwnSecurity(Section):
    """Those of a `[destination.NAME]`."""

    tls: Policy | None = Field(default=None, examples=["verified"])
    """As in `[delivery]`."""

    tls_implicit: Flag | None = Field(default=None, examples=[False])
    """As in `[delivery]`."""

    tls_ca: File | None = Field(default=None, examples=["/etc/moxy/ca.pem"])
    """As in `[delivery]`."""

    tls_name: CertificateName | None = Field(default=None, examples=["mail.example.org"])
    """As in `[delivery]`."""

    tls_fingerprints: Fingerprints | None = Field(default=None, examples=[["ab" * 32]])
    """As in `[delivery]`."""

    tls_certificate: CertificateOrNone | None = Field(default=None, examples=["mx"])
    """As in `[delivery]`."""

    auth_user: Line | None = Field(default=None, examples=["moxy"])
    """As in `[delivery]`."""

    auth_secret: Secret | None = Field(default=None, examples=[SecretPlace("file", "/etc/moxy/secret")])
    """As in `[delivery]`."""

    auth_mechanisms: Mechanisms | None = Field(default=None, examples=[tuple(MECHANISMS)])
    """As in `[delivery]`."""

    auth_in_clear: Flag | None = Field(default=None, examples=[False])
    """As in `[delivery]`."""


def usable(section: Security, *, local: bool) -> tuple[Mechanism, ...]:
    """The mechanisms that may come to be used, where all servers are on Unix sockets (`local`) or not."""
    refused = PLAINTEXT if section.tls == "none" and not section.auth_in_clear and not local else ()
    return tuple(mechanism for mechanism in section.auth_mechanisms if mechanism not in refused)


def check(own: Security | OwnSecurity, result: Security, certificates: Collection[str], *path: str) -> None:
    """Refuse what contradicts itself among the keys that a section sets, with what it leaves out as in `result`.

    `certificates` are the names of those that there are; `path` leads to the section. Raises the contradiction.
    """
    told = {key for key in own.model_fields_set if getattr(own, key)}  # an empty text unsets what [delivery] says
    for key in ("tls_implicit", "tls_ca", "tls_name", "tls_fingerprints", "tls_certificate"):
        if key in told and result.tls == "none":
            raise contradiction("nothing is encrypted here, for `tls` is `none`", *path, key)
    if "tls_certificate" in told and own.tls_certificate not in certificates:
        message = f"there is no [certificate.{own.tls_certificate}]{nearest(own.tls_certificate or '', certificates)}"
        raise contradiction(message, *path, "tls_certificate")
    if "tls_ca" in told and result.tls != "verified":
        message = f"no authority is asked, for `tls` is `{result.tls}`; it must be `verified`"
        raise contradiction(message, *path, "tls_ca")
    if "tls_fingerprints" in told and result.tls == "opportunistic" and not result.tls_implicit:
        message = "no certificate is judged, for `tls` is `opportunistic`; it must be `required` or `verified`"
        raise contradiction(message, *path, "tls_fingerprints")
    if result.auth_user and result.auth_secret is None and "auth_user" in told:
        raise contradiction("`auth_secret` must tell where the password stands", *path, "auth_user")
    if "auth_secret" in told and not result.auth_user:
        raise contradiction("`auth_user` must tell whose password it is", *path, "auth_secret")
    if "auth_mechanisms" in own.model_fields_set and not result.auth_mechanisms:
        raise contradiction("expected at least one entry", *path, "auth_mechanisms")
    tells_password = result.auth_user and not result.auth_in_clear and PLAINTEXT.issuperset(result.auth_mechanisms)
    if tells_password and result.tls == "none" and told & {"tls", "auth_mechanisms"}:
        message = "these tell the password itself, and nothing is encrypted; `auth_in_clear` would allow it"
        raise contradiction(message, *path, "auth_mechanisms" if "auth_mechanisms" in told else "tls")

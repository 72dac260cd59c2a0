"""How destinations are spoken with: from the keys of `[delivery]` and `[destination.NAME]` to `outbound`'s Settings.

What it names is read here: certificates and secrets. Sections that trust the same share one TLS client, and so the
sessions that are taken up again; those that agree in everything share connections.
"""

from __future__ import annotations

from typing import Final

from moxy.config.schema import Config, Delivery
from moxy.config.security import Security
from moxy.errors import ConfigError, MoxyError, Problem
from moxy.net.tlsclient import TlsClient, Trust
from moxy.outbound.settings import Encryption, Login, Settings
from moxy.process.credentials import read_secret

_SECURITY: Final = set(Security.model_fields)


class Destinations:
    """Makes the Settings of a configuration's sections."""

    def __init__(self, config: Config) -> None:
        self._workers = config.workers
        self._certificates = config.certificate
        self._clients: dict[Trust, TlsClient] = {}

    def settings(self, section: Delivery) -> Settings:
        """Raises MoxyError for files and secrets that cannot be used."""
        keys = section.model_dump(exclude=_SECURITY)
        keys["connections"] = share(section.connections, self._workers)
        return Settings(**keys, encryption=self._encryption(section), login=_login(section))

    def _encryption(self, section: Security) -> Encryption | None:
        if section.tls == "none":
            return None
        optional = section.tls == "opportunistic" and not section.tls_implicit
        shown = self._certificates[section.tls_certificate] if section.tls_certificate else None
        trust = Trust(
            judged=section.tls == "verified",
            authorities=section.tls_ca if section.tls == "verified" else None,
            pins=frozenset() if optional else frozenset(section.tls_fingerprints),
            chain=None if shown is None else shown.chain,
            key=None if shown is None else shown.key,
        )
        client = self._clients.get(trust)
        if client is None:
            client = self._clients[trust] = TlsClient(trust)
        return Encryption(client, optional=optional, implicit=section.tls_implicit, name=section.tls_name)


def build_settings(config: Config) -> tuple[Settings, dict[str, Settings]]:
    """The Settings of `[delivery]`, and those of each named destination. Raises ConfigError."""
    destinations = Destinations(config)
    problems: list[Problem] = []
    found: dict[str, Settings] = {}
    for name in ("", *config.destination):
        try:
            found[name] = destinations.settings(config.connection_settings(name))
        except MoxyError as error:
            problems.append(Problem(f"[destination.{name}]" if name else "[delivery]", 0, "", str(error)))
    if problems:
        raise ConfigError(problems)
    return found.pop(""), found


def share(bound: int, workers: int) -> int:
    """One worker's part of what all of them together may have."""
    return max(1, bound // workers)


def security_problems(config: Config) -> list[Problem]:
    """Certificates and secrets that cannot be used."""
    try:
        build_settings(config)
    except ConfigError as error:
        return error.problems
    return []


def _login(section: Security) -> Login | None:
    if not section.auth_user or section.auth_secret is None:
        return None
    secret = read_secret(section.auth_secret)
    return Login(section.auth_user, secret, section.auth_mechanisms, section.auth_in_clear)

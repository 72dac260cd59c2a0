"""How destinations are spoken with: from the keys of `[delivery]` and `[destination.NAME]` to `outbound`'s Settings.

What it names is read here: certificates and secrets. Sections that trust the same share one TLS client, and so the
sessions that are taken up again; those that agree in everything share connections.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from moxy.config.schema import Config, Delivery
from moxy.config.security import Security
from moxy.errors import ConfigError, MoxyError, Problem, UnusableFile
from moxy.net.tlsclient import TlsClient, Trust
from moxy.outbound.settings import Encryption, Login, Settings
from moxy.process.credentials import read_secret
from moxy.process.privileges import remedy

_SECURITY: Final = set(Security.model_fields)

T = TypeVar("T")

KeyPath = tuple[str, ...]


class Destinations:
    """Makes the Settings of a configuration's sections.

    Files and secrets that cannot be used are among `mistakes`, by the key that names them; without them, Settings are
    of no use.
    """

    def __init__(self, config: Config) -> None:
        self.mistakes: dict[KeyPath, str] = {}
        self._config = config
        self._clients: dict[Trust, TlsClient] = {}

    def settings(self, name: str) -> Settings:
        """Those of `[destination.NAME]`; "" is `[delivery]`."""
        section = self._config.connection_settings(name)
        keys = section.model_dump(exclude=_SECURITY)
        keys["connections"] = share(section.connections, self._config.workers)
        encryption = self._tried(self._encryption, section, name, "tls_certificate")
        return Settings(**keys, encryption=encryption, login=self._tried(_login, section, name, "auth_secret"))

    def _tried(self, make: Callable[[Delivery], T], section: Delivery, name: str, key: str) -> T | None:
        try:
            return make(section)
        except UnusableFile as error:
            message = remedy(error.file, self._config.runas) or str(error)
            key = "tls_ca" if error.file == section.tls_ca else key
        except MoxyError as error:
            message = str(error)
        self.mistakes[key_path(self._config, name, key)] = message
        return None

    def _encryption(self, section: Security) -> Encryption | None:
        if section.tls == "none":
            return None
        optional = section.tls == "opportunistic" and not section.tls_implicit
        shown = self._config.certificate[section.tls_certificate] if section.tls_certificate else None
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
    found = {name: destinations.settings(name) for name in ("", *config.destination)}
    if destinations.mistakes:
        raise ConfigError([Problem(".".join(path), 0, "", text) for path, text in destinations.mistakes.items()])
    return found.pop(""), found


def mistakes(config: Config) -> dict[KeyPath, str]:
    """Certificates and secrets that cannot be used, by the key that names them, and why."""
    destinations = Destinations(config)
    for name in ("", *config.destination):
        destinations.settings(name)
    return destinations.mistakes


def key_path(config: Config, name: str, key: str) -> KeyPath:
    """Where it stands what `[destination.NAME]` has for `key`: there, or in `[delivery]`."""
    if name and getattr(config.destination[name], key) is not None:
        return "destination", name, key
    return "delivery", key


def share(bound: int, workers: int) -> int:
    """One worker's part of what all of them together may have."""
    return max(1, bound // workers)


def _login(section: Security) -> Login | None:
    if not section.auth_user or section.auth_secret is None:
        return None
    secret = read_secret(section.auth_secret)
    return Login(section.auth_user, secret, section.auth_mechanisms, section.auth_in_clear)

"""Certificate: one certificate of ours in PEM files, made into TLS contexts, and followed while the files change.

A certificate lives for weeks and sessions must not end for a new one: new contexts take the place of the old, who has
a session keeps it.

Rules:
- What is used is whole: chain, key and authorities are read together, and only if none of them changed meanwhile.
- A new version that cannot be used leaves the old one in use. The operator is told once, not every second.
- Nothing asks for a passphrase: a key that has one is an error.

Bugs: a program that writes the two files with a pause between them is told of as a mistake, until the second is there.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from structlog import get_logger

from moxy.errors import MoxyError
from moxy.net.filestamp import Stamp

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES256:ECDHE+AES128:!aNULL:!eNULL:!SHA1:!AESCCM"
"""For TLS 1.2: with forward secrecy only; AEAD first, CBC with SHA-2 behind it for servers of ten years ago, who would
send in the clear otherwise. (OpenSSL's own for TLS 1.3.)
"""

_ANOTHER_KEY: Final = ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""OpenSSL's words for a key of another certificate, and for one of another kind."""

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"

_UNREADABLE: Final = (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What an extension raises that cannot be read."""

log = get_logger("moxy.net")


def server_context(authorities: Path | None = None) -> ssl.SSLContext:
    """A context for the server's side: TLS 1.2 or later. With `authorities` (PEM) clients are asked for a certificate.

    Raises OSError, ssl.SSLError among them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 1  # two by default; a mail server has use for one (measured: each costs some 30 µs)
    if authorities is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(authorities)
    return context


@dataclass(frozen=True, slots=True)
class _Version:
    """What the files hold at one time. `contexts` are by the authorities that clients are asked for."""

    contexts: Mapping[Path | None, ssl.SSLContext]
    names: tuple[str, ...]
    expires: datetime


class CertificateError(MoxyError):
    """A `file` cannot be used, and why."""

    def __init__(self, file: Path | None, why: str) -> None:
        super().__init__(f"{file}: {why}")
        self.file = file


class Certificate:
    """The certificate in the file `chain`, whose key is in `key`. Raises CertificateError if it cannot be used.

    There is a context for each of `authorities`, files that say whose certificates clients may show (None: nobody's).
    """

    def __init__(self, name: str, chain: Path, key: Path, authorities: Iterable[Path | None] = (None,)) -> None:
        self.name = name
        self._chain = chain
        self._key = key
        self._authorities = frozenset(authorities)
        self._told = ""
        self._stamps = self._look()
        self._version = self._read()

    @property
    def names(self) -> tuple[str, ...]:
        """The host names that it is for, in lower case; `*.example.org` stands for one label more."""
        return self._version.names

    @property
    def expires(self) -> datetime:
        """Until when it is valid."""
        return self._version.expires

    def context(self, authorities: Path | None = None) -> ssl.SSLContext:
        """For one connection, from now on."""
        return self._version.contexts[authorities]

    def refresh(self) -> None:
        """Read the files again if they have changed. Never raises."""
        stamps = self._look()
        if stamps == self._stamps or not all(stamp is None or stamp.rested for stamp in stamps):
            return
        self._stamps = ()  # what cannot be used is looked at again
        try:
            version = self._read()
        except CertificateError as error:
            self._keep(str(error))
            return
        if self._look() == stamps:
            self._stamps = stamps
            self._version = version
            self._told = ""
            log.info("certificate_loaded", certificate=self.name, names=version.names, expires=str(version.expires))

    def _keep(self, problem: str) -> None:
        if problem != self._told:
            self._told = problem
            log.error("certificate_kept", certificate=self.name, problem=problem)

    def _look(self) -> tuple[Stamp | None, ...]:
        authorities = [path for path in self._authorities if path is not None]
        return tuple(Stamp.at(path) for path in (self._chain, self._key, *authorities))

    def _read(self) -> _Version:
        leaf = read_chain(self._chain)[0]
        contexts = {path: self._context(path) for path in self._authorities}
        return _Version(contexts, host_names(leaf), leaf.not_valid_after_utc)

    def _context(self, authorities: Path | None) -> ssl.SSLContext:
        context = authorities_context(authorities)
        asked = []

        def no_passphrase() -> str:
            asked.append(True)
            return ""

        try:
            context.load_cert_chain(self._chain, self._key, no_passphrase)
        except OSError as error:
            if getattr(error, "reason", "") in _ANOTHER_KEY:
                raise CertificateError(self._key, f"it is not the key of the certificate in {self._chain}") from None
            refused = "a passphrase protects it, and there is nobody to ask" if asked else "no private key (PEM) in it"
            raise CertificateError(self._key, _reason(error, refused)) from None
        return context


def authorities_context(authorities: Path | None) -> ssl.SSLContext:
    """A `server_context` without a certificate. Raises CertificateError if the file of authorities cannot be used."""
    try:
        return server_context(authorities)
    except OSError as error:
        raise CertificateError(authorities, _reason(error, "no certificates (PEM) in it")) from None


def read_chain(path: Path) -> list[x509.Certificate]:
    """The certificates in a file, our own first. Raises CertificateError."""
    try:
        octets = path.read_bytes()
        found = x509.load_pem_x509_certificates(octets)
    except OSError as error:
        raise CertificateError(path, f"cannot be read: {error.strerror}") from None
    except (ValueError, x509.InvalidVersion):
        raise CertificateError(path, "no certificate (PEM) in it") from None
    if len(found) < octets.count(_BEGIN):
        raise CertificateError(path, "a certificate in it is not whole")
    return found


def host_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The host names that a certificate is for (SAN; RFC 9525 §6.3), in lower case."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return tuple(name.lower() for name in extension.value.get_values_for_type(x509.DNSName))
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return ()


def _reason(error: OSError, otherwise: str) -> str:
    """Why OpenSSL cannot use a file. Its own words where they say more than that it found nothing."""
    if not isinstance(error, ssl.SSLError):
        return f"cannot be read: {error.strerror}"
    words = error.reason or ""
    return words.replace("_", " ").lower() if words.endswith(("TOO_SMALL", "TOO_WEAK")) else otherwise

"""Certificates for tests: an authority that lives as long as its process, and what it signs. Made in milliseconds."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from moxy.net.certificate import Certificate
from moxy.net.tlsserver import ServerTls

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Issued(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Its two files."""
        chain, key = directory / f"{name}.pem", directory / f"{name}.key"
        chain.write_bytes(self.pem)
        key.write_bytes(self.key_pem)
        return chain, key


def key_pem(key: Key, passphrase: bytes = b"") -> bytes:
    protection = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


AUTHORITY = "Test Authority"

SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
"""What an authority's key is for. Python 3.13 wants that told, and authorities to be known by their keys."""


def authority(name: str = AUTHORITY) -> Issued:
    """A root; the same one for the same name."""
    return _authority(name)


@cache
def _authority(name: str) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    return Issued(_signed(named(name), key, named(name), key, (), timedelta(days=30), ca=True), key)


def issue(*names: str, days: float = 30, rsa_bits: int = 0, by: str = AUTHORITY) -> Issued:
    """A certificate for host names, the first of which is also its subject."""
    key: Key = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
    issuer = authority(by)
    days_left = timedelta(days=days)
    return Issued(
        _signed(named(names[0]), key, issuer.certificate.subject, issuer.key, names, days_left, ca=False), key
    )


def _signed(
    subject: x509.Name,
    key: Key,
    issuer: x509.Name,
    issuer_key: Key,
    names: tuple[str, ...],
    left: timedelta,
    *,
    ca: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + left) - timedelta(days=1))
        .not_valid_after(now + left)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if ca:
        builder = builder.add_extension(SIGNS, critical=True)
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def client_context(certificate: Issued | None = None, directory: Path | None = None) -> ssl.SSLContext:
    """The client's side: it trusts the authority. With a certificate of its own it needs a directory for the files."""
    context = ssl.create_default_context(cadata=authority().pem.decode())
    if certificate is not None and directory is not None:
        context.load_cert_chain(*certificate.write(directory, "client"))
    return context


def server_tls(directory: Path, *names: str, implicit: bool = False, asks: bool = False) -> ServerTls:
    """TLS for a listener with one certificate. With `asks`, clients may show those of the authority."""
    chain, key = issue(*(names or ("mx.moxy.test",))).write(directory, "server")
    authorities = directory / "authority.pem" if asks else None
    if authorities is not None:
        authorities.write_bytes(authority().pem)
    certificate = Certificate("server", chain, key, [authorities])
    return ServerTls([certificate], authorities, implicit=implicit)

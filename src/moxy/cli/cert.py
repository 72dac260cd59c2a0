"""`moxy cert`: a self-signed certificate to begin with. Mail is encrypted with it, though nobody can tell for whom.

Rules: nothing is overwritten, and nobody but the key's owner ever can read it.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from moxy.cli.arguments import checked
from moxy.errors import MoxyError
from moxy.net.hostname import own_hostname
from moxy.process.privileges import Identity, identity
from moxy.smtp.domain import canonical

NEXT = """\
{chain}, {key}: for {names}, until {until:%Y-%m-%d}. To use them, in moxy.toml:

  [certificate.{section}]
  chain = "{chain}"
  key = "{key}"

  [listener.mx]
  tls = "starttls"
"""

UNOWNED = "Moxy's user must be able to read the key: `chown USER {key}` (or `--owner USER`)."
"""For root, who alone can read it now."""


def host_name(text: str) -> str:
    """A host name, or `*.` and one. Raises ValueError."""
    wildcard = "*." if text.startswith("*.") else ""
    name = canonical(text.removeprefix("*."))
    if name.startswith("["):
        raise ValueError("expected a host name, not an address")
    return wildcard + name


def _each(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(host_name(text) for text in texts or (own_hostname(),)))
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


def _owner(text: str) -> Identity:
    try:
        return identity(text)
    except MoxyError as error:
        raise ValueError(str(error).removeprefix("runas: ")) from None


@click.command("cert", short_help="Make a self-signed certificate.")
@click.argument("names", nargs=-1, metavar="[NAME]...", callback=_each)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Write PATH.pem and PATH.key; else they are called as the first NAME.",
)
@click.option("--days", default=397, type=click.IntRange(1, 3650), show_default=True, help="How long it is valid.")
@click.option("--owner", callback=checked(_owner), metavar="USER[:GROUP]", help="Whom to give the files, as root.")
def cert(names: tuple[str, ...], output: Path | None, days: int, owner: Identity | None) -> None:
    """Make a self-signed certificate for host NAMEs, else for this machine's.

    ECDSA with P-256. For a certificate that others can verify, ask an authority such as Let's Encrypt.
    """
    base = output or Path(names[0].replace("*", "_"))
    chain, key = Path(f"{base}.pem").absolute(), Path(f"{base}.key").absolute()
    now = datetime.now(UTC)
    until = now + timedelta(days=days)
    certificate_pem, key_pem = self_signed(names, now - timedelta(hours=1), until)
    _write(key, key_pem, 0o600, owner)
    try:
        _write(chain, certificate_pem, 0o644, owner)
    except BaseException:
        key.unlink()
        raise
    section = names[0].removeprefix("*.").partition(".")[0]
    click.echo(NEXT.format(chain=chain, key=key, names=", ".join(names), until=until, section=section), nl=False)
    if owner is None and os.geteuid() == 0:
        click.echo(UNOWNED.format(key=key), err=True)


def _write(path: Path, octets: bytes, mode: int, owner: Identity | None) -> None:
    """A new file with this mode from its first moment."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise MoxyError(f"{path}: is there already; nothing was written") from None
    except OSError as error:
        raise MoxyError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None:
                os.fchown(file.fileno(), owner.uid, owner.gid)
            os.fchmod(file.fileno(), mode)
            file.write(octets)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise MoxyError(f"{path}: cannot be written: {error.strerror}") from None


def self_signed(names: tuple[str, ...], since: datetime, until: datetime) -> tuple[bytes, bytes]:
    """A certificate and its key, in PEM (RFC 5280; names as RFC 9525 §6.3 wants them, in the SAN)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])  # 64: ub-common-name
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )

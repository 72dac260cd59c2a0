"""Real destinations with TLS, by STARTTLS or from the first octet, and with a wish for client certificates."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.certificates import authority, issue
from support.directories import make_writable
from support.dovecot import Dovecot
from support.exim import EximDestination
from support.opensmtpd import OpenSmtpdDestination
from support.postfix import PostfixDestination

NAME = "mail.one.test"
"""Whom their certificate is for."""

ANN = "ann@one.test"


@dataclass(frozen=True)
class Files:
    """What a TLS server needs. `asks`: it wants a certificate of our authority's from each client."""

    chain: Path
    key: Path
    root: Path
    implicit: bool = False
    asks: bool = False

    @classmethod
    def make(cls, directory: Path, *, implicit: bool = False, asks: bool = False) -> Files:
        """A new certificate in this directory, and its authority's."""
        chain, key = issue(NAME).write(directory, "server")
        key.chmod(0o600)
        root = directory / "root.pem"
        root.write_bytes(authority().pem)
        return cls(chain, key, root, implicit, asks)


def postfix(directory: Path, files: Files) -> PostfixDestination:
    settings = {
        "smtpd_tls_security_level": "encrypt" if files.asks else "may",
        "smtpd_tls_chain_files": f"{files.key}, {files.chain}",
        "smtpd_tls_loglevel": "1",
        "smtpd_tls_wrappermode": "yes" if files.implicit else "no",
        "smtpd_tls_req_ccert": "yes" if files.asks else "no",
        "smtpd_tls_CAfile": str(files.root) if files.asks else "",
    }
    return PostfixDestination(directory, "one.test", ["ann"], settings, greets=not files.implicit)


def exim(directory: Path, files: Files) -> EximDestination:
    make_writable(files.key)  # it reads the key as its own user
    settings = {
        "tls_advertise_hosts": "*",
        "tls_certificate": str(files.chain),
        "tls_privatekey": str(files.key),
        "tls_verify_hosts": "*" if files.asks else "",
        "tls_verify_certificates": str(files.root),
        "log_selector": "+smtp_confirmation +subject +tls_certificate_verified +tls_peerdn",
    }
    options = ["-tls-on-connect"] if files.implicit else []
    return EximDestination(
        directory, "one.test", ["ann"], settings=settings, options=options, greets=not files.implicit
    )


def broken_opensmtpd(directory: Path, files: Files) -> OpenSmtpdDestination:
    """OpenSMTPD 6.8 with OpenSSL 3, as in Debian 12, offers STARTTLS, and no handshake succeeds (its issue 1239)."""
    head = f'pki server cert "{files.chain}"\npki server key "{files.key}"\n'
    return OpenSmtpdDestination(directory, "one.test", ["ann"], head=head, options="tls pki server")


def dovecot(directory: Path, files: Files) -> Dovecot:
    sections = f"ssl_cert = <{files.chain}\nssl_key = <{files.key}\n"
    if files.asks:
        sections += f"ssl_ca = <{files.root}\nssl_verify_client_cert = yes\nssl_require_crl = no\n"
    listener = "ssl = yes" if files.implicit else ""
    return Dovecot(directory, {ANN: True}, ssl="yes", listener=listener, sections=sections, greets=not files.implicit)


@dataclass(frozen=True)
class Server:
    """How one of them is made and spoken with, the mailbox of ann there, and what shows that a message came by TLS."""

    make: Callable[[Path, Files], Any]
    mailbox: str
    sign: str
    protocol: str = "smtp"

    def shows_tls(self, there: Any) -> bool:
        """Does its log, or what it wrote into the message, say that it came encrypted?"""
        return re.search(self.sign, there.log() + there.delivered(self.mailbox)[0].decode()) is not None


SERVERS: Mapping[str, Server] = {
    "Postfix": Server(postfix, "ann", r"TLS connection established from \S+: TLSv1\.[23]"),
    "Exim": Server(exim, "ann", r"<= sender@sender.test .* X=TLS1\.[23]:"),
    "Dovecot": Server(dovecot, ANN, r"with LMTPS\n", "lmtp"),
}

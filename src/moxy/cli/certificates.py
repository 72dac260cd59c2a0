"""The certificates of a configuration, as `moxy check` judges them: what keeps Moxy from starting, what is doubtful."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from moxy.config.listeners import Certificate as Section
from moxy.config.load import place_of
from moxy.config.schema import Config
from moxy.errors import MoxyError, Problem
from moxy.process.privileges import identity, may_read, unreadable

SOON: Final = timedelta(days=14)
"""A certificate that ends earlier should have been renewed: those of Let's Encrypt are, 30 days before."""


def certificate_problems(config: Config, file: Path) -> Iterator[Problem]:
    """Files that cannot be used, each with its key and line. Certificates that no listener has are judged as well."""
    for name, section in config.certificate.items():
        for path, message in _mistakes(section, config.runas):
            key = "key" if path == section.key else "chain"
            word, line = place_of(("certificate", name, key), file)
            yield Problem(str(file), line, word, message)
    for name, listener in config.listener.items():
        if listener.client_ca is not None:
            for message in _mistakes_of_authorities(listener.client_ca, config.runas):
                word, line = place_of(("listener", name, "client_ca"), file)
                yield Problem(str(file), line, word, message)


def _mistakes(section: Section, runas: str) -> Iterator[tuple[Path | None, str]]:
    from moxy.net.certificate import Certificate, CertificateError

    key = section.key or section.chain
    try:
        Certificate("", section.chain, key)
    except CertificateError as error:
        yield error.file, str(error)
        return
    for path in dict.fromkeys((section.chain, key)):
        yield from ((path, message) for message in hidden(path, runas))


def _mistakes_of_authorities(path: Path, runas: str) -> Iterator[str]:
    from moxy.net.certificate import CertificateError, authorities_context

    try:
        authorities_context(path)
    except CertificateError as error:
        yield str(error)
    else:
        yield from hidden(path, runas)


def hidden(path: Path, runas: str) -> Iterator[str]:
    """Where root asks, what it may read the user that Moxy becomes may not."""
    try:
        if runas and not may_read(path, identity(runas)):
            yield unreadable(path, runas)
    except MoxyError:  # there is no such user: that is told elsewhere
        return


def certificate_lines(config: Config) -> Iterator[str]:
    """For the summary."""
    for name, section in config.certificate.items():
        from moxy.net.certificate import host_names, read_chain

        leaf = read_chain(section.chain)[0]
        names = ", ".join(host_names(leaf)) or "no host name"
        yield f"certificate {name}: {names}; until {leaf.not_valid_after_utc:%Y-%m-%d}"


def certificate_notes(config: Config) -> Iterator[str]:
    """What is allowed, and is hardly what was wanted."""
    now = datetime.now(UTC)
    for name, section in config.certificate.items():
        from moxy.net.certificate import host_names, read_chain

        leaf, *others = read_chain(section.chain)
        if leaf.not_valid_after_utc < now:
            yield f"certificate {name}: it has expired on {leaf.not_valid_after_utc:%Y-%m-%d}"
        elif leaf.not_valid_after_utc < now + SOON:
            yield f"certificate {name}: it expires soon, on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        if leaf.not_valid_before_utc > now:
            yield f"certificate {name}: it is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        if not host_names(leaf):
            yield f"certificate {name}: no host name stands in it (SAN), so it is for nobody who asks for one"
        if others and leaf.issuer != others[0].subject:
            yield f"certificate {name}: the second certificate in {section.chain} is not that of its issuer"
        if (section.key or section.chain).stat().st_mode & 0o004:
            yield f"certificate {name}: every user of this machine can read its key"

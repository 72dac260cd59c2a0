"""From the configuration to the TLS of its listeners.

Rules: files are read by the user that Moxy becomes, so that what is read at the start can be read again later; and by
the process that workers are forked from, so that they share the keys of tickets (`moxy.net.tlsserver`).

Bugs: the libraries that read certificates are loaded only where there is one. If that is first so after a reload, and
the user that Moxy has become cannot read them, the reload is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moxy.config.schema import Config
from moxy.errors import ConfigError, MoxyError, Problem
from moxy.process.privileges import remedy

if TYPE_CHECKING:
    from moxy.net.certificate import Certificate
    from moxy.net.tlsserver import ServerTls


def load_libraries(config: Config) -> None:
    """Load what reads certificates, if the configuration has any. Raises MoxyError."""
    if config.certificate:
        try:
            from moxy.net import tlsserver  # noqa: F401 - to be there is its use
        except ImportError as error:
            raise MoxyError(f"certificates cannot be read without a restart: {error}") from error


def listeners_tls(config: Config) -> dict[str, ServerTls]:
    """The TLS of each listener that has any, by the listener's name. Raises ConfigError with all mistakes in files."""
    load_libraries(config)
    certificates = used_certificates(config)
    if not certificates:
        return {}
    from moxy.net.tlsserver import ServerTls

    return {
        name: ServerTls(
            [certificates[used] for used in section.certificates or config.certificate],
            section.client_ca,
            implicit=section.tls == "implicit",
        )
        for name, section in config.listener.items()
        if section.tls != "none"
    }


def used_certificates(config: Config) -> dict[str, Certificate]:
    """Every certificate that a listener has, by its name, in the order of the file. Raises ConfigError as above."""
    listeners = [section for section in config.listener.values() if section.tls != "none"]
    names = {name for section in listeners for name in section.certificates or config.certificate}
    if not names:
        return {}
    from moxy.net.certificate import Certificate, CertificateError

    authorities = {section.client_ca for section in listeners}
    certificates, problems = {}, []
    for name, section in config.certificate.items():
        if name in names:
            try:
                certificates[name] = Certificate(name, section.chain, section.key or section.chain, authorities)
            except CertificateError as error:
                message = remedy(error.file, config.runas) if error.file else ""
                problems.append(Problem(f"[certificate.{name}]", 0, "", message or str(error)))
    if problems:
        raise ConfigError(problems)
    return certificates
